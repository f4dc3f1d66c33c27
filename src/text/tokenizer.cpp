#include "compress/text/tokenizer.h"

#include <nlohmann/json.hpp>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/text/files.h"
#include "load.h"

namespace compress::text {

Encoding Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  Encoding out;
  encode(text, std::nullopt, options, out);
  return out;
}

Encoding Tokenizer::encode(std::string_view text, std::string_view pair,
                           const EncodeOptions& options) const {
  Encoding out;
  encode(text, pair, options, out);
  return out;
}

void write_tokenizer(const TokenizerFiles& files, const std::filesystem::path& folder) {
  make_folder(folder);
  write_file(folder / "tokenizer.json", files.tokenizer_json);
  write_file(folder / "tokenizer_config.json", files.tokenizer_config_json);
}

std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& folder) {
  const std::filesystem::path config_path = folder / "tokenizer_config.json";
  auto there = [&](const char* name) {
    std::error_code ignored;
    return std::filesystem::exists(folder / name, ignored);
  };
  auto build = [&](const nlohmann::json& content, const nlohmann::json& config,
                   const std::filesystem::path& from) {
    return build_tokenizer(content, config, from.string(), config_path.string());
  };
  if (there("tokenizer.json")) {
    const std::filesystem::path path = folder / "tokenizer.json";
    return build(parse_json_file(path), parse_json_file_if_there(config_path), path);
  }
  if (there("vocab.txt")) return read_vocab_txt(folder / "vocab.txt");
  if (there("vocab.json") && there("merges.txt")) {
    const nlohmann::json config = parse_json_file_if_there(config_path);
    return build(convert_vocab_and_merges(folder, config), config, folder / "vocab.json");
  }
  for (const char* name : {"spiece.model", "sentencepiece.bpe.model", "tokenizer.model"}) {
    if (!there(name)) continue;
    const nlohmann::json config = parse_json_file_if_there(config_path);
    return build(convert_sentencepiece(folder / name, config), config, folder / name);
  }
  throw Error(ErrorKind::model,
              "the folder has neither tokenizer.json nor vocab.txt, nor vocab.json with "
              "merges.txt, nor a SentencePiece model",
              folder.string(), "give the folder of a model with its tokenizer files");
}

}  // namespace compress::text
