#pragma once
// Role `teacher`: the target signal. A frozen model in evaluation mode, whose class order is
// matched to the student's by label name.

#include <memory>
#include <vector>

#include "compress/data/batch.h"
#include "compress/nn/model.h"
#include "compress/recipe/options.h"

namespace compress::teacher {

class Teacher {
 public:
  virtual ~Teacher() = default;
  // Outputs for the batch, without gradients, classes in the student's order. Only what `capture`
  // names is kept.
  virtual nn::Outputs signals(const data::Batch& batch, const nn::Capture& capture) = 0;
  virtual const nn::ModelConfig& config() const = 0;
  // Where its batches are computed.
  virtual torch::Device device() const = 0;
  // The answer depends on the batch's example ids, not on its tensors alone.
  virtual bool by_example() const { return false; }
};

// Whether a teacher can teach a student, told from their configurations alone: Error{recipe} at
// `mark` unless it can. `tokens` are those of the tokenizer (0: unknown); the teacher must have an
// embedding for each that the student has. With `needs_logits` both must have the same kind of head
// and the same classes, by name or by number (data/classes.h), or a logit for each token. Returns
// for each of the student's classes the teacher's; empty where the order is the same, or where
// there are no classes.
std::vector<int64_t> check_fit(const nn::ModelConfig& student, const nn::ModelConfig& teacher,
                               bool needs_logits, int64_t tokens, const recipe::Mark& mark);

// A frozen model that passes check_fit(). Without `needs_logits` it gives no logits. Logits over a
// vocabulary that the teacher has more rows of than the student are cut to the student's: what
// follows is padding (both read the same tokens). Move the model to its device first: its weights
// are cast here, once.
std::unique_ptr<Teacher> frozen(std::unique_ptr<nn::Model> model, const nn::ModelConfig& student,
                                bool needs_logits, nn::Precision precision,
                                const recipe::Mark& mark, int64_t tokens = 0);

}  // namespace compress::teacher
