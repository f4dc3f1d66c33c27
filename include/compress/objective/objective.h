#pragma once
// Role `objective`: what is minimised. Each is a named term of the loss.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "compress/base/progress.h"
#include "compress/data/batch.h"
#include "compress/nn/model.h"
#include "compress/objective/losses.h"
#include "compress/recipe/options.h"
#include "compress/roles/part.h"

namespace compress::objective {

// The numbers that move during a stage and were read in a pass. A CUDA graph holds their values, so
// whoever records one asks here what they are by now.
class Numbers {
 public:
  double read(const recipe::Ramp& ramp, const Progress& progress);
  std::vector<double> at(const Progress& progress) const;

 private:
  std::vector<const recipe::Ramp*> seen_;
};

// What a term may look at. `teacher` is the one that the term reads; null unless it needs one.
struct Signals {
  const data::Batch& batch;
  const nn::Outputs& student;
  const nn::Outputs* teacher = nullptr;
  Progress progress;
  Numbers* numbers = nullptr;  // notes what at() gives out; may be null
  // The value of a number by now. A term takes every number that may move from here.
  double at(const recipe::Ramp& ramp) const;
};

class Objective : public roles::Part {
 public:
  // Besides what roles::Part says: a term adds trained helpers (projections) to `scene.helpers`.
  // This one finds the teacher that the term reads, and refuses a stage without it.
  void bind(const roles::Scene& scene) override;
  // The term's losses on a batch, which may be a part of an update: never a mean, for only the step
  // knows how many units the update has.
  virtual Losses compute(const Signals& signals) = 0;
  // The losses are no sum over rows (rows are compared with each other): the update's batch must
  // not be computed in parts.
  virtual bool whole_batch() const { return false; }

  // Of the teachers of a stage, the one that the term reads: the named one, or the only one.
  // Error{recipe} where that is none of them, or cannot be told.
  std::string choose_teacher(const std::vector<std::string>& names) const;
  // Its name, once it is bound; "" for a term that reads none.
  const std::string& teacher() const { return teacher_; }

  const recipe::Ramp& weight() const { return weight_; }
  // What the term is called where a stage's terms are listed: its name, or "labels_2" for the
  // second of that name.
  const std::string& label() const { return label_; }
  void listed_as(std::string label) { label_ = std::move(label); }

 protected:
  // For needs() and bind(): what is read of the teacher, and its configuration.
  roles::Needs reads(roles::Asked asked) const { return {{}, {{teacher_, std::move(asked)}}}; }
  const nn::ModelConfig* taught(const roles::Scene& scene) const { return scene.teacher(teacher_); }

  recipe::Ramp weight_;
  std::optional<recipe::Reference> named_teacher_;  // the option `teacher` of terms that read one

 private:
  std::string label_, teacher_;
};

using Maker = std::function<std::unique_ptr<Objective>(const recipe::Component&)>;
const recipe::RegistryOf<Maker>& objectives();
std::unique_ptr<Objective> make(const recipe::Component& component);
// The term of a stage that names none.
recipe::Component default_objective();

}  // namespace compress::objective
