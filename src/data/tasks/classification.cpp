// One of several classes of a text or a pair, or a probability for each.

#include <cmath>

#include "compress/base/strings.h"
#include "tasks/task.h"

namespace compress::data {

namespace {

class Classification final : public TaskKind {
 public:
  Classification()
      : TaskKind({.name = "classification",
                  .task = Task::classification,
                  .summary = "a class name",
                  .labelled = true,
                  .class_names = true,
                  .head = "classification",
                  .metrics = {"accuracy", "f1_macro"},
                  .metrics_of_two = {"accuracy", "f1_macro", "f1", "matthews"}}) {}

  RowTargets targets(const DatasetOptions& options) const override {
    return options.soft_labels.empty() ? RowTargets::classes : RowTargets::soft;
  }

  std::vector<std::string> given_names(const DatasetOptions& options) const override {
    return options.labels.empty() ? options.soft_labels : options.labels;
  }

  void read(const Record& record, TargetReader& reader, BadRows& bad) const override {
    if (reader.soft().empty()) return reader.add_class(record, bad);
    constexpr const char* hint = "soft labels are probabilities: none negative, with sum 1";
    std::vector<double> probabilities;
    double sum = 0;
    std::string problem;
    for (size_t column : reader.soft()) {
      const std::string_view cell = record.cells[column];
      const std::optional<double> value = parse_number(cell);
      if (problem.empty() && !value)
        problem = str("probability ", cited(cell), " is not a finite number");
      if (problem.empty() && *value < 0) problem = str("probability ", cited(cell), " is negative");
      sum += value.value_or(0);
      probabilities.push_back(value.value_or(0));
    }
    if (problem.empty() && std::abs(sum - 1) > 1e-3)
      problem = str("the probabilities' sum is ", shortest(sum));
    if (!problem.empty()) return bad.add(record.line, problem, hint);
    for (double p : probabilities) reader.split().soft.push_back(static_cast<float>(p / sum));
  }
};

}  // namespace

std::unique_ptr<TaskKind> make_classification() {
  return std::make_unique<Classification>();
}

}  // namespace compress::data
