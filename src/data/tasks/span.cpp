// The part of a passage that answers a question.

#include "compress/base/strings.h"
#include "rows/row_stream.h"
#include "tasks/task.h"

namespace compress::data {

namespace {

class Span final : public TaskKind {
 public:
  Span()
      : TaskKind({.name = "span",
                  .task = Task::span,
                  .summary = "the part of a passage that answers a question",
                  .head = "span",
                  .metrics = {"answer_f1", "exact_match"}}) {}

  std::vector<Key> keys() const override {
    return {{"answer", [](const DatasetOptions& o) { return !o.answer.empty(); }},
            {"answer_start", [](const DatasetOptions& o) { return !o.answer_start.empty(); }},
            {"stride", [](const DatasetOptions& o) { return o.stride.has_value(); }},
            {"format", [](const DatasetOptions& o) { return o.format == "squad"; }}};
  }

  void check(const DatasetOptions& options, TaskRules& rules) const override {
    if (options.stride && *options.stride >= options.max_length)
      rules.refuse("stride",
                   str("a stride of ", *options.stride, " leaves no step in rows of max_length ",
                       options.max_length),
                   "left out, it is a third of `max_length` or less");
    if (options.format == "squad") return;
    rules.need(!options.pair.empty(), facts().name, "pair", "name the column of the passage");
    rules.need(!options.answer.empty(), facts().name, "answer",
               "name the column of the answer's text");
  }

  void add_columns(const DatasetOptions& options, Layout& layout) const override {
    layout.targets = layout.columns.size();
    layout.columns.push_back({options.answer, true, CellKind::texts});
    layout.places = options.format == "squad" || !options.answer_start.empty();
    if (layout.places) layout.columns.push_back({options.answer_start, false, CellKind::texts});
  }

  void identify(const DatasetOptions& options, IdentityHash& hash) const override {
    hash.add({options.answer, options.answer_start, str(options.stride.value_or(-1))});
  }

  RowTargets targets(const DatasetOptions&) const override { return RowTargets::spans; }
  void tokenise(RowStream& stream) const override { stream.tokenise_passages(); }
};

}  // namespace

std::unique_ptr<TaskKind> make_span() {
  return std::make_unique<Span>();
}

}  // namespace compress::data
