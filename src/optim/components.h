#pragma once
// The components of this role, one a file, and what they share.

#include <string>
#include <vector>

#include "compress/optim/optim.h"

namespace compress::optim {

using OptimizerRegistry = recipe::RegistryOf<MakeOptimizer>;
using ScheduleRegistry = recipe::RegistryOf<MakeSchedule>;
using MoverRegistry = recipe::RegistryOf<MakeMover>;
using AveragingRegistry = recipe::RegistryOf<MakeAveraging>;

void add_adamw(OptimizerRegistry& registry);
void add_sgd(OptimizerRegistry& registry);
void add_constant(ScheduleRegistry& registry);
void add_linear(ScheduleRegistry& registry);
void add_cosine(ScheduleRegistry& registry);
void add_cyclic_linear(ScheduleRegistry& registry);
void add_rewound_linear(ScheduleRegistry& registry);
void add_sam(MoverRegistry& registry);
void add_asam(MoverRegistry& registry);
void add_delta_sam(MoverRegistry& registry);
void add_swa(AveragingRegistry& registry);
void add_ema(AveragingRegistry& registry);

// Weight decay acts on matrices and embeddings; norms and biases never decay.
bool decays(const nn::Parameter& parameter);

// The rows of an embedding whose gradient is not zero, each once, ascending; may be empty.
torch::Tensor touched_rows(const nn::Parameter& parameter);

// Copies state tensor `name` into `into`. Error{model} when it is missing or has another shape.
void load_tensor(const nn::TensorMap& state, const std::string& name, torch::Tensor& into);
// The same of nn::paged_zeros(): rows of zeros take no memory.
void load_rows(const nn::TensorMap& state, const std::string& name, torch::Tensor& into);

}  // namespace compress::optim
