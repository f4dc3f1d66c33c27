#pragma once
// Tokenizer files to tokenizers. Files are hostile: everything is checked here.

#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "tokenizers/staged_tokenizer.h"
#include "tokenizers/wordpiece.h"

namespace compress::text {

inline constexpr int64_t max_id = std::numeric_limits<int32_t>::max();

// Members of a JSON object with their types checked. `where` is the file, `path` the place in it.
class JsonView {
 public:
  JsonView(const nlohmann::json& value, std::string where, std::string path);

  JsonView at(const std::string& key) const;  // an object or array that must be there
  bool has(const std::string& key) const;     // present and not null
  std::string string(const std::string& key) const;
  bool boolean(const std::string& key, bool absent) const;
  int64_t integer(const std::string& key, int64_t lowest, int64_t highest) const;
  const nlohmann::json& value() const { return value_; }
  const std::string& where() const { return where_; }
  std::string path(const std::string& key = {}) const;
  std::vector<JsonView> items() const;  // of an array of objects
  [[noreturn]] void fail(const std::string& what, const std::string& key = {},
                         const std::string& hint = {}) const;
  // "`component` 'X' is not supported", where X is the object's type.
  [[noreturn]] void unsupported(const std::string& component, const std::string& supported) const;

 private:
  const nlohmann::json& value_;
  std::string where_, path_;
};

// A file of at most 64 MiB. Throws Error{model} where it is UTF-16, Error{disk} where it cannot be
// read.
std::string read_text(const std::filesystem::path& path);
// Parses such a file, which must hold an object. Throws Error{model}.
nlohmann::json parse_json_file(const std::filesystem::path& path);
// The same, {} when there is no such file.
nlohmann::json parse_json_file_if_there(const std::filesystem::path& path);

// The name of a special token in tokenizer_config.json: a string or {"content": ...}; `absent` when
// it is missing or null.
std::string special_token_name(const JsonView& config, const std::string& key,
                               const std::string& absent);

// The configuration's tokenizer_class less "Tokenizer" or "TokenizerFast"; "" for none.
std::string tokenizer_class(const JsonView& config);
// The token of that role with its flags, special and as it is written unless they say otherwise.
AddedToken read_special_token(const JsonView& config, const std::string& key,
                              const std::string& absent);
// The tokens that additional_special_tokens and extra_special_tokens list.
std::vector<AddedToken> listed_special_tokens(const JsonView& config);

// Ids of tokens while a file is read, and the tokens that were added to the vocabulary.
class KnownTokens {
 public:
  // `count`: what the library calls the size of the vocabulary, the next free id.
  KnownTokens(const std::vector<std::string>& vocabulary, int64_t count);

  int32_t find(const std::string& token) const;  // -1: not there
  size_t size() const { return static_cast<size_t>(next_); }
  // Gives `token` the id that the library would: that of the vocabulary, or the next free one.
  // `stated` is the file's id, -1 for none; another one than the library's is an error, as is a
  // token that was added before.
  void add(AddedToken token, int64_t stated, const JsonView& place);

  std::vector<AddedToken> added;

 private:
  std::unordered_map<std::string, int32_t> ids_;
  std::unordered_set<std::string> contents_;  // of `added`
  int64_t next_;
};

// An object with content and flags.
AddedToken read_added_token(const JsonView& view);
// The entries of added_tokens_decoder in tokenizer_config.json, {"id": {"content": ...}}, by id.
std::vector<std::pair<int32_t, JsonView>> added_tokens_decoder(const JsonView& config);

// Components of tokenizer.json. `file` is the whole file; a component that is absent or null gives
// the empty result.
NormalizerStages read_normalizer(const JsonView& file);
struct SplitterParts {
  SplitStages stages;
  bool bytes_last = false;  // a last stage, map_bytes(), was left out
};
SplitterParts read_splitter(const JsonView& file);
std::optional<DecoderStages> read_decoder(const JsonView& file);
NormalizerOptions read_bert_normalizer(const JsonView& view);
struct ProcessorParts {
  Template pattern;
  std::vector<bool> trims;
};
ProcessorParts read_processor(const JsonView& file, size_t vocabulary_size);
// Puts both texts of a pair into segment 0 where the configuration's model_input_names, or else its
// class, have no token_type_ids, so that transformers gives a model none.
void settle_segments(const JsonView& config, Template& pattern);

// A model and its vocabulary. `bytes`: words are to be bytes if the model can; it says so in the
// result.
struct ModelParts {
  Vocabulary vocabulary;
  int64_t count = 0;  // what the library calls the size of the vocabulary
  int32_t unk = -1;
  bool bytes = false;
  std::string word_mark;  // GeneralParts::word_mark
  std::unique_ptr<WordModel> model;
  WordPieceOptions wordpiece;  // when it is one
};
// The type of the file's model. Older files do not state it, and the keys that it has say it.
std::string model_type(const JsonView& file);
ModelParts read_model(const JsonView& file, bool bytes);

// The tokenizer that `content`, laid out like tokenizer.json, describes. `config` is
// tokenizer_config.json; it names the special tokens. `where` is the file to name in errors.
// `more`: tokens to add behind those of the file; a warning tells where one gets another id than it
// states.
std::unique_ptr<Tokenizer> build_tokenizer(const nlohmann::json& content,
                                           const nlohmann::json& config, const std::string& where,
                                           const std::string& config_where,
                                           std::vector<AddedToken> more = {});

// Whether the model of a tokenizer.json is n-grams of words, and the tokenizer that it then is.
inline constexpr int64_t longest_ngram = 8;  // words
bool is_ngrams(const nlohmann::json& content);
std::unique_ptr<Tokenizer> read_ngrams(const nlohmann::json& content, const std::string& where);

// Other files as tokenizer.json would say it.
nlohmann::json convert_vocab_and_merges(const std::filesystem::path& folder,
                                        const JsonView& config);
nlohmann::json convert_sentencepiece(const std::filesystem::path& file, const JsonView& config);
// The same for the bytes of the file.
nlohmann::json convert_sentencepiece(std::string_view bytes, const std::filesystem::path& file,
                                     const JsonView& config);

// vocab.txt; `config` gives the options. Throws Error{model} naming the file, and Error{disk} when
// it cannot be read.
std::unique_ptr<Tokenizer> read_vocab_txt(const std::filesystem::path& path,
                                          const JsonView& config);

inline constexpr uint64_t file_limit = uint64_t{64} << 20;
// Components inside components.
inline constexpr int deepest_sequence = 16;

}  // namespace compress::text
