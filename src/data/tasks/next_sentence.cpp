// Pairs of texts made of documents: whether the second follows the first, for a head beside that of
// a masked language model.

#include "compress/base/strings.h"
#include "rows/row_stream.h"
#include "tasks/task.h"

namespace compress::data {

namespace {

class NextSentence final : public TaskKind {
 public:
  NextSentence()
      : TaskKind({.name = "next_sentence",
                  .task = Task::next_sentence,
                  .summary = "whether one text of a document follows another",
                  .class_names = true,
                  .leaves_out_empty = true,
                  .one_text = true,
                  .head = "masked_lm",
                  .further_head = "classification",
                  .metrics = {"perplexity"}}) {}

  std::vector<Key> keys() const override {
    return {{"duplicates", [](const DatasetOptions& o) { return o.duplicates != 1; }}};
  }

  void check(const DatasetOptions& options, TaskRules& rules) const override {
    auto fits = [](Format format) { return format == Format::text || format == Format::jsonl; };
    for (const auto& [part, origin] : parts_of(options)) {
      if (origin->file.empty()) continue;
      const std::optional<Format> by_name = format_by_extension(origin->file);
      if (options.format.empty() && (!by_name || fits(*by_name))) continue;
      if (options.format == "text" || options.format == "jsonl") continue;
      rules.refuse("format", "documents are read from a text file or from jsonl",
                   "text: a sentence a line, a blank line between documents; jsonl: a list of "
                   "sentences in `text`");
      break;
    }
    if (!options.labels.empty())
      rules.refuse("labels",
                   str("the classes of `", facts().name, "` are ", next_classes[0], " and ",
                       next_classes[1]),
                   "leave `labels` out");
    for (const auto& [key, column] :
         {std::pair("weight", &options.weight), {"group", &options.group}})
      if (!column->empty())
        rules.refuse(key, "rows that are made of documents have no columns", "leave it out");
  }

  CellKind text_kind() const override { return CellKind::texts; }

  void identify(const DatasetOptions& options, IdentityHash& hash) const override {
    hash.add(str("pairs 1 duplicates ", options.duplicates));
  }

  RowTargets targets(const DatasetOptions&) const override { return RowTargets::classes; }

  std::vector<std::string> given_names(const DatasetOptions&) const override {
    return {next_classes[0], next_classes[1]};
  }

  // A row takes what it is long where B follows A, else half of that; a document ends in a row that
  // may be short.
  std::optional<int64_t> guessed_rows(const DatasetOptions& options, int64_t records,
                                      int64_t bytes) const override {
    return options.duplicates * (records + bytes / (3 * options.max_length));
  }

  void tokenise(RowStream& stream) const override { stream.tokenise_documents(); }
};

}  // namespace

std::unique_ptr<TaskKind> make_next_sentence() {
  return std::make_unique<NextSentence>();
}

}  // namespace compress::data
