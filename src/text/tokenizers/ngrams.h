#pragma once
// N-grams of words as tokens (Ye et al. 2022, arXiv 2110.08536, section 3.2). A word is a run of
// characters of the regular expression class \w, lower-cased; runs shorter than `shortest_word`
// characters are dropped before n-grams are formed, as scikit-learn's CountVectorizer drops those
// of one. An n-gram is spelled as its words with one space between.

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "compress/text/tokenizer.h"
#include "normalize/normalize_stages.h"
#include "tokenizers/assemble.h"

namespace compress::text {

struct NgramRules {
  int64_t shortest = 1, longest = 1;  // words of an n-gram
  int64_t shortest_word = 2;          // characters
};

// The words of a text with one space between them, so that each n-gram is a stretch of it.
struct NgramText {
  struct Word {
    uint32_t begin = 0, end = 0;  // in `words`
    ByteRange source;             // in the text; 0, 0 unless asked for
  };
  std::string words;
  std::vector<Word> list;
  NormalizerState state;  // scratch

  std::string_view gram(size_t first, size_t count) const {
    const uint32_t begin = list[first].begin;
    return std::string_view(words).substr(begin, list[first + count - 1].end - begin);
  }
};

class NgramReader {
 public:
  explicit NgramReader(const NgramRules& rules);
  // Overwrites `out`.
  void read(std::string_view text, bool offsets, NgramText& out) const;
  const NgramRules& rules() const { return rules_; }

 private:
  NgramRules rules_;
  NormalizerStages lowercase_;
};

// Every known n-gram of a text, by the place of its first word, shorter ones first; repeated ones
// count each time, unknown ones leave nothing. A text without any known n-gram is the padding
// token, id 0, alone, which models leave out of their averages. A pair is the n-grams of one text,
// then of the other.
class Ngrams final : public Tokenizer {
 public:
  // `vocabulary` by id: distinct, the padding token first.
  Ngrams(std::vector<std::string> vocabulary, const NgramRules& rules);

  using Tokenizer::encode;
  void encode(std::string_view text, std::optional<std::string_view> pair,
              const EncodeOptions& options, Encoding& out) const override;
  int64_t vocabulary_size() const override { return static_cast<int64_t>(vocabulary_.size()); }
  std::optional<int32_t> token_to_id(std::string_view token) const override;
  std::optional<std::string_view> id_to_token(int32_t id) const override;
  const SpecialIds& special_ids() const override { return special_; }
  int64_t special_tokens_added(bool) const override { return 0; }
  std::string decode(std::span<const int32_t> ids, bool skip_special) const override;
  const std::string& hash() const override { return hash_; }

 private:
  void add(std::string_view text, const EncodeOptions& options, int64_t stop, Tokens& out) const;

  std::vector<std::string> vocabulary_;
  std::unordered_map<std::string_view, int32_t> ids_;
  NgramReader reader_;
  Template pattern_;
  SpecialIds special_;
  std::string hash_;
};

}  // namespace compress::text
