// Which of several second texts fits the first.

#include "compress/base/strings.h"
#include "tasks/task.h"

namespace compress::data {

namespace {

class MultipleChoice final : public TaskKind {
 public:
  MultipleChoice()
      : TaskKind({.name = "multiple_choice",
                  .task = Task::multiple_choice,
                  .summary = "which of several texts fits",
                  .labelled = true,
                  .class_names = true,
                  .one_text = true,
                  .head = "multiple_choice",
                  .metrics = {"accuracy"}}) {}

  std::vector<Key> keys() const override {
    return {{"choices", [](const DatasetOptions& o) { return !o.choices.empty(); }}};
  }

  void check(const DatasetOptions& options, TaskRules& rules) const override {
    rules.need(options.choices.size() > 1, facts().name, "choices", "name two columns or more");
    if (!options.labels.empty() && options.labels.size() != options.choices.size())
      rules.refuse("labels", str(options.labels.size(), " names of choices for ",
                                 options.choices.size(), " columns"));
  }

  void add_columns(const DatasetOptions& options, Layout& layout) const override {
    for (const std::string& column : options.choices) layout.columns.push_back({column, true});
  }

  void identify(const DatasetOptions& options, IdentityHash& hash) const override {
    hash.add(options.choices);
  }

  RowTargets targets(const DatasetOptions&) const override { return RowTargets::classes; }

  std::vector<std::string> given_names(const DatasetOptions& options) const override {
    if (!options.labels.empty()) return options.labels;
    std::vector<std::string> numbers;
    for (size_t i = 0; i < options.choices.size(); ++i) numbers.push_back(str(i));
    return numbers;
  }

  void read(const Record& record, TargetReader& reader, BadRows& bad) const override {
    reader.add_class(record, bad);
  }
};

}  // namespace

std::unique_ptr<TaskKind> make_multiple_choice() {
  return std::make_unique<MultipleChoice>();
}

}  // namespace compress::data
