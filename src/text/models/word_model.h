#pragma once
// Models: one word of the normalised text into ids.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "compress/base/hash.h"

namespace compress::text {

// Bytes [begin, end) of the word that a token stands for, and the text that the library calls the
// token: empty for that of the vocabulary.
struct TokenSpan {
  uint32_t begin, end;
};

// Where a model's tokens go.
struct WordTokens {
  std::vector<int32_t> ids;
  std::vector<TokenSpan> spans;  // as many as ids
  void clear() {
    ids.clear();
    spans.clear();
  }
  void add(int32_t id, uint32_t begin, uint32_t end) {
    ids.push_back(id);
    spans.push_back({begin, end});
  }
};

class WordModel {
 public:
  virtual ~WordModel() = default;
  // Appends the tokens of `word` (not empty). Throws Error{model} when it needs an unknown token
  // that the vocabulary lacks.
  virtual void encode(std::string_view word, WordTokens& out) const = 0;
  // The id of exactly `token`; -1 for none.
  virtual int32_t find(std::string_view token) const = 0;
  // Everything that decides the ids, apart from the vocabulary.
  virtual void add_to_hash(Sha256& hash) const = 0;
  // Whether a word that is split at `mark` gives the same ids as when it is whole, wherever a mark
  // follows another character.
  virtual bool splits_at(std::string_view mark) const {
    static_cast<void>(mark);
    return false;
  }
  // Whether the text of a token is the text it stands for, and not the vocabulary's.
  virtual bool spells_text() const { return false; }
};

// Tokens by id; names are distinct, and empty for ids that no token has.
using Vocabulary = std::vector<std::string>;

struct BpeOptions {
  int32_t unk = -1;             // -1: characters that are not in the vocabulary are left out
  bool unk_is_missing = false;  // one is named that the vocabulary lacks: an error when needed
  std::string prefix;           // of pieces that continue a word
  std::string suffix;           // of pieces that end a word
  bool fuse_unk = false;        // neighbouring unknown characters are one token
  bool byte_fallback = false;   // unknown characters become <0x..> tokens where all are there
  bool ignore_merges = false;   // words of the vocabulary are tokens as they are
  bool bytes = false;           // words are bytes; the vocabulary spells them by map_bytes()
};
// Merges, best first, as ids of the left, the right and the joined token.
struct BpeMerge {
  int32_t left, right, joined;
};
std::unique_ptr<WordModel> make_bpe(const Vocabulary& vocabulary,
                                    const std::vector<BpeMerge>& merges, BpeOptions options);

struct UnigramOptions {
  int32_t unk = -1;
  bool byte_fallback = false;
};
// scores: log probabilities by id.
std::unique_ptr<WordModel> make_unigram(const Vocabulary& vocabulary,
                                        const std::vector<double>& scores, UnigramOptions options);

struct WordPieceOptions {
  int32_t unk = -1;
  std::string prefix = "##";
  int64_t max_input_chars = 100;
};
std::unique_ptr<WordModel> make_wordpiece(const Vocabulary& vocabulary, WordPieceOptions options);

}  // namespace compress::text
