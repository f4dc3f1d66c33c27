#pragma once
// Role `teacher`: the target signal. A frozen model in evaluation mode, whose class order is
// matched to the student's by label name.

#include <memory>

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
  virtual nn::Model& model() = 0;
  // The answer depends on the batch's example ids, not on its tensors alone.
  virtual bool by_example() const { return false; }
};

// A frozen model. Its label names must be the student's in some order: Error{recipe} at `mark`
// listing both otherwise (a teacher without the student's head kind is allowed when only hidden
// states are used: `needs_logits` false; it then gives no logits). Generic names (LABEL_0 or 0) on
// both sides agree by number. Move the model to its device first: its weights are cast here, once.
std::unique_ptr<Teacher> frozen(std::unique_ptr<nn::Model> model, const nn::ModelConfig& student,
                                bool needs_logits, nn::Precision precision,
                                const recipe::Mark& mark);

}  // namespace compress::teacher
