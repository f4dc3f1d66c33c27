#pragma once
// The components of this role, one a file, and what they share.

#include <string>

#include "compress/objective/objective.h"

namespace compress::objective {

using ObjectiveRegistry = recipe::RegistryOf<Maker>;

void add_labels(ObjectiveRegistry& registry);
void add_soft_labels(ObjectiveRegistry& registry);
void add_logits_mse(ObjectiveRegistry& registry);
void add_hidden_states(ObjectiveRegistry& registry);

inline constexpr const char* weight_doc = "weight of the term: a number, or a ramp over the stage";

// Throws Error{recipe} unless the teacher has the student's head and as many classes (or vocabulary
// entries).
void require_same_outputs(const nn::ModelConfig& student, const nn::ModelConfig& teacher,
                          const std::string& term, const recipe::Mark& mark);

// The output that a head's loss reads: token logits of a masked LM, else logits. Error{internal}
// when it is missing.
const torch::Tensor& head_output(const nn::Outputs& outputs, nn::HeadKind head);

}  // namespace compress::objective
