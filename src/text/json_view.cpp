#include <nlohmann/json.hpp>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/strings.h"
#include "load.h"

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

json parse_json_file(const std::filesystem::path& path) {
  std::string bytes = read_file(path, kFileLimit);
  try {
    json value = json::parse(bytes);
    if (!value.is_object())
      throw Error(ErrorKind::model, "the file does not hold a JSON object", path.string());
    return value;
  } catch (const json::exception& e) {
    throw Error(ErrorKind::model, str("the file is not valid JSON: ", e.what()), path.string());
  }
}

std::string special_token_name(const JsonView& config, const std::string& key,
                               const std::string& absent) {
  if (!config.has(key)) return absent;
  if (config.value()[key].is_object()) return config.at(key).string("content");
  return config.string(key);
}

void add_token(WordPieceParts& parts, std::unordered_map<std::string, int32_t>& known,
               AddedToken token, int64_t stated, const JsonView& place) {
  if (token.content.empty()) place.fail("an added token has no content");
  for (const AddedToken& other : parts.added)
    if (other.content == token.content)
      place.fail(str("token '", token.content, "' is added twice"));
  auto [entry, fresh] = known.emplace(token.content, static_cast<int32_t>(known.size()));
  token.id = entry->second;
  if (stated >= 0 && stated != token.id)
    place.fail(str("added token '", token.content, "' says id ", stated, " but has id ", token.id,
                   fresh ? ", the next free one" : " in the vocabulary"));
  parts.added.push_back(std::move(token));
}

}  // namespace compress::text
