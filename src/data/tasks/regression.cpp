// A score of a text or a pair.

#include "tasks/task.h"

namespace compress::data {

namespace {

class Regression final : public TaskKind {
 public:
  Regression()
      : TaskKind({.name = "regression",
                  .task = Task::regression,
                  .summary = "a score",
                  .labelled = true,
                  .head = "regression",
                  .metrics = {"pearson", "spearman", "mse"}}) {}

  RowTargets targets(const DatasetOptions&) const override { return RowTargets::values; }

  void read(const Record& record, TargetReader& reader, BadRows& bad) const override {
    reader.add_score(record, bad);
  }
};

}  // namespace

std::unique_ptr<TaskKind> make_regression() {
  return std::make_unique<Regression>();
}

}  // namespace compress::data
