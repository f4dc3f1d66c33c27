// A text that is read and the text to be written for it.

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "tasks/task.h"

namespace compress::data {

namespace {

constexpr const char* text_needs = "name the column of the text to be written";

class SequenceToSequence final : public TaskKind {
 public:
  SequenceToSequence()
      : TaskKind({.name = "sequence_to_sequence",
                  .task = Task::sequence_to_sequence,
                  .summary = "another text, the target",
                  .one_text = true,
                  .head = "seq2seq_lm",
                  .metrics = {"perplexity"}}) {}

  std::vector<Key> keys() const override {
    return {{"target", [](const DatasetOptions& o) { return !o.target.empty(); }},
            {"references", [](const DatasetOptions& o) { return !o.references.empty(); }},
            {"max_target_length", [](const DatasetOptions& o) {
               return o.max_target_length != DatasetOptions().max_target_length;
             }}};
  }

  void check(const DatasetOptions& options, TaskRules& rules) const override {
    rules.need(!options.target.empty(), facts().name, "target", text_needs);
  }

  void add_columns(const DatasetOptions& options, Layout& layout) const override {
    require_target(options, facts(), text_needs);
    add_target(options, layout);
  }

  void identify(const DatasetOptions& options, IdentityHash& hash) const override {
    hash.add({options.target, str(options.max_target_length)});
    if (!options.references.empty()) hash.add(options.references);
  }
};

}  // namespace

std::unique_ptr<TaskKind> make_sequence_to_sequence() {
  return std::make_unique<SequenceToSequence>();
}

}  // namespace compress::data
