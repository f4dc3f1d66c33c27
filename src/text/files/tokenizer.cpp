#include "compress/text/tokenizer.h"

#include <nlohmann/json.hpp>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/text/files.h"
#include "files/folder_config.h"
#include "files/load.h"

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
  auto there = [&](const char* name) {
    std::error_code ignored;
    return std::filesystem::exists(folder / name, ignored);
  };
  const FolderConfig config = read_folder_config(folder);
  auto build = [&](const nlohmann::json& content, const std::filesystem::path& from,
                   std::vector<AddedToken> more) {
    return build_tokenizer(content, config.values, from.string(), config.where, std::move(more));
  };
  if (there("tokenizer.json")) {
    const std::filesystem::path path = folder / "tokenizer.json";
    nlohmann::json content = parse_json_file(path);
    if (is_ngrams(content)) return read_ngrams(content, path.string());
    std::vector<AddedToken> more = settle(content, path.string(), config);
    return build(content, path, std::move(more));
  }
  if (there("vocab.txt")) return read_vocab_txt(folder / "vocab.txt", config.view());
  if (there("vocab.json") && there("merges.txt"))
    return build(convert_vocab_and_merges(folder, config.view()), folder / "vocab.json", {});
  for (const char* name : {"spiece.model", "sentencepiece.bpe.model", "tokenizer.model"})
    if (there(name))
      return build(convert_sentencepiece(folder / name, config.view()), folder / name, {});
  throw Error(ErrorKind::model,
              "the folder has neither tokenizer.json nor vocab.txt, nor vocab.json with "
              "merges.txt, nor a SentencePiece model",
              folder.string(), "give the folder of a model with its tokenizer files");
}

}  // namespace compress::text
