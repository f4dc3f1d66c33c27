#pragma once
// The parts of one training stage, made from its options and bound to its models: once, for the
// plan, for what is asked of the teacher before training, and for the updates.

#include <memory>
#include <string>
#include <vector>

#include "compress/augment/augment.h"
#include "compress/constraint/constraint.h"
#include "compress/objective/objective.h"
#include "compress/optim/optim.h"
#include "compress/roles/row_store.h"
#include "compress/train/train.h"

namespace compress::train {

// One part each, or a list where a recipe gives a list. The order is that of an update.
struct Roles {
  std::shared_ptr<augment::Augments> augments;  // shared with what asks the teacher
  std::vector<std::unique_ptr<objective::Objective>> objectives;
  std::vector<std::unique_ptr<teacher::Teacher>> teachers;  // made of the student
  std::vector<std::unique_ptr<constraint::Constraint>> constraints;
  std::unique_ptr<optim::Averaging> averaging;  // null without one; outlives the optimizer
  std::unique_ptr<optim::Optimizer> optimizer;
  std::unique_ptr<optim::Schedule> schedule;
  std::unique_ptr<optim::Mover> mover;
};

// A part under the name that its state has in a file.
struct Keyed {
  std::string key;  // "objective0", "averaging"
  roles::Part* part;
};

class Binding {
 public:
  // Error{recipe} where the parts do not fit the models, or each other. The job's student,
  // tokenizer and processes outlive the binding. The student moves to the job's device unless the
  // stage is only planned (no data).
  explicit Binding(const Job& job);
  // Takes the parts' hooks out of the student.
  ~Binding();
  Binding(const Binding&) = delete;
  Binding& operator=(const Binding&) = delete;

  const roles::Needs& needs() const { return needs_; }
  Roles& roles() { return roles_; }
  const Roles& roles() const { return roles_; }
  // All of them, in the order of an update.
  const std::vector<Keyed>& parts() const { return parts_; }
  const roles::Scene& scene() const { return scene_; }
  nn::ParamTable& weights() const { return scene_.weights; }
  nn::ParamTable& helpers() const { return scene_.helpers; }
  const std::vector<nn::Parameter*>& trained() const { return trained_; }
  // These act on the student's weights and the helpers together.
  void refresh(nn::Precision precision);
  void clear_gradients();

 private:
  void bind_objectives(const Job& job);
  void bind_constraints(const TrainOptions& options);
  void bind_optimizer(const Job& job);
  void check_order(const Job& job) const;
  void add(std::string key, roles::Part& part);

  nn::Model& student_;
  Roles roles_;
  nn::ParamTable helpers_;
  roles::RowStore values_;
  roles::Scene scene_;
  roles::Needs needs_;
  std::vector<Keyed> parts_;
  std::vector<nn::Parameter*> trained_;
};

// Whether the stage may change a parameter: frozen ones stay what the model began with, unless a
// constraint changes them.
inline bool may_change(const nn::Parameter& parameter, const Binding& binding) {
  return parameter.trainable || !binding.roles().constraints.empty();
}

}  // namespace compress::train
