// vocab.txt with tokenizer_config.json, as BertTokenizer of `transformers` reads them.

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <limits>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/strings.h"
#include "load.h"
#include "unicode.h"

namespace compress::text {
namespace {

using nlohmann::json;
using Ids = std::unordered_map<std::string, int32_t>;

// One token a line, the line's number (from 0) its id.
Ids read_lines(const std::filesystem::path& path, WordPieceParts& parts) {
  std::string bytes = read_file(path, kFileLimit);
  std::string_view rest = bytes;
  Ids ids;
  while (!rest.empty()) {
    size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    auto fail = [&](const std::string& what) {
      throw Error(ErrorKind::model, what, str(path.string(), ":", ids.size() + 1));
    };
    if (!valid_utf8(line)) fail("the token is not UTF-8");
    auto [entry, fresh] = ids.emplace(line, static_cast<int32_t>(ids.size()));
    if (!fresh) fail(str("token '", line, "' is also in line ", entry->second + 1));
    parts.vocabulary.emplace_back(line);
  }
  if (ids.empty()) throw Error(ErrorKind::model, "the vocabulary is empty", path.string());
  return ids;
}

// Tokens that a later version of the model's makers added, {"id": {"content": ...}}, by id.
void read_added_decoder(const JsonView& config, Ids& ids, WordPieceParts& parts) {
  if (!config.has("added_tokens_decoder")) return;
  JsonView view = config.at("added_tokens_decoder");
  if (!view.value().is_object()) view.fail("an object of id to token is expected here");
  std::vector<std::pair<int32_t, std::string>> order;
  for (const auto& [key, unused] : view.value().items()) {
    int32_t id = -1;
    auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0)
      view.fail(str("'", key, "' is not an id"));
    order.emplace_back(id, key);
  }
  std::sort(order.begin(), order.end());
  for (const auto& [id, key] : order) {
    JsonView item = view.at(key);
    AddedToken token;
    token.content = item.string("content");
    token.special = item.boolean("special", false);
    token.single_word = item.boolean("single_word", false);
    token.lstrip = item.boolean("lstrip", false);
    token.rstrip = item.boolean("rstrip", false);
    token.normalized = item.boolean("normalized", !token.special);
    add_token(parts, ids, token, id, item);
  }
}

// The id of a special token; one that is not in the vocabulary gets the next id.
int32_t add_special(const JsonView& config, const std::string& content, Ids& ids,
                    WordPieceParts& parts) {
  bool added = std::any_of(parts.added.begin(), parts.added.end(),
                           [&](const AddedToken& token) { return token.content == content; });
  if (!added) {
    AddedToken token;
    token.content = content;
    token.special = true;
    token.normalized = false;
    add_token(parts, ids, token, -1, config);
  }
  return ids.at(content);
}

void read_special(const JsonView& config, const std::filesystem::path& path, Ids& ids,
                  WordPieceParts& parts) {
  const size_t words = parts.vocabulary.size();
  auto role = [&](const char* key, const char* usual, bool required) {
    std::string name = special_token_name(config, key, usual);
    int32_t id = add_special(config, name, ids, parts);
    if (required && id >= static_cast<int32_t>(words))
      throw Error(ErrorKind::model, str("the ", key, " '", name, "' is not in the vocabulary"),
                  path.string());
    return id;
  };
  parts.special.unk = role("unk_token", "[UNK]", true);
  parts.special.sep = role("sep_token", "[SEP]", true);
  parts.special.pad = role("pad_token", "[PAD]", false);
  parts.special.cls = role("cls_token", "[CLS]", true);
  parts.special.mask = role("mask_token", "[MASK]", false);
  for (const char* key : {"additional_special_tokens", "extra_special_tokens"}) {
    if (!config.has(key)) continue;
    const json& list = config.value()[key];
    if (list.is_object() && list.empty()) continue;
    if (!list.is_array()) config.fail("an array of tokens is expected here", key);
    for (const json& item : list) {
      json wrapped = {{"token", item}};
      std::string name = special_token_name(JsonView(wrapped, config.path(), key), "token", "");
      add_special(config, name, ids, parts);
    }
  }
}

}  // namespace

WordPieceParts read_vocab_txt(const std::filesystem::path& path) {
  WordPieceParts parts;
  Ids ids = read_lines(path, parts);
  std::filesystem::path config_path = path.parent_path() / "tokenizer_config.json";
  json content = json::object();
  if (std::filesystem::exists(config_path)) content = parse_json_file(config_path);
  JsonView config(content, config_path.string(), "");

  parts.normalizer.lowercase = config.boolean("do_lower_case", true);
  parts.normalizer.strip_accents = config.boolean("strip_accents", parts.normalizer.lowercase);
  parts.normalizer.handle_chinese_chars = config.boolean("tokenize_chinese_chars", true);
  parts.decoder = WordPieceParts::Decoder{};
  read_added_decoder(config, ids, parts);
  read_special(config, path, ids, parts);
  TemplatePiece cls{TemplatePiece::special, parts.special.cls, 0};
  TemplatePiece sep{TemplatePiece::special, parts.special.sep, 0};
  TemplatePiece end{TemplatePiece::special, parts.special.sep, 1};
  TemplatePiece a{TemplatePiece::first}, b{TemplatePiece::second, -1, 1};
  parts.pattern.single = {cls, a, sep};
  parts.pattern.pair = {cls, a, sep, b, end};
  return parts;
}

}  // namespace compress::text
