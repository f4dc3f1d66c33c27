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
void add_attention(ObjectiveRegistry& registry);
void add_contrastive(ObjectiveRegistry& registry);

inline constexpr const char* weight_doc = "weight of the term: a number, or a ramp over the stage";

// What a head's loss reads: Outputs::token_logits instead of logits.
bool reads_token_logits(nn::HeadKind head);
// What its losses are of: rows (or examples), or labelled tokens.
Unit unit_of(nn::HeadKind head);
// Whether there are too many classes for copies: a loss in chunks (token_losses.h) where every
// token, not a few of them, has one.
bool needs_chunks(nn::HeadKind head);

// What becomes of token logits of a span head, [T, 2] of B rows: logits over the tokens of each
// row, [2 B, longest], first the B rows' first tokens; -inf where a row is shorter.
torch::Tensor over_row_tokens(const torch::Tensor& token_logits, const data::Batch& batch);
// Logits of the choices, [examples, choices].
torch::Tensor over_choices(const torch::Tensor& logits, const data::Batch& batch);

// Throws Error{recipe} unless the teacher has the student's head and as many classes. Over a
// vocabulary the two are compared on the tokens that both have (shared_tokens): with one tokenizer
// what follows in the larger table is padding.
void require_same_outputs(const nn::ModelConfig& student, const nn::ModelConfig& teacher,
                          const std::string& term, const recipe::Mark& mark);

int64_t shared_tokens(const nn::ModelConfig& student, const nn::ModelConfig* teacher);
// The output that a head's loss reads, over a vocabulary that of the first `tokens` alone.
torch::Tensor shared_output(const nn::Outputs& outputs, nn::HeadKind head, int64_t tokens);

// The output that a head's loss reads. Error{internal} when it is missing.
const torch::Tensor& head_output(const nn::Outputs& outputs, nn::HeadKind head);

}  // namespace compress::objective
