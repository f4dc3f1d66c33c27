#pragma once
// A model without weights, for plans.

#include "compress/nn/model.h"

namespace compress::nn {

// The tensors that a configuration asks for, by their canonical names: of the device meta, without
// values. A pooler that the family can have is there.
// Error{model} for a family whose configuration alone does not tell (no layers).
ModelState outline(const ModelConfig& config);

// The entries of a dimension at `places` (int64), also of a tensor without values.
torch::Tensor entries(const torch::Tensor& tensor, int64_t dimension, const torch::Tensor& places);

}  // namespace compress::nn
