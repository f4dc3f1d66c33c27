#pragma once
// Tokenizer files to WordPieceParts. Files are hostile: everything is checked here.

#include <filesystem>

#include <nlohmann/json_fwd.hpp>

#include "wordpiece.h"

namespace compress::text {

// Both throw Error{model} naming the file, and Error{disk} when it cannot be read.
WordPieceParts read_tokenizer_json(const std::filesystem::path& path);
// `tokenizer_config.json` beside `path` gives the options, when it is there.
WordPieceParts read_vocab_txt(const std::filesystem::path& path);

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
  std::string path(const std::string& key = {}) const;
  std::vector<JsonView> items() const;  // of an array of objects
  [[noreturn]] void fail(const std::string& what, const std::string& key = {},
                         const std::string& hint = {}) const;

 private:
  const nlohmann::json& value_;
  std::string where_, path_;
};

// Parses a file of at most 64 MiB; it must hold an object. Throws Error{model}.
nlohmann::json parse_json_file(const std::filesystem::path& path);

// The name of a special token in tokenizer_config.json: a string or {"content": ...}; `absent` when
// it is missing or null.
std::string special_token_name(const JsonView& config, const std::string& key,
                               const std::string& absent);

// Gives `token` the id that the library would: that of the vocabulary, or the next free one.
// `known` holds the ids of all tokens so far and gets the new one. `stated` is the file's id, -1
// for none; another one than the library's is an error, as is a token that was added before.
void add_token(WordPieceParts& parts, std::unordered_map<std::string, int32_t>& known,
               AddedToken token, int64_t stated, const JsonView& place);

inline constexpr uint64_t kFileLimit = uint64_t{64} << 20;

}  // namespace compress::text
