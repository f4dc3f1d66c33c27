#pragma once
// A model without weights, for plans.

#include "compress/nn/model.h"

namespace compress::nn {

// The tensors that a configuration asks for, by their canonical names: zeros float32 whose memory
// the system gives when a page is first written to. A pooler that the family can have is there.
// Error{model} for a family whose configuration alone does not tell (no layers).
ModelState outline(const ModelConfig& config);

}  // namespace compress::nn
