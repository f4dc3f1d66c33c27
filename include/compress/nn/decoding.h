#pragma once
// The state of text generation: keys and values of the tokens that were read.

#include "compress/data/torch.h"

#include <cstdint>
#include <vector>

#include "compress/nn/layers.h"

namespace compress::nn {

// Rows are continuations. Each row's keys and values of a layer lie in its own `capacity` places,
// behind those of its prefix where one is plugged in.
struct Decoding {
  struct Layer {
    torch::Tensor self;    // [rows * (prefix + capacity), 2 * kv_heads * width]: keys, then values
    torch::Tensor across;  // [encoder tokens, 2 * heads * width]; undefined without an encoder
  };
  std::vector<Layer> layers;
  int64_t capacity = 0, prefix = 0;
  std::vector<int64_t> lengths;  // [rows] tokens read
  // The encoder's tokens that each row attends to.
  TokenRows encoder;
  torch::Tensor distance_bias;  // AttentionInput::distance_bias of all steps, once it is known

  int64_t rows() const { return static_cast<int64_t>(lengths.size()); }
  // Row i goes on where row parents[i] is; there may be fewer or more rows afterwards.
  void select(const std::vector<int64_t>& parents);
  // Makes room for `more` tokens in each row, more than `capacity`.
  void grow(int64_t more);
};

}  // namespace compress::nn
