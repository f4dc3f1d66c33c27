#pragma once
// Pairs of texts made of documents, for next-sentence prediction.

#include <cstdint>
#include <span>
#include <vector>

#include "compress/data/dataset.h"
#include "compress/text/batch.h"

namespace compress::data {

// Documents as tokens of their sentences, none of them empty.
struct Documents {
  text::PackedIds sentences;
  // Document d is sentences begins[d] .. begins[d + 1] - 1, at least one.
  std::vector<int64_t> begins{0};
  std::vector<int64_t> lines;  // [documents]
  std::vector<int64_t>
      numbers;  // [documents] in the file, from 0: what its draws are a function of

  int64_t count() const { return static_cast<int64_t>(lines.size()); }
  int64_t length(int64_t document) const {
    return begins[static_cast<size_t>(document) + 1] - begins[static_cast<size_t>(document)];
  }
  std::span<const int32_t> sentence(int64_t document, int64_t i) const {
    return sentences.text(begins[static_cast<size_t>(document)] + i);
  }
};

// The rows that BERT's create_pretraining_data.py makes of a document (Devlin et al. 2019, arXiv
// 1810.04805, section A.2, and its code): sentences are collected until they have as many tokens as
// a row has room for (in one document of ten a number drawn from 2 on); the first of them, how many
// is drawn, are text A. In half of all cases, and where there is one sentence alone, text B is of
// another document, from a sentence that is drawn to its end or as many tokens as are wanted, and
// the sentences that were collected and not used come next; else B is the rest of them. A pair that
// is too long loses tokens at the front or the back, as is drawn, of the longer text.
class SentencePairs {
 public:
  // Error{recipe} where `max_length` leaves no room for two texts.
  SentencePairs(const text::Tokenizer& tokenizer, int64_t max_length, int64_t duplicates);
  // Appends the rows of all documents, `duplicates` times, to `chunk`: its tokens, offsets,
  // first_lengths, lines and, of these two numbers, classes. Where there is one document alone, B
  // is of those of the call before. Error{data} where there was none.
  void make(Documents documents, int32_t is_next, int32_t not_next, Split& chunk);

 private:
  using Tokens = std::vector<int32_t>;
  // The texts of a pair, and which of the documents that can be drawn B must not be of (-1: none).
  void add(const Tokens& a, const Tokens& b, Split& chunk) const;
  void document(const Documents& documents, int64_t which, const Documents& others, int64_t pass,
                int32_t is_next, int32_t not_next, Split& chunk) const;

  std::vector<int32_t> front_, middle_, back_;  // special tokens around A and B
  int64_t middle_first_ = 0;                    // tokens of `middle_` with segment 0
  bool segments_ = true;                        // whether B has segment 1
  int64_t room_ = 0, duplicates_ = 1;
  Documents before_;
};

}  // namespace compress::data
