#pragma once
// From the states of a row's tokens to one vector, as sentence-transformers' Pooling module does
// (version 6). T tokens of B rows, H wide.

#include "compress/data/torch.h"

#include <string>
#include <vector>

#include "compress/data/batch.h"

namespace compress::nn {

// The modes, in the order in which sentence-transformers joins several that its older files name:
// cls (the first token), max, mean, mean_sqrt_len_tokens (the sum over the square root of the
// length), weightedmean (by the token's place, from 1), lasttoken.
const std::vector<std::string>& pooling_modes();
// The modes of ModelConfig::pooling, "cls+mean" for instance. Error{model} for an unknown one.
std::vector<std::string> pooling_list(const std::string& pooling);
// Whether all of them read single tokens of a row, whatever lies behind it in the batch.
bool reads_single_tokens(const std::string& pooling);

// [T, H] of any floating type -> [B, H times the number of modes] float32. Every row has a token.
torch::Tensor pooled_rows(const torch::Tensor& states, const data::Batch& batch,
                          const std::string& pooling);

}  // namespace compress::nn
