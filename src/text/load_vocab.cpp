// vocab.txt with tokenizer_config.json, as BertTokenizer of `transformers` reads them.

#include <nlohmann/json.hpp>

#include <algorithm>
#include <limits>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/strings.h"
#include "load.h"
#include "unicode.h"

namespace compress::text {
namespace {

using nlohmann::json;

// One token a line, the line's number (from 0) its id.
std::vector<std::string> read_lines(const std::filesystem::path& path) {
  std::string bytes = read_file(path, kFileLimit);
  std::string_view rest = bytes;
  std::vector<std::string> out;
  std::unordered_map<std::string, size_t> seen;
  while (!rest.empty()) {
    size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    auto fail = [&](const std::string& what) {
      throw Error(ErrorKind::model, what, str(path.string(), ":", out.size() + 1));
    };
    if (!valid_utf8(line)) fail("the token is not UTF-8");
    auto [entry, fresh] = seen.emplace(line, out.size());
    if (!fresh) fail(str("token '", line, "' is also in line ", entry->second + 1));
    out.emplace_back(line);
  }
  if (out.empty()) throw Error(ErrorKind::model, "the vocabulary is empty", path.string());
  return out;
}

// Tokens that a later version of the model's makers added, {"id": {"content": ...}}, by id.
void read_added_decoder(const JsonView& config, KnownTokens& known) {
  for (const auto& [id, item] : added_tokens_decoder(config))
    known.add(read_added_token(item), id, item);
}

// The id of a special token; one that is not in the vocabulary gets the next id.
int32_t add_special(const JsonView& config, const std::string& content, KnownTokens& known) {
  bool added = std::any_of(known.added.begin(), known.added.end(),
                           [&](const AddedToken& token) { return token.content == content; });
  if (!added) {
    AddedToken token;
    token.content = content;
    token.special = true;
    token.normalized = false;
    known.add(token, -1, config);
  }
  return known.find(content);
}

SpecialIds read_special(const JsonView& config, const std::filesystem::path& path, size_t words,
                        KnownTokens& known) {
  SpecialIds special;
  auto role = [&](const char* key, const char* usual, bool required) {
    std::string name = special_token_name(config, key, usual);
    int32_t id = add_special(config, name, known);
    if (required && id >= static_cast<int32_t>(words))
      throw Error(ErrorKind::model, str("the ", key, " '", name, "' is not in the vocabulary"),
                  path.string());
    return id;
  };
  special.unk = role("unk_token", "[UNK]", true);
  special.sep = role("sep_token", "[SEP]", true);
  special.pad = role("pad_token", "[PAD]", false);
  special.cls = role("cls_token", "[CLS]", true);
  special.mask = role("mask_token", "[MASK]", false);
  for (const char* key : {"additional_special_tokens", "extra_special_tokens"}) {
    if (!config.has(key)) continue;
    const json& list = config.value()[key];
    if (list.is_object() && list.empty()) continue;
    if (!list.is_array()) config.fail("an array of tokens is expected here", key);
    for (const json& item : list) {
      json wrapped = {{"token", item}};
      std::string name = special_token_name(JsonView(wrapped, config.path(), key), "token", "");
      add_special(config, name, known);
    }
  }
  return special;
}

}  // namespace

std::unique_ptr<Tokenizer> read_vocab_txt(const std::filesystem::path& path) {
  WordPieceParts parts;
  parts.vocabulary = read_lines(path);
  KnownTokens known(parts.vocabulary, static_cast<int64_t>(parts.vocabulary.size()));
  const std::filesystem::path config_path = path.parent_path() / "tokenizer_config.json";
  const json content = parse_json_file_if_there(config_path);
  JsonView config(content, config_path.string(), "");

  parts.normalizer.lowercase = config.boolean("do_lower_case", true);
  parts.normalizer.strip_accents = config.boolean("strip_accents", parts.normalizer.lowercase);
  parts.normalizer.handle_chinese_chars = config.boolean("tokenize_chinese_chars", true);
  parts.decoder = WordPieceParts::Decoder{};
  read_added_decoder(config, known);
  parts.special = read_special(config, path, parts.vocabulary.size(), known);
  parts.added = std::move(known.added);
  TemplatePiece cls{TemplatePiece::special, parts.special.cls, 0};
  TemplatePiece sep{TemplatePiece::special, parts.special.sep, 0};
  TemplatePiece end{TemplatePiece::special, parts.special.sep, 1};
  TemplatePiece a{TemplatePiece::first}, b{TemplatePiece::second, -1, 1};
  parts.pattern.single = {cls, a, sep};
  parts.pattern.pair = {cls, a, sep, b, end};
  return std::make_unique<WordPiece>(std::move(parts), path.string());
}

}  // namespace compress::text
