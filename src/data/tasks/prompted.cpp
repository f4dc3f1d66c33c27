// Which of several answers a language model thinks likeliest behind a prompt.

#include <algorithm>

#include "compress/base/strings.h"
#include "tasks/task.h"

namespace compress::data {

namespace {

class Prompted final : public TaskKind {
 public:
  Prompted()
      : TaskKind({.name = "prompted",
                  .task = Task::prompted,
                  .summary = "which of several answers is the likeliest behind a prompt",
                  .labelled = true,
                  .class_names = true,
                  .one_text = true,
                  .head = "causal_lm",
                  .metrics = {"accuracy", "f1_macro"}}) {}

  std::vector<Key> keys() const override {
    return {
        {"verbalizer", [](const DatasetOptions& o) { return !o.verbalizer.empty(); }},
        {"option_score",
         [](const DatasetOptions& o) { return o.option_score != DatasetOptions().option_score; }},
        {"append_end", [](const DatasetOptions& o) { return !o.append_end; }},
        {"compose", [](const DatasetOptions& o) { return static_cast<bool>(o.compose); }},
        {"max_target_length", [](const DatasetOptions& o) {
           return o.max_target_length != DatasetOptions().max_target_length;
         }}};
  }

  void check(const DatasetOptions& options, TaskRules& rules) const override {
    if (!options.verbalizer.empty() && options.verbalizer.size() != options.labels.size())
      rules.refuse("verbalizer",
                   str(options.verbalizer.size(), " texts for ", options.labels.size(), " labels"),
                   "name the classes in `labels`, and give one text for each in their order");
    for (size_t i = 0; i < options.verbalizer.size(); ++i)
      for (size_t j = 0; j < i; ++j)
        if (options.verbalizer[i] == options.verbalizer[j])
          rules.refuse("verbalizer", str(cited(options.verbalizer[i]), " answers for two classes"));
    if (options.compose && options.train.empty())
      rules.refuse("compose", "rows are made of those of the training part, and there is none",
                   "name a `train` file");
  }

  // The label's text is the answer.
  void add_columns(const DatasetOptions& options, Layout& layout) const override {
    layout.target = true;
    layout.targets = layout.columns.size();
    if (!options.label.empty()) layout.columns.push_back({options.label, false});
  }

  RowTargets targets(const DatasetOptions&) const override { return RowTargets::classes; }

  std::vector<std::string> marks(const DatasetOptions&) const override { return {answer_mark}; }

  std::string_view answer_of(const DatasetOptions& options, std::string_view cell) const override {
    const std::string_view label = trim(cell);
    if (options.verbalizer.empty()) return label;
    const auto named = std::find(options.labels.begin(), options.labels.end(), label);
    const auto index = named != options.labels.end()
                           ? static_cast<int32_t>(named - options.labels.begin())
                           : ClassIndex(options.labels).find(label);
    return index < 0 ? label : std::string_view(options.verbalizer[static_cast<size_t>(index)]);
  }

  void read(const Record& record, TargetReader& reader, BadRows& bad) const override {
    reader.add_class(record, bad);
  }

  void identify(const DatasetOptions& options, IdentityHash& hash) const override {
    hash.add(str("end ", options.append_end, " ", options.option_score));
    hash.add(options.verbalizer);
    hash.add(str(options.max_target_length));
  }
};

}  // namespace

std::unique_ptr<TaskKind> make_prompted() {
  return std::make_unique<Prompted>();
}

}  // namespace compress::data
