#include "files/folder_config.h"

#include <algorithm>
#include <set>

#include "compress/base/log.h"
#include "compress/base/strings.h"

namespace compress::text {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr const char* roles[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                 "pad_token", "cls_token", "mask_token"};
constexpr const char* lists[] = {"additional_special_tokens", "extra_special_tokens"};

std::set<std::string> special_names(const json& config) {
  std::set<std::string> names;
  for (const char* role : roles)
    if (config.contains(role)) names.insert(token_text(config[role]));
  for (const char* list : lists)
    if (config.contains(list) && config[list].is_array())
      for (const json& token : config[list]) names.insert(token_text(token));
  return names;
}

// Whether `token` stands among the entries of added_tokens_decoder.
bool has_entry(const json& decoder, const std::string& token) {
  return decoder.is_object() && std::any_of(decoder.begin(), decoder.end(), [&](const json& entry) {
           return token_text(entry) == token;
         });
}

// What the two older files alone say, beside a configuration that makes transformers leave them
// aside.
void warn_of_unread(const json& config, const json& added, const json& map,
                    const fs::path& folder) {
  const std::string file = (folder / "tokenizer_config.json").string();
  for (const auto& [token, id] : added.items())
    if (!has_entry(config["added_tokens_decoder"], token))
      log::warn(str((folder / "added_tokens.json").string(), " has the token '", token,
                    "' with id ", id.dump(), " and added_tokens_decoder of ", file,
                    " has not: the latter counts, as in transformers"));
  for (const char* role : roles) {
    if (!map.contains(role)) continue;
    const std::string theirs = token_text(map[role]);
    const std::string ours = config.contains(role) ? token_text(config[role]) : std::string();
    if (theirs != ours)
      log::warn(str((folder / "special_tokens_map.json").string(), " says ", role, " '", theirs,
                    "' and ", file, " says ", ours.empty() ? "nothing" : str("'", ours, "'"),
                    ": the latter counts, as in transformers"));
  }
}

void merge_map(json& config, const json& map) {
  for (const auto& [key, value] : map.items()) {
    if (value.is_null()) continue;
    json& here = config[key];
    if (key == "extra_special_tokens" && here.is_array() && value.is_array()) {
      for (const json& token : value)
        if (std::find(here.begin(), here.end(), token) == here.end()) here.push_back(token);
      continue;
    }
    here = value;
  }
}

json decoder_of(const json& added, const json& config, const std::string& where) {
  const JsonView view(added, where, "");
  const std::set<std::string> special = special_names(config);
  json decoder = json::object();
  for (const auto& [token, unused] : added.items()) {
    const std::string id = std::to_string(view.integer(token, 0, INT32_MAX));
    if (decoder.contains(id))
      view.fail(str("tokens '", token_text(decoder[id]), "' and '", token, "' both have id ", id));
    decoder[id] = {{"content", token}, {"special", special.contains(token)}};
  }
  return decoder;
}

}  // namespace

std::string token_text(const json& token) {
  const json* text = &token;
  if (token.is_object()) {
    const auto found = token.find("content");
    if (found == token.end()) return {};
    text = &*found;
  }
  return text->is_string() ? text->get<std::string>() : std::string();
}

FolderConfig read_folder_config(const fs::path& folder) {
  FolderConfig config;
  config.where = (folder / "tokenizer_config.json").string();
  config.values = parse_json_file_if_there(folder / "tokenizer_config.json");
  const fs::path added_path = folder / "added_tokens.json";
  const fs::path map_path = folder / "special_tokens_map.json";
  const json added = parse_json_file_if_there(added_path);
  const json map = parse_json_file_if_there(map_path);
  if (config.values.contains("added_tokens_decoder")) {
    warn_of_unread(config.values, added, map, folder);
    return config;
  }
  merge_map(config.values, map);
  if (!added.empty())
    config.values["added_tokens_decoder"] = decoder_of(added, config.values, added_path.string());
  if (!map.empty()) config.where += ", " + map_path.filename().string();
  if (!added.empty()) config.where += ", " + added_path.filename().string();
  return config;
}

}  // namespace compress::text
