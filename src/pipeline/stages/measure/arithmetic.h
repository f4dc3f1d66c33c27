#pragma once
// The arithmetic of measurements, apart from their running.

#include "compress/data/torch.h"

#include <string>
#include <vector>

#include "compress/data/batch.h"

namespace compress::pipeline {

// Sums over tokens of the cosine of a layer's input and output: [L] float64 on the CPU, of hidden
// states L + 1 of [T, H]. `tokens` [M] int64: which; undefined: all.
torch::Tensor contribution_sums(const std::vector<torch::Tensor>& hidden,
                                const torch::Tensor& tokens);

// -log softmax(logits)_label of each row: [M] float32 on the CPU, of logits [M, V] and labels [M].
torch::Tensor token_losses(const torch::Tensor& logits, const torch::Tensor& labels);

// Values of rows that came in any order, joined in the order of rows: `rows` [n] names each once,
// `counts` [n] says how many of `values` are its, one row's behind the other's.
struct Joined {
  torch::Tensor values;   // [M]
  torch::Tensor offsets;  // [n + 1] int64
};
Joined join_rows(const torch::Tensor& rows, const torch::Tensor& counts,
                 const torch::Tensor& values);

// The tokens of a batch that a masked language model has not learnt, of logits [T, V] at all of its
// tokens: where the most probable token is another (`above` < 0), or whose loss is above `above`.
// Tokens of `special` are none.
struct Sets {
  torch::Tensor positions;      // [M] int32 on the CPU, in the row
  std::vector<int64_t> counts;  // of each row
  int64_t ordinary = 0;         // tokens that could be hard
};
Sets hard_tokens_of(const torch::Tensor& logits, const data::Batch& batch, double above,
                    const std::vector<int32_t>& special);

}  // namespace compress::pipeline
