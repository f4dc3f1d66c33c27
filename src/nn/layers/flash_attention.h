#pragma once
// Attention over packed rows by PyTorch's variable-length flash attention.

#include "compress/nn/layers.h"

namespace compress::nn {

// Whether flash_attention() computes this: on a card that has it, in bf16 or fp16, with heads of at
// most 256 elements, for a batch that was moved there (Batch::ends).
bool can_flash(const torch::Tensor& qkv, const data::Batch& batch, const AttentionShape& shape);

// As attention(), without scores; differentiable. Heads whose width is no multiple of 8 are padded
// with zeros, which change no score. Dropout is in steps of 1/255 and takes the next draws of the
// pass (see begin_draws); backward draws them again from the state that forward kept.
torch::Tensor flash_attention(const torch::Tensor& qkv, const data::Batch& batch,
                              const AttentionShape& shape, bool training);

}  // namespace compress::nn
