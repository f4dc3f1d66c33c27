// Texts alone: for what reads no label of the data.

#include "compress/base/strings.h"
#include "tasks/task.h"

namespace compress::data {

namespace {

class Unlabelled final : public TaskKind {
 public:
  Unlabelled()
      : TaskKind({.name = "unlabelled",
                  .task = Task::unlabelled,
                  .summary = "nothing",
                  .leaves_out_empty = true,
                  .metrics = {"perplexity"}}) {}

  std::vector<Key> keys() const override {
    return {{"min_length", [](const DatasetOptions& o) { return o.min_length > 0; }},
            {"max_unknown", [](const DatasetOptions& o) { return o.max_unknown.has_value(); }},
            {"split_long", [](const DatasetOptions& o) { return o.split_long; }}};
  }

  void check(const DatasetOptions& options, TaskRules& rules) const override {
    if (options.split_long && !options.pair.empty())
      rules.refuse("split_long", "a pair of texts cannot be split", "leave it out, or `pair`");
    if (options.min_length > options.max_length)
      rules.refuse(
          "min_length",
          str("no row of at most ", options.max_length, " tokens has ", options.min_length),
          "raise `max_length`");
  }

  void identify(const DatasetOptions& options, IdentityHash& hash) const override {
    if (options.min_length > 0) hash.add(str("min_length ", options.min_length));
    if (options.max_unknown) hash.add(str("max_unknown ", options.max_unknown->value));
    if (options.split_long) hash.add("split_long");
  }
};

}  // namespace

std::unique_ptr<TaskKind> make_unlabelled() {
  return std::make_unique<Unlabelled>();
}

}  // namespace compress::data
