// Each token from those before it: its label is the next one of its row.

#include "compress/base/strings.h"
#include "tasks/task.h"

namespace compress::data {

namespace {

class LanguageModel final : public TaskKind {
 public:
  LanguageModel()
      : TaskKind({.name = "language_model",
                  .task = Task::language_model,
                  .summary = "each token from those before it",
                  .leaves_out_empty = true,
                  .one_text = true,
                  .head = "causal_lm",
                  .metrics = {"perplexity"}}) {}

  std::vector<Key> keys() const override {
    return {{"append_end", [](const DatasetOptions& o) { return !o.append_end; }},
            {"concatenate", [](const DatasetOptions& o) { return o.concatenate; }},
            {"compose", [](const DatasetOptions& o) { return static_cast<bool>(o.compose); }},
            {"target", [](const DatasetOptions& o) { return !o.target.empty(); }},
            {"references", [](const DatasetOptions& o) { return !o.references.empty(); }},
            {"max_target_length", [](const DatasetOptions& o) {
               return o.max_target_length != DatasetOptions().max_target_length;
             }}};
  }

  void check(const DatasetOptions& options, TaskRules& rules) const override {
    if (!options.references.empty() && options.target.empty())
      rules.refuse("references", "`references` stand beside a `target`", "name it, too");
    if (!options.target.empty() && options.concatenate)
      rules.refuse("concatenate", "`concatenate` joins texts, and these have a `target`",
                   "leave one of them out");
    if (options.compose && options.target.empty())
      rules.refuse("compose",
                   "rows are made of texts with their answers, and these have no `target`",
                   "name the answer's column in `target`");
    if (options.compose && options.train.empty())
      rules.refuse("compose", "rows are made of those of the training part, and there is none",
                   "name a `train` file");
  }

  // The text to be written for a prompt, which follows it in the row.
  void add_columns(const DatasetOptions& options, Layout& layout) const override {
    layout.target = !options.target.empty();
    if (layout.target) add_target(options, layout);
  }

  std::optional<int64_t> guessed_rows(const DatasetOptions& options, int64_t,
                                      int64_t bytes) const override {
    if (!options.concatenate) return std::nullopt;
    return 1 + bytes / (4 * options.max_length);
  }

  std::vector<std::string> marks(const DatasetOptions& options) const override {
    if (options.target.empty()) return {};
    return {answer_mark};
  }

  void identify(const DatasetOptions& options, IdentityHash& hash) const override {
    hash.add(str("end ", options.append_end, " blocks ", options.concatenate));
    if (!options.target.empty()) hash.add({options.target, str(options.max_target_length)});
    if (!options.references.empty()) hash.add(options.references);
  }
};

}  // namespace

std::unique_ptr<TaskKind> make_language_model() {
  return std::make_unique<LanguageModel>();
}

}  // namespace compress::data
