#pragma once
// BERT's tokenizer: normalise, split at white space and punctuation, longest known piece first.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "compress/text/tokenizer.h"
#include "models/trie.h"
#include "normalize/bert_normalizer.h"
#include "tokenizers/added_tokens.h"
#include "tokenizers/assemble.h"
#include "tokenizers/token_table.h"

namespace compress::text {

// Everything that defines a WordPiece tokenizer. The loader has checked it: ids in range, special
// tokens known, added tokens with their final ids.
struct WordPieceParts {
  std::vector<std::string> vocabulary;  // by id; distinct
  std::vector<AddedToken> added;        // `pattern` not yet filled in
  NormalizerOptions normalizer;
  Template pattern;
  SpecialIds special;
  std::string prefix = "##";      // of a piece that continues a word
  int64_t max_input_chars = 100;  // a longer word is unknown as a whole
  struct Decoder {
    std::string prefix = "##";
    bool cleanup = true;
  };
  std::optional<Decoder> decoder;
};

// Set 0: pieces that start a word; set 1: pieces that continue one, less the prefix.
Trie wordpiece_trie(const std::vector<std::string>& vocabulary, std::string_view prefix);

class WordPiece final : public Tokenizer {
 public:
  // Throws Error{model} when two added tokens look for the same text or one for none; `where` is
  // the file to name.
  WordPiece(WordPieceParts parts, const std::string& where);

  using Tokenizer::encode;
  void encode(std::string_view text, std::optional<std::string_view> pair,
              const EncodeOptions& options, Encoding& out) const override;
  int64_t vocabulary_size() const override { return tokens_.size(); }
  std::optional<int32_t> token_to_id(std::string_view token) const override;
  std::optional<std::string_view> id_to_token(int32_t id) const override {
    return tokens_.name(id);
  }
  const SpecialIds& special_ids() const override { return parts_.special; }
  int64_t special_tokens_added(bool pair) const override { return parts_.pattern.added(pair); }
  std::string decode(std::span<const int32_t> ids, bool skip_special) const override;
  const std::string& hash() const override { return hash_; }

 private:
  // Where one text's tokens go while it is read.
  struct Sink {
    Tokens& tokens;
    bool offsets;
    int64_t stop;  // enough tokens; 0 = never
  };
  struct Scratch;

  std::string make_hash() const;
  void tokenize(std::string_view text, Sink sink, Scratch& scratch) const;
  bool add_plain(std::string_view text, uint32_t base, Sink& sink, Scratch& scratch) const;
  void add_token(int32_t id, ByteRange range, Sink& sink) const;
  bool split_words(const Normalized& text, uint32_t begin, uint32_t end, Sink& sink) const;
  bool add_word(const Normalized& text, uint32_t begin, uint32_t end, Sink& sink) const;

  WordPieceParts parts_;  // less the tokens
  Normalizer normalizer_;
  // Set 0: pieces that start a word; set 1: pieces that continue one, less the prefix.
  Trie pieces_;
  TokenTable tokens_;
  std::string hash_;
};

}  // namespace compress::text
