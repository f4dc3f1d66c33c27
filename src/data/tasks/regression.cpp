// A score of a text or a pair.

#include <cmath>

#include "compress/base/strings.h"
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
    const std::string_view cell = reader.cell(record);
    const std::optional<double> value = parse_number(cell);
    const auto stored = static_cast<float>(value.value_or(0));
    reader.split().values.push_back(stored);
    if (trim(cell).empty())
      bad.add(record.line, "an empty score");
    else if (!value || !std::isfinite(stored))
      bad.add(record.line, str("score ", cited(cell), " is not a finite number"),
              "for class names set `task: classification`");
  }
};

}  // namespace

std::unique_ptr<TaskKind> make_regression() {
  return std::make_unique<Regression>();
}

}  // namespace compress::data
