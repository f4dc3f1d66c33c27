#pragma once
// The components of this role, one a file, and what they share.

#include <string>
#include <utility>

#include "compress/objective/objective.h"

namespace compress::objective {

using ObjectiveRegistry = recipe::RegistryOf<Maker>;

void add_labels(ObjectiveRegistry& registry);
void add_soft_labels(ObjectiveRegistry& registry);
void add_logits_mse(ObjectiveRegistry& registry);
void add_continuation(ObjectiveRegistry& registry);
void add_hidden_states(ObjectiveRegistry& registry);
void add_attention(ObjectiveRegistry& registry);
void add_contrastive(ObjectiveRegistry& registry);

inline constexpr const char* weight_doc = "weight of the term: a number, or a ramp over the stage";
inline constexpr const char* teacher_doc =
    "which of the stage's `teachers` it reads; default: the only one";

inline constexpr const char* head_doc =
    "the head that the term is about, one of the model's `heads`; left out: the model's own";

// What the losses of a head are of: rows (or examples), or labelled tokens.
Unit unit_of(nn::HeadKind head);
// Which of the tokens were changed is said of all of them, not of labelled ones.
Unit unit_of(nn::HeadKind head, const data::Batch& batch);
// Whether there are too many classes for copies: a loss in chunks (token_losses.h) where every
// token, not a few of them, has one.
bool needs_chunks(nn::HeadKind head);
// The same of a batch: whatever the head, where every token of it has a label.
bool needs_chunks(nn::HeadKind head, const data::Batch& batch);

// Over which labelled tokens a term is: all of them, or those of a mark.
inline constexpr const char* all_tokens = "all";
inline constexpr const char* tokens_doc =
    "of heads on tokens: all labelled tokens, or those of a mark, over which the mean then is "
    "(answer: the target behind a language model's text; masked: what masking chose, where it has "
    "`predict: all`)";
// Error{recipe} at `place` for a mark where the head's losses are not of labelled tokens.
void check_tokens(const std::string& tokens, nn::HeadKind head, const recipe::Mark& place);
// Losses [M] of the labelled tokens, of which the mean over the update's labelled tokens is to be
// that over the mark's: 0 for the others, and the rest scaled. Error{data} at `place` for a batch
// without the mark.
torch::Tensor of_mark(const torch::Tensor& values, const data::Batch& batch,
                      const std::string& tokens, const recipe::Mark& place);
// Needs::mark of a term over these tokens.
std::string mark_of(const std::string& tokens);
// Part::unrecordable of it.
std::string mark_refusal(const std::string& tokens);

// What becomes of token logits of a span head, [T, 2] of B rows: logits over the tokens of each
// row, [2 B, longest], first the B rows' first tokens; -inf where a row is shorter.
torch::Tensor over_row_tokens(const torch::Tensor& token_logits, const data::Batch& batch);
// Logits of the choices, [examples, choices].
torch::Tensor over_choices(const torch::Tensor& logits, const data::Batch& batch);

// The student's configuration with `head` as its own; "" is the one that it has. Error{recipe} at
// `mark` where it has none of that name.
nn::ModelConfig with_head(const nn::ModelConfig& student, const std::string& head,
                          const recipe::Mark& mark);

// The heads that a term compares: the student's and the teacher's of one name.
class ComparedHeads {
 public:
  explicit ComparedHeads(std::string head) : name_(std::move(head)) {}
  // Error{recipe} at `mark` unless the teacher has the head, of the same kind and with the same
  // classes. Over a vocabulary the two are compared on the tokens that both have: with one
  // tokenizer what follows in the larger table is padding.
  void bind(const nn::ModelConfig& student, const nn::ModelConfig& teacher, const std::string& term,
            const recipe::Mark& mark);
  // What the term reads of both, where `needs` is what it reads of a teacher's own head.
  roles::Needs of(roles::Needs needs) const;
  nn::HeadKind kind() const { return kind_; }
  // The outputs that are compared, with the classes in the student's order.
  torch::Tensor student(const nn::Outputs& outputs) const;
  torch::Tensor teacher(const nn::Outputs& outputs) const;
  // Squared distances of the student's outputs to `scale` times the teacher's, [units]: over
  // classes their sum or their mean.
  torch::Tensor squares(const Signals& signals, bool sum, double scale = 1) const;
  // Each token has two logits with a span head; else each row or labelled token has one a class.
  Unit unit(const data::Batch& batch) const;

 private:
  torch::Tensor shared(const nn::Outputs& outputs) const;

  std::string name_;
  nn::HeadKind kind_ = nn::HeadKind::none;
  int64_t tokens_ = 0;  // over a vocabulary: those that both have
  // For each of the student's classes the teacher's; undefined: the same. On the logits' device.
  mutable torch::Tensor order_;
};

// The output that a head's loss reads. Error{internal} when it is missing.
const torch::Tensor& head_output(const nn::Outputs& outputs, const std::string& name,
                                 nn::HeadKind head);

}  // namespace compress::objective
