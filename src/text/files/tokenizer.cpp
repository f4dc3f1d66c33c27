#include "compress/text/tokenizer.h"

#include <nlohmann/json.hpp>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/log.h"
#include "compress/base/strings.h"
#include "compress/text/files.h"
#include "files/folder_config.h"
#include "files/load.h"

namespace compress::text {

namespace {

// Texts that are too long are cut at their end. A folder that asks for their front to be cut off is
// told so, since its model then reads other tokens than it would elsewhere.
void tell_cuts(const nlohmann::json& config, const std::string& config_where,
               const nlohmann::json& content, const std::string& where) {
  std::string said;
  if (auto side = config.find("truncation_side"); side != config.end() && !side->is_null()) {
    if (*side == "left") said = config_where + " says truncation_side \"left\"";
  } else if (auto cut = content.find("truncation"); cut != content.end() && cut->is_object()) {
    if (cut->value("direction", nlohmann::json()) == "Left")
      said = where + " says truncation direction \"Left\"";
  }
  if (!said.empty()) log::warn(said + ": not done here, texts are cut at their end");
}

}  // namespace

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
  if (config.view().boolean("split_special_tokens", false))
    log::warn(config.where +
              " says split_special_tokens true, which is not followed: a special token that "
              "stands in a text is that token");
  auto build = [&](const nlohmann::json& content, const std::filesystem::path& from,
                   std::vector<AddedToken> more) {
    tell_cuts(config.values, config.where, content, from.string());
    return build_tokenizer(content, config.values, from.string(), config.where, std::move(more));
  };
  if (there("tokenizer.json")) {
    const std::filesystem::path path = folder / "tokenizer.json";
    nlohmann::json content = parse_json_file(path);
    if (is_ngrams(content)) return read_ngrams(content, path.string());
    std::vector<AddedToken> more = settle(content, path.string(), config);
    return build(content, path, std::move(more));
  }
  if (there("vocab.txt")) {
    tell_cuts(config.values, config.where, nlohmann::json::object(), "");
    return read_vocab_txt(folder / "vocab.txt", config.view());
  }
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
