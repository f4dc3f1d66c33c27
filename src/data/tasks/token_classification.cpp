// A class of each word.

#include "compress/base/strings.h"
#include "compress/text/python.h"
#include "files/annotated.h"
#include "rows/row_stream.h"
#include "tasks/task.h"

namespace compress::data {

namespace {

class TokenClassification final : public TaskKind {
 public:
  TokenClassification()
      : TaskKind({.name = "token_classification",
                  .task = Task::token_classification,
                  .summary = "a class of each word",
                  .labelled = true,
                  .class_names = true,
                  .one_text = true,
                  .head = "token_classification",
                  .metrics = {"accuracy", "f1_macro"},
                  .metrics_of_entities = {"entity_f1", "entity_precision", "entity_recall",
                                          "accuracy"}}) {}

  CellKind text_kind() const override { return CellKind::words; }
  RowTargets targets(const DatasetOptions&) const override { return RowTargets::token_classes; }
  void tokenise(RowStream& stream) const override { stream.tokenise_words(); }

  // One class a word.
  void read(const Record& record, TargetReader& reader, BadRows& bad) const override {
    const std::vector<std::string_view> labels = list_items(reader.cell(record));
    const std::vector<std::string_view> words = list_items(record.cells[0]);
    std::vector<int32_t>& classes = reader.words().emplace_back();
    if (labels.size() != words.size())
      return bad.add(record.line, str(labels.size(), " labels for ", words.size(), " words"),
                     "each word has a label");
    if (words.empty())
      return bad.add(record.line, "the text has no words", "remove rows without text");
    for (size_t i = 0; i < words.size(); ++i)
      if (text::is_blank(words[i]))
        return bad.add(record.line, str("word ", i, " is empty or white space"),
                       "no token has its label: remove it with its label");
    for (std::string_view label : labels) {
      const bool without = reader.skipped().names(trim(label));
      classes.push_back(without ? no_class : reader.classes().find(trim(label)));
      if (!without && classes.back() < 0)
        return bad.add(record.line, bad.listing() ? reader.classes().unknown(trim(label)) : "",
                       reader.classes().hint(trim(label)));
    }
  }
};

}  // namespace

std::unique_ptr<TaskKind> make_token_classification() {
  return std::make_unique<TokenClassification>();
}

}  // namespace compress::data
