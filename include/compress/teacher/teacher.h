#pragma once
// Role `teacher`: the target signal. A frozen model in evaluation mode, whose class order is
// matched to the student's by label name.

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "compress/data/dataset.h"
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

// The teacher's logits for every row of a split, [N, C] float32 on the CPU, computed in a fixed
// order: a function of the teacher and the split alone, so that a resumed run reads the same bits.
torch::Tensor all_logits(Teacher& teacher, const data::Split& split, int64_t batch = 64);
// The logits that `folder` keeps under `key`, or those that `compute` gives, which are then kept
// there for later runs. `key` says in full what they are a function of (teacher, data, tokenizer,
// ...); files are named after its hash. Of several processes that want the same logits at once, one
// computes them while the others wait. `rows` and `classes` are what is expected: a file that holds
// another shape, or another key under the same name, is an Error{model}. `told` is called with a
// line for the log.
torch::Tensor cached_logits(const std::filesystem::path& folder, const std::string& key,
                            int64_t rows, int64_t classes,
                            const std::function<torch::Tensor()>& compute,
                            const std::function<void(const std::string&)>& told);
// Answers with rows of `logits` instead of running the model. Captures are refused
// (Error{internal}).
std::unique_ptr<Teacher> remembered(std::unique_ptr<Teacher> teacher, torch::Tensor logits);

}  // namespace compress::teacher
