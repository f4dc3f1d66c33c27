#pragma once
// A tokenizer as the files of a Hugging Face folder.

#include <filesystem>
#include <string>

namespace compress::text {

struct TokenizerFiles {
  std::string tokenizer_json, tokenizer_config_json;
};

// Writes both files into `folder`, which is made when it is not there. Throws Error{disk}.
void write_tokenizer(const TokenizerFiles& files, const std::filesystem::path& folder);

}  // namespace compress::text
