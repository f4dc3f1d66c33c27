#include "rows/documents.h"

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/random.h"
#include "compress/base/strings.h"
#include "files/annotated.h"
#include "rows/row_stream.h"

namespace compress::data {

namespace {

constexpr double short_rows = 0.1;  // share of the documents whose rows are shorter

void append(std::vector<int32_t>& tokens, std::span<const int32_t> more) {
  tokens.insert(tokens.end(), more.begin(), more.end());
}

// Takes tokens from the longer text until both have `room`.
void cut_pair(std::vector<int32_t>& a, std::vector<int32_t>& b, size_t room, Random& random) {
  size_t first_a = 0, first_b = 0;
  while (a.size() - first_a + b.size() - first_b > room) {
    const bool from_a = a.size() - first_a > b.size() - first_b;
    std::vector<int32_t>& longer = from_a ? a : b;
    if (random.uniform() < 0.5)
      ++(from_a ? first_a : first_b);
    else
      longer.pop_back();
  }
  a.erase(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(first_a));
  b.erase(b.begin(), b.begin() + static_cast<std::ptrdiff_t>(first_b));
}

// A number from `low` to `high`, both of them too.
int64_t between(int64_t low, int64_t high, Random& random) {
  return low + static_cast<int64_t>(random.below(static_cast<uint64_t>(high - low + 1)));
}

}  // namespace

SentencePairs::SentencePairs(const text::Tokenizer& tokenizer, int64_t max_length,
                             int64_t duplicates)
    : duplicates_(duplicates) {
  text::EncodeOptions how;
  how.offsets = true;
  const text::Encoding both = tokenizer.encode("a", "a", how);
  const size_t alone = tokenizer.encode("a", {.add_special_tokens = false}).ids.size();
  size_t seen = 0;
  for (size_t t = 0; t < both.ids.size(); ++t) {
    if (both.special[t] == 0) {
      ++seen;
      continue;
    }
    if (seen > 0 && seen <= alone && static_cast<int64_t>(t) < both.first_length) ++middle_first_;
    (seen == 0 ? front_ : seen <= alone ? middle_ : back_).push_back(both.ids[t]);
  }
  segments_ = both.first_length < static_cast<int64_t>(both.ids.size());
  room_ = max_length - static_cast<int64_t>(front_.size() + middle_.size() + back_.size());
  if (room_ < 2)
    throw Error(ErrorKind::recipe,
                str("max_length ", max_length, " leaves no room for two texts beside ",
                    max_length - room_, " special tokens"),
                {}, "raise `max_length`");
}

void SentencePairs::make(Documents documents, int32_t is_next, int32_t not_next, Split& chunk) {
  chunk.offsets = {0};
  chunk.lines.clear();
  if (documents.count() == 1 && before_.count() == 0)
    throw Error(ErrorKind::data, "one document alone: a second text has to be of another one",
                chunk.file.string(), "documents are separated by blank lines");
  const Documents& others = documents.count() > 1 ? documents : before_;
  for (int64_t pass = 0; pass < duplicates_; ++pass)
    for (int64_t which = 0; which < documents.count(); ++which)
      document(documents, which, others, pass, is_next, not_next, chunk);
  if (documents.count() > 0) before_ = std::move(documents);
}

void SentencePairs::document(const Documents& documents, int64_t which, const Documents& others,
                             int64_t pass, int32_t is_next, int32_t not_next, Split& chunk) const {
  Random random(stream_seed(0, "next_sentence",
                            static_cast<uint64_t>(documents.numbers[static_cast<size_t>(which)]),
                            static_cast<uint64_t>(pass)));
  const int64_t wanted = random.uniform() < short_rows ? between(2, room_, random) : room_;
  const int64_t count = documents.length(which);
  const bool among = &others == &documents;
  for (int64_t begin = 0, at = 0, collected = 0; at < count; ++at) {
    collected += static_cast<int64_t>(documents.sentence(which, at).size());
    if (at + 1 < count && collected < wanted) continue;
    const int64_t sentences = at + 1 - begin;
    const int64_t in_a = sentences > 1 ? between(1, sentences - 1, random) : 1;
    Tokens a, b;
    for (int64_t i = 0; i < in_a; ++i) append(a, documents.sentence(which, begin + i));
    const bool random_next = sentences == 1 || random.uniform() < 0.5;
    if (random_next) {
      int64_t other = between(0, others.count() - (among ? 2 : 1), random);
      if (among && other >= which) ++other;
      const int64_t missing = wanted - static_cast<int64_t>(a.size());
      for (int64_t i = between(0, others.length(other) - 1, random); i < others.length(other);
           ++i) {
        append(b, others.sentence(other, i));
        if (static_cast<int64_t>(b.size()) >= missing) break;
      }
      at -= sentences - in_a;
    } else {
      for (int64_t i = in_a; i < sentences; ++i) append(b, documents.sentence(which, begin + i));
    }
    cut_pair(a, b, static_cast<size_t>(room_), random);
    add(a, b, chunk);
    chunk.classes.push_back(random_next ? not_next : is_next);
    chunk.lines.push_back(documents.lines[static_cast<size_t>(which)]);
    begin = at + 1;
    collected = 0;
  }
}

void SentencePairs::add(const Tokens& a, const Tokens& b, Split& chunk) const {
  const size_t before = chunk.ids.size();
  chunk.ids.append(front_);
  chunk.ids.append(a);
  const auto first = static_cast<int64_t>(chunk.ids.size() - before) + middle_first_;
  chunk.ids.append(middle_);
  chunk.ids.append(b);
  chunk.ids.append(back_);
  const auto length = static_cast<int64_t>(chunk.ids.size() - before);
  chunk.offsets.push_back(static_cast<int64_t>(chunk.ids.size()));
  chunk.first_lengths.push_back(static_cast<int32_t>(segments_ ? first : length));
}

void RowStream::tokenise_documents() {
  std::vector<std::string_view> sentences;
  std::vector<int64_t> counts, document_lines = chunk_.lines.edit(), lines;
  for (size_t d = 0; d < first_.size(); ++d) {
    const std::vector<std::string_view> items = list_items(first_[d]);
    sentences.insert(sentences.end(), items.begin(), items.end());
    counts.push_back(static_cast<int64_t>(items.size()));
    lines.insert(lines.end(), items.size(), document_lines[d]);
  }
  chunk_.lines = std::move(lines);  // what an error of a sentence names
  const text::PackedIds packed = encode(sentences, {}, 0, /*special=*/false);
  Documents documents;
  documents.sentences.offsets.push_back(0);
  int64_t next = 0;
  for (size_t d = 0; d < counts.size(); ++d, ++documents_) {
    const int64_t before = documents.sentences.count();
    for (const int64_t end = next + counts[d]; next < end; ++next) {
      const std::span<const int32_t> ids = packed.text(next);
      if (ids.empty()) continue;
      text::PackedIds& kept = documents.sentences;
      kept.ids.insert(kept.ids.end(), ids.begin(), ids.end());
      kept.offsets.push_back(static_cast<int64_t>(kept.ids.size()));
      kept.first_lengths.push_back(static_cast<int64_t>(ids.size()));
    }
    if (documents.sentences.count() == before) {
      ++dropped_;
      continue;
    }
    documents.begins.push_back(documents.sentences.count());
    documents.lines.push_back(document_lines[d]);
    documents.numbers.push_back(documents_);
  }
  pairs_->make(std::move(documents), targets_.classes().find(next_classes[0]),
               targets_.classes().find(next_classes[1]), chunk_);
}

}  // namespace compress::data
