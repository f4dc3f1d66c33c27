#pragma once
// First weights of a model, as the reference code of its family draws them.

#include "axes.h"

namespace compress::surgery {

// The tensor of this shape in a model of this configuration: norms one, biases zero, the rest from
// a normal distribution around zero, whose deviation is config.initializer_range but where the
// family has rules of its own (T5, the residual projections of GPT-2). The word embedding's row of
// the padding token is zero where the family has one. The draw is a function of the seed and the
// tensor's name.
torch::Tensor draw(const Sized& tensor, const std::vector<int64_t>& shape,
                   const nn::ModelConfig& config, uint64_t seed);

}  // namespace compress::surgery
