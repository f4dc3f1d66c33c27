#pragma once
// Every other tokenizer: normalizers, pre-tokenizers, a model and decoders in sequence.

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "compress/text/tokenizer.h"
#include "models/word_model.h"
#include "normalize/normalize_stages.h"
#include "split/splitter.h"
#include "tokenizers/assemble.h"
#include "tokenizers/decoders.h"
#include "tokenizers/token_table.h"

namespace compress::text {

// Everything that defines such a tokenizer. The loader has checked it.
struct GeneralParts {
  Vocabulary vocabulary;
  std::vector<AddedToken> added;  // `pattern` not yet filled in
  NormalizerStages normalizer;
  SplitStages splitter;
  std::unique_ptr<WordModel> model;
  std::optional<DecoderStages> decoder;  // nothing: tokens are joined by spaces
  Template pattern;
  // One for each ByteLevel post-processor that trims offsets: whether it adds a space in front.
  std::vector<bool> trims;
  SpecialIds special;
  // Words are split before this where it follows another character; empty for never.
  std::string word_mark;
  std::string description;  // normalizer and pre-tokenizer as the file states them, for the hash
};

class GeneralTokenizer final : public Tokenizer {
 public:
  // Throws Error{model} as TokenTable does.
  GeneralTokenizer(GeneralParts parts, const std::string& where);

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
  struct Scratch;
  // Where one text's tokens go while it is read.
  struct Sink {
    std::string_view text;  // the user's
    Tokens& tokens;
    bool offsets;
    int64_t stop;  // enough tokens; 0 = never
    bool full() const { return stop > 0 && static_cast<int64_t>(tokens.ids.size()) >= stop; }
  };

  std::string make_hash() const;
  void tokenize(Sink sink, Scratch& scratch) const;
  void add_plain(uint32_t begin, uint32_t end, Sink& sink, Scratch& scratch) const;
  void add_word(const Pieces& pieces, uint32_t begin, uint32_t end, Sink& sink,
                Scratch& scratch) const;
  void add_token(int32_t id, ByteRange range, std::string_view spelled, Sink& sink) const;

  GeneralParts parts_;  // less the tokens
  bool needs_offsets_ = false;
  TokenTable tokens_;
  std::string hash_;
};

}  // namespace compress::text
