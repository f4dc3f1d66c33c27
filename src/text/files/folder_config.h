#pragma once
// What a folder says of its tokenizer beside the vocabulary.

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "files/load.h"

namespace compress::text {

struct FolderConfig {
  nlohmann::json values;  // laid out like tokenizer_config.json
  std::string where;      // the files that say so

  JsonView view() const { return {values, where, ""}; }
};

// The text of a special token: a string, or an object with `content` and flags; "" for anything
// else.
std::string token_text(const nlohmann::json& token);

// tokenizer_config.json. Where it has no added_tokens_decoder, as before transformers 4.34, the
// tokens of added_tokens.json become one, and what special_tokens_map.json says goes before the
// rest; where it has one, those two files are not read, and a warning names what they alone say.
// Error{model} for files that are malformed.
FolderConfig read_folder_config(const std::filesystem::path& folder);

// Brings a tokenizer.json and the configuration beside it together as transformers does: where the
// class of the configuration builds its parts from it, `content` is changed; where tokenizer.json
// counts, it stays. A warning names each difference with both files and both values. Returns the
// tokens that the configuration adds, `id` as it states or -1.
std::vector<AddedToken> settle(nlohmann::json& content, const std::string& where,
                               const FolderConfig& config);

}  // namespace compress::text
