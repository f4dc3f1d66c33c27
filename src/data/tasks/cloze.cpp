// The one token that a masked language model is to put in a text's gap.

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "rows/row_stream.h"
#include "tasks/task.h"

namespace compress::data {

namespace {

constexpr const char* word_needs = "name the column of the word that stands in the gap";

class Cloze final : public TaskKind {
 public:
  Cloze()
      : TaskKind({.name = "cloze",
                  .task = Task::cloze,
                  .summary = "the token in a gap, [MASK]",
                  .one_text = true,
                  .head = "masked_lm",
                  .metrics = {"vocabulary_precision@1", "vocabulary_precision@10"}}) {}

  std::vector<Key> keys() const override {
    return {{"target", [](const DatasetOptions& o) { return !o.target.empty(); }}};
  }

  void check(const DatasetOptions& options, TaskRules& rules) const override {
    rules.need(!options.target.empty(), facts().name, "target", word_needs);
  }

  void add_columns(const DatasetOptions& options, Layout& layout) const override {
    require_target(options, facts(), word_needs);
    layout.target = true;
    layout.columns.push_back({options.target, true});
  }

  RowTargets targets(const DatasetOptions&) const override { return RowTargets::token_classes; }

  void identify(const DatasetOptions& options, IdentityHash& hash) const override {
    hash.add(options.target);
  }

  void tokenise(RowStream& stream) const override { stream.tokenise_gaps(); }
};

// The text with the tokenizer's own mask token in place of [MASK].
std::string with_mask(std::string_view text, std::string_view mask) {
  std::string out(text);
  for (size_t at = 0; (at = out.find(gap_mark, at)) != std::string::npos; at += mask.size())
    out.replace(at, gap_mark.size(), mask);
  return out;
}

}  // namespace

void RowStream::tokenise_gaps() {
  const int32_t mask = tokenizer_.special_ids().mask;
  if (mask < 0)
    throw Error(ErrorKind::data, "the tokenizer has no mask token for the gaps",
                source_.file().string(), "`task: cloze` is for masked language models");
  const std::string own(tokenizer_.id_to_token(mask).value_or(gap_mark));
  std::vector<std::string> texts, words;
  for (const std::string_view text : first_) texts.push_back(with_mask(text, own));
  // A word behind others has a space in front of it, which tokenizers of bytes keep.
  for (const std::string_view word : second_) words.push_back(str(" ", trim(word)));
  const std::vector<std::string_view> all(texts.begin(), texts.end()),
      wanted(words.begin(), words.end());
  text::PackedIds packed = encode(all, {}, max_length_);
  const text::PackedIds spaced = encode(wanted, {}, 0, /*special=*/false);
  text::Encoding alone;
  lacking_.assign(static_cast<size_t>(packed.count()), false);
  for (int64_t row = 0; row < packed.count(); ++row) {
    const auto at = static_cast<size_t>(row);
    const std::span<const int32_t> ids = packed.text(row);
    std::span<const int32_t> word = spaced.text(row);
    if (word.size() != 1) {
      tokenizer_.encode(trim(second_[at]), std::nullopt, {.add_special_tokens = false}, alone);
      word = alone.ids;
    }
    const auto gaps = std::count(ids.begin(), ids.end(), mask);
    std::string what;
    if (gaps != 1)
      what =
          gaps == 0 ? "the text has no [MASK], or it was cut off" : "the text has several [MASK]";
    else if (word.size() != 1)
      what = str(cited(second_[at]), " is ", word.size(), " tokens of the vocabulary");
    if (!what.empty()) {
      empty_.add(chunk_.lines[row], std::move(what),
                 "a row has one gap of one token; `bad_rows: skip` leaves others out");
      lacking_[at] = true;
      continue;
    }
    for (const int32_t id : ids) chunk_.token_classes.push_back(id == mask ? word[0] : -100);
  }
  if (skips_bad_) drop_rows(packed, lacking_, chunk_);
  chunk_.ids = std::move(packed.ids);
  chunk_.offsets = std::move(packed.offsets);
  chunk_.first_lengths.edit().assign(packed.first_lengths.begin(), packed.first_lengths.end());
}

std::unique_ptr<TaskKind> make_cloze() {
  return std::make_unique<Cloze>();
}

}  // namespace compress::data
