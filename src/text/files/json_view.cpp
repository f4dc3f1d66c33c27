#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/library_message.h"
#include "compress/base/lines.h"
#include "compress/base/stand_in.h"
#include "compress/base/strings.h"
#include "files/load.h"

namespace compress::text {

using nlohmann::json;

JsonView::JsonView(const json& value, std::string where, std::string path)
    : value_(value), where_(std::move(where)), path_(std::move(path)) {}

std::string JsonView::path(const std::string& key) const {
  if (path_.empty()) return key;
  return key.empty() ? path_ : path_ + "." + key;
}

void JsonView::fail(const std::string& what, const std::string& key,
                    const std::string& hint) const {
  std::string place = path(key);
  throw Error(ErrorKind::model, what, place.empty() ? where_ : str(where_, " (", place, ")"), hint);
}

void JsonView::unsupported(const std::string& component, const std::string& supported) const {
  fail(str(component, " '", string("type"), "' is not supported"), "type",
       str("supported here: ", supported));
}

bool JsonView::has(const std::string& key) const {
  if (!value_.is_object()) fail("an object is expected here");
  auto found = value_.find(key);
  return found != value_.end() && !found->is_null();
}

JsonView JsonView::at(const std::string& key) const {
  if (!has(key) || !value_[key].is_structured()) fail("an object or array is missing", key);
  return {value_[key], where_, path(key)};
}

std::string JsonView::string(const std::string& key) const {
  if (!has(key) || !value_[key].is_string()) fail("a string is expected here", key);
  return value_[key].get<std::string>();
}

bool JsonView::boolean(const std::string& key, bool absent) const {
  if (!has(key)) return absent;
  if (!value_[key].is_boolean()) fail("true or false is expected here", key);
  return value_[key].get<bool>();
}

int64_t JsonView::integer(const std::string& key, int64_t lowest, int64_t highest) const {
  bool good = has(key) && value_[key].is_number_integer();
  if (good && value_[key].is_number_unsigned())
    good = value_[key].get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX);
  int64_t number = good ? value_[key].get<int64_t>() : 0;
  if (!good || number < lowest || number > highest)
    fail(str("a whole number from ", lowest, " to ", highest, " is expected here"), key);
  return number;
}

std::vector<JsonView> JsonView::items() const {
  if (!value_.is_array()) fail("an array is expected here");
  std::vector<JsonView> views;
  for (size_t i = 0; i < value_.size(); ++i) {
    views.emplace_back(value_[i], where_, str(path_, "[", i, "]"));
    if (!value_[i].is_object()) views.back().fail("an object is expected here");
  }
  return views;
}

std::string read_text(const std::filesystem::path& path) {
  std::string bytes = read_file(path, file_limit);
  if (const FileKind kind = not_text(bytes))
    throw Error(ErrorKind::model, str("the file is ", kind.what), path.string(), kind.remedy);
  if (const std::string what = stand_in(bytes); !what.empty())
    throw Error(ErrorKind::model, "the file is " + what, path.string(), fetch_again);
  return bytes;
}

json parse_json_file(const std::filesystem::path& path) {
  const std::string bytes = read_text(path);
  try {
    json value = json::parse(bytes);
    if (!value.is_object())
      throw Error(ErrorKind::model, "the file does not hold a JSON object", path.string());
    return value;
  } catch (const json::exception& e) {
    throw Error(ErrorKind::model, str("the file is not valid JSON: ", library_message(e.what())),
                path.string());
  }
}

json parse_json_file_if_there(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored) ? parse_json_file(path) : json::object();
}

std::string special_token_name(const JsonView& config, const std::string& key,
                               const std::string& absent) {
  if (!config.has(key)) return absent;
  if (config.value()[key].is_object()) return config.at(key).string("content");
  return config.string(key);
}

std::string tokenizer_class(const JsonView& config) {
  if (!config.has("tokenizer_class")) return {};
  std::string name = config.string("tokenizer_class");
  for (const char* ending : {"Fast", "Tokenizer"})
    if (name.ends_with(ending)) name.resize(name.size() - std::string_view(ending).size());
  return name;
}

AddedToken read_special_token(const JsonView& config, const std::string& key,
                              const std::string& absent) {
  AddedToken token;
  token.content = special_token_name(config, key, absent);
  token.normalized = false;
  if (config.has(key) && config.value()[key].is_object()) {
    token = read_added_token(config.at(key));
    if (!config.at(key).has("special"))
      token.normalized = config.at(key).boolean("normalized", true);
  }
  token.special = true;
  return token;
}

std::vector<AddedToken> listed_special_tokens(const JsonView& config) {
  std::vector<AddedToken> tokens;
  for (const char* key : {"additional_special_tokens", "extra_special_tokens"}) {
    if (!config.has(key)) continue;
    const json& list = config.value()[key];
    if (!list.is_array() && !list.is_object())  // {"image_token": "<image>"}
      config.fail("an array of tokens, or an object with them, is expected here", key);
    for (const json& item : list) {
      const json wrapped = {{"token", item}};
      tokens.push_back(
          read_special_token(JsonView(wrapped, config.where(), config.path(key)), "token", ""));
    }
  }
  return tokens;
}

KnownTokens::KnownTokens(const std::vector<std::string>& vocabulary, int64_t count) : next_(count) {
  for (size_t id = 0; id < vocabulary.size(); ++id)
    if (!vocabulary[id].empty()) ids_[vocabulary[id]] = static_cast<int32_t>(id);
}

int32_t KnownTokens::find(const std::string& token) const {
  auto found = ids_.find(token);
  return found == ids_.end() ? -1 : found->second;
}

void KnownTokens::add(AddedToken token, int64_t stated, const JsonView& place) {
  if (token.content.empty()) place.fail("an added token has no content");
  if (!contents_.insert(token.content).second)
    place.fail(str("token '", token.content, "' is added twice"));
  auto [entry, fresh] = ids_.emplace(token.content, static_cast<int32_t>(next_));
  if (fresh) ++next_;
  token.id = entry->second;
  if (stated >= 0 && stated != token.id)
    place.fail(str("added token '", token.content, "' says id ", stated, " but has id ", token.id,
                   fresh ? ", the next free one" : " in the vocabulary"));
  added.push_back(std::move(token));
}

AddedToken read_added_token(const JsonView& view) {
  AddedToken token;
  token.content = view.string("content");
  token.special = view.boolean("special", false);
  token.single_word = view.boolean("single_word", false);
  token.lstrip = view.boolean("lstrip", false);
  token.rstrip = view.boolean("rstrip", false);
  token.normalized = view.boolean("normalized", !token.special);
  return token;
}

std::vector<std::pair<int32_t, JsonView>> added_tokens_decoder(const JsonView& config) {
  if (!config.has("added_tokens_decoder")) return {};
  const JsonView view = config.at("added_tokens_decoder");
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
  std::vector<std::pair<int32_t, JsonView>> entries;
  for (const auto& [id, key] : order) entries.emplace_back(id, view.at(key));
  return entries;
}

}  // namespace compress::text
