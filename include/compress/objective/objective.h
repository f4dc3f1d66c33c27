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

// What a term may look at. `teacher` is null unless the term needs one.
struct Signals {
  const data::Batch& batch;
  const nn::Outputs& student;
  const nn::Outputs* teacher = nullptr;
  Progress progress;
  Numbers* numbers = nullptr;  // notes what at() gives out; may be null
  // The value of a number by now. A term takes every number that may move from here.
  double at(const recipe::Ramp& ramp) const;
};

enum class Mean { rows, tokens, labels };  // labels: tokens with a label

class Objective : public roles::Part {
 public:
  // Besides what roles::Part says: a term adds trained helpers (projections) to `scene.helpers`.
  // This one refuses a stage without a teacher where needs() has one.
  void bind(const roles::Scene& scene) override;
  // Scalar float32, averaged over the batch's rows (or over what the component's description
  // states).
  virtual torch::Tensor compute(const Signals& signals) = 0;
  // What compute() is a mean over: it weighs the parts of an update (micro-batches, processes).
  virtual Mean mean() const { return Mean::rows; }

  const recipe::Ramp& weight() const { return weight_; }

 protected:
  recipe::Ramp weight_;
};

using Maker = std::function<std::unique_ptr<Objective>(const recipe::Component&)>;
const recipe::RegistryOf<Maker>& objectives();
inline const recipe::Registry& registry() {
  return objectives();
}
std::unique_ptr<Objective> make(const recipe::Component& component);

}  // namespace compress::objective
