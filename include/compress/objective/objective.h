#pragma once
// Role `objective`: what is minimised. Each is a named term of the loss.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "compress/base/progress.h"
#include "compress/data/batch.h"
#include "compress/nn/model.h"
#include "compress/recipe/options.h"

namespace compress::objective {

// What a term may look at. `teacher` is null unless the term needs one.
struct Signals {
  const data::Batch& batch;
  const nn::Outputs& student;
  const nn::Outputs* teacher;
  Progress progress;
};

enum class Mean { rows, tokens, labels };  // labels: tokens with a label

class Objective {
 public:
  virtual ~Objective() = default;
  // Recorded in the student's and, when needs_teacher(), in the teacher's forward pass.
  virtual nn::Capture captures() const { return {}; }
  virtual bool needs_teacher() const { return false; }
  // Of a term with a teacher: it reads the teacher's logits (and not its hidden states alone).
  virtual bool needs_teacher_logits() const { return needs_teacher(); }
  // Of a term that reads a teacher's logits over a vocabulary: Outputs::top_tokens will do instead.
  virtual bool takes_top_tokens() const { return false; }
  // Checks that the term fits the models (head kinds, label names, layer counts), resolves layer
  // maps and adds trained helpers (projections) to `auxiliary`: trained with the student, never
  // exported. `teacher` is null without one. Throws Error{recipe} at `mark`.
  virtual void bind(const nn::ModelConfig& student, const nn::ModelConfig* teacher,
                    nn::ParamTable& auxiliary, uint64_t seed);
  // After bind(): indices into the teacher's Outputs::hidden that the term reads.
  virtual std::vector<int64_t> teacher_layers() const { return {}; }
  // Scalar float32, averaged over the batch's rows (or over what the component's description
  // states).
  virtual torch::Tensor compute(const Signals& signals) = 0;
  // What compute() is a mean over: it weighs the parts of an update (micro-batches, processes).
  virtual Mean mean() const { return Mean::rows; }
  // What the term resolved to, in words, for the plan ("student 1<-2, 2<-4, 3<-6; projection
  // 384x384"); may be "".
  virtual std::string summary() const { return {}; }

  // Numbers that compute() takes from the progress ("temperature"), the weight aside.
  virtual std::vector<double> constants(const Progress&) const { return {}; }

  double weight(const Progress& progress) const { return weight_.at(progress); }
  const std::string& name() const { return name_; }
  const recipe::Mark& mark() const { return mark_; }

 protected:
  friend std::unique_ptr<Objective> make(const recipe::Component&);
  recipe::Ramp weight_;
  std::string name_;
  recipe::Mark mark_;
};

using Maker = std::function<std::unique_ptr<Objective>(const recipe::Component&)>;
const recipe::RegistryOf<Maker>& objectives();
inline const recipe::Registry& registry() {
  return objectives();
}
std::unique_ptr<Objective> make(const recipe::Component& component);

}  // namespace compress::objective
