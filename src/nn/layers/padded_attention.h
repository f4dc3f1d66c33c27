#pragma once
// Rows of tokens in a grid, for padded_attention().

#include "compress/nn/layers.h"

namespace compress::nn {

// Rows of tokens as a padded [rows, longest] grid; tensors are on the tokens' device.
struct TokenGrid {
  torch::Tensor index;  // [n] int64: the tokens that are in rows, row by row; undefined: 0 .. n - 1
  torch::Tensor slots;  // [n] int64: their places, row * longest + place
  torch::Tensor lengths;  // [rows] int64
  int64_t tokens = 0;     // n
  int64_t longest = 0;
  int64_t rows() const { return lengths.size(0); }
  static TokenGrid of(const TokenRows& rows, torch::Device device);
  // No copies to the device.
  static TokenGrid of(const data::Batch& batch);
  // x [T, columns] as [rows * longest, columns], zero where there is no token.
  torch::Tensor spread(const torch::Tensor& x) const;
  // Back: [count, columns], zero for tokens in no row.
  torch::Tensor gather(const torch::Tensor& grid, int64_t count) const;
};

}  // namespace compress::nn
