#pragma once
// The base of everything that a recipe puts into a training stage: objectives, augments,
// teachers, constraints, optimizers, schedules, movers and averages live one life.

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "compress/base/progress.h"
#include "compress/nn/model.h"
#include "compress/recipe/options.h"
#include "compress/roles/scene.h"

namespace compress::roles {

// What is read of a teacher in an update.
struct Asked {
  nn::Capture capture;
  bool logits = false;
  // Logits over a vocabulary may come as Outputs::top_tokens, which a cache can keep.
  bool top_tokens = false;
  // Both are read.
  Asked& operator|=(const Asked& other);
};

// What is read in an update besides the batch.
struct Needs {
  nn::Capture student;
  std::map<std::string, Asked> teachers;  // that are read, by name
  std::string mark;  // of tokens that the data has to have (Targets::marks), or ""
  Needs& operator|=(const Needs& other);
};

// Numbers that a stage's validation gave.
using Scores = std::vector<std::pair<std::string, double>>;

class Part {
 public:
  virtual ~Part() = default;

  // --- once, before the first update
  // Checks that the part fits the models and the stage's length, makes its state and hooks itself
  // in. Error{recipe} at mark() where it does not fit.
  virtual void bind(const Scene& scene) = 0;
  // After bind(). Before it, only whether a teacher is read is certain.
  virtual Needs needs() const { return {}; }
  // What the part resolved to, in words, for the plan ("student 1<-2, 2<-4; projection 384x384");
  // may be "".
  virtual std::string summary() const { return {}; }
  // What it plugs into the student's layers while the stage lives; null: nothing. After bind().
  virtual nn::Plugs* plugs() { return nullptr; }
  // Why no CUDA graph may record a pass with this part, as a sentence's end ("several ... see the
  // padding"); "" where one may.
  virtual std::string unrecordable() const { return {}; }

  // --- in each update
  // Before its first pass; progress.step counts updates done. The same on every process. True when
  // a pass now computes something else than before, not through latent weights alone.
  virtual bool before_update(const Progress& progress) {
    (void)progress;
    return false;
  }
  // What the student says of a part of the update, once for each part and update: at the update's
  // own weights, without gradients. Not called while a CUDA graph is played (see unrecordable()).
  virtual void after_pass(const data::Batch& part, const nn::Outputs& student) {
    (void)part;
    (void)student;
  }
  // Once an update was made (never for a pass that is repeated); progress.step counts it already.
  virtual void after_update(const Progress& progress) { (void)progress; }
  // After each scoring on the validation part.
  virtual void scored(const Progress& progress, const Scores& scores) {
    (void)progress;
    (void)scores;
  }

  // --- what is kept
  // Everything needed to resume to the bit, by name.
  virtual nn::TensorMap state() const { return {}; }
  // Error{model} for anything unfit.
  virtual void load_state(const nn::TensorMap& state) { (void)state; }
  // What must be the same bits on all processes, beyond the weights.
  virtual nn::TensorMap compared() const { return state(); }

  // The component's name and place in the recipe; empty for one that no recipe named.
  const std::string& name() const { return name_; }
  const recipe::Mark& mark() const { return mark_; }
  void called(std::string name, recipe::Mark mark) {
    name_ = std::move(name);
    mark_ = std::move(mark);
  }

 protected:
  std::string name_;
  recipe::Mark mark_;
};

// The part that a component describes, made by its registry and told its name and place.
template <class Maker>
auto make(const recipe::RegistryOf<Maker>& registry, const recipe::Component& component) {
  auto part = registry.maker(component)(component);
  part->called(component.name(), component.mark);
  return part;
}

}  // namespace compress::roles
