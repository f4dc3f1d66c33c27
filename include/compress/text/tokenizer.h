#pragma once
// Text to token ids. The ids are those of the Hugging Face fast tokenizers (`tokenizers` 0.23);
// tests/interop/test_tokenizer*.py compare the two.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace compress::text {

// How a text that is too long is cut (always at its end).
enum class Truncation {
  longest_first,  // the longer of a pair first, then both evenly
  only_first,     // the first of a pair; an error where that cannot suffice
  only_second,    // the second of a pair; an error where that cannot suffice
  none,           // never; max_length is ignored
};

struct EncodeOptions {
  int64_t max_length = 0;  // tokens at most, special tokens included; 0 = no limit
  Truncation truncation = Truncation::longest_first;
  bool add_special_tokens = true;
  bool offsets = false;  // fill Encoding::offsets and Encoding::special
};

// Bytes [begin, end) of the text that a token came from (of the second text for its tokens; 0, 0
// for special tokens that the tokenizer added).
struct ByteRange {
  uint32_t begin = 0, end = 0;
  bool operator==(const ByteRange&) const = default;
};

struct Encoding {
  std::vector<int32_t> ids;
  // Segment ids are 0 for ids[0 .. first_length) and 1 after.
  int64_t first_length = 0;
  std::vector<ByteRange> offsets;  // with EncodeOptions::offsets, as many as ids
  std::vector<uint8_t> special;    // the same: 1 where the tokenizer added the token

  int32_t segment(int64_t position) const { return position < first_length ? 0 : 1; }
};

// Ids of the tokens with a role; -1 where the vocabulary has none.
struct SpecialIds {
  int32_t pad = -1, unk = -1, cls = -1, sep = -1, mask = -1;
  int32_t bos = -1, eos = -1;
  // Those that the vocabulary has of the roles that stand around, between or in place of words.
  std::vector<int32_t> markers() const {
    std::vector<int32_t> list;
    for (int32_t id : {pad, unk, cls, sep, mask})
      if (id >= 0) list.push_back(id);
    return list;
  }
};

// A tokenizer is immutable after loading: every function may be called from many threads at once.
class Tokenizer {
 public:
  Tokenizer() = default;
  virtual ~Tokenizer() = default;
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // Encodes one text, or a pair. `out` is overwritten; its memory is re-used. Texts are UTF-8; each
  // maximal ill-formed sequence counts as one U+FFFD (which BERT's clean_text then removes), with
  // offsets of the bytes themselves. Throws Error{data} when a text has 4 GiB or more
  // (1 GiB for other tokenizers than BERT's), when
  // max_length has no room for the special tokens, when only_first / only_second cannot bring the
  // pair down to max_length, or when a pattern of the tokenizer needs too many steps; Error{model}
  // when the text needs an unknown token and the vocabulary has none.
  virtual void encode(std::string_view text, std::optional<std::string_view> pair,
                      const EncodeOptions& options, Encoding& out) const = 0;
  Encoding encode(std::string_view text, const EncodeOptions& options = {}) const;
  Encoding encode(std::string_view text, std::string_view pair,
                  const EncodeOptions& options = {}) const;

  // Ids are 0 .. vocabulary_size() - 1, added tokens included.
  virtual int64_t vocabulary_size() const = 0;
  virtual std::optional<int32_t> token_to_id(std::string_view token) const = 0;
  // The token as the vocabulary spells it; nothing for an id outside the vocabulary.
  virtual std::optional<std::string_view> id_to_token(int32_t id) const = 0;
  virtual const SpecialIds& special_ids() const = 0;
  // How many special tokens encode() adds to one text or to a pair.
  virtual int64_t special_tokens_added(bool pair) const = 0;

  // Readable text of `ids` as the tokenizer's decoder writes it; ids outside the vocabulary are
  // skipped, as are special tokens when `skip_special`. What normalisation removed does not come
  // back; bytes that are not UTF-8 become U+FFFD.
  virtual std::string decode(std::span<const int32_t> ids, bool skip_special = true) const = 0;

  // SHA-256 over everything that decides the ids: equal hashes encode equally, from whichever files
  // they were loaded.
  virtual const std::string& hash() const = 0;
};

// Loads the tokenizer of a Hugging Face model folder. The first of these that is there counts:
// - `tokenizer.json`: models WordPiece, BPE and Unigram with the normalizers, pre-tokenizers,
//   post-processors and decoders that docs/tokenizers.md lists, but truncation, padding and BPE's
//   dropout; and compress's own model NGram (docs/tokenizers.md). Where `tokenizer_config.json`
//   says something else, a warning tells which one counts.
// - `vocab.txt`: BERT's WordPiece.
// - `vocab.json` with `merges.txt`: byte-level BPE of GPT-2, RoBERTa or Qwen2.
// - `spiece.model`, `sentencepiece.bpe.model`, `tokenizer.model`: SentencePiece with the ids of T5,
//   XLM-R and Llama.
// For the older files `tokenizer_config.json` gives options, its tokenizer_class the family.
// Chat templates are not read. Throws Error{model} naming what is unsupported or malformed.
std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& folder);

}  // namespace compress::text
