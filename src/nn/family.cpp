#include <algorithm>
#include <cmath>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/nn/architecture.h"
#include "families/families.h"

namespace compress::nn {

namespace {

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorKind::model, "config.json: " + what);
}

// A key that is there and not null.
const Json* present(const Json& json, const char* key) {
  auto it = json.find(key);
  return it == json.end() || it->is_null() ? nullptr : &*it;
}

constexpr int64_t largest_size = int64_t{1} << 31;

void read_field(const ConfigKey& key, int64_t& field, const Json* value) {
  const bool size = std::holds_alternative<std::monostate>(key.fallback);
  if (value == nullptr && size)
    throw Error(ErrorKind::model, str("config.json has no number '", key.name, "'"));
  if (value == nullptr) {
    field = std::get<int64_t>(key.fallback);
    return;
  }
  if (!value->is_number_integer()) refuse(str("'", key.name, "' must be a whole number"));
  field = value->get<int64_t>();
  if ((size && field <= 0) || field < -1 || field > largest_size)
    refuse(str(key.name, " of ", field, " is out of range"));
}

void read_field(const ConfigKey& key, double& field, const Json* value) {
  if (value != nullptr && !value->is_number()) refuse(str("'", key.name, "' must be a number"));
  field = value != nullptr ? value->get<double>() : std::get<double>(key.fallback);
  if (!std::isfinite(field)) refuse(str("'", key.name, "' is not finite"));
}

void read_field(const ConfigKey& key, bool& field, const Json* value) {
  if (value != nullptr && !value->is_boolean())
    refuse(str("'", key.name, "' must be true or false"));
  field = value != nullptr ? value->get<bool>() : std::get<bool>(key.fallback);
}

void read_field(const ConfigKey& key, std::string& field, const Json* value) {
  if (value != nullptr && !value->is_string()) refuse(str("'", key.name, "' must be a text"));
  field = value != nullptr ? value->get<std::string>() : std::get<const char*>(key.fallback);
}

// Class names in order of their ids.
std::vector<std::string> labels_of(const Json& json) {
  const Json* names = present(json, "id2label");
  if (names == nullptr || !names->is_object()) {
    const Json* count = present(json, "num_labels");
    const int64_t n = count != nullptr && count->is_number_integer() ? count->get<int64_t>() : 2;
    if (n < 1 || n > 1'000'000) refuse(str("num_labels of ", n, " is out of range"));
    std::vector<std::string> labels;
    for (int64_t i = 0; i < n; ++i) labels.push_back(str("LABEL_", i));
    return labels;
  }
  std::vector<std::string> labels(names->size());
  for (const auto& [id, name] : names->items()) {
    size_t index = 0;
    bool digits =
        !id.empty() && id.size() < 8 && id.find_first_not_of("0123456789") == std::string::npos;
    if (digits) index = std::stoul(id);
    if (!digits || index >= labels.size() || !name.is_string())
      refuse("id2label must map 0 .. n-1 to names");
    labels[index] = name.get<std::string>();
  }
  return labels;
}

HeadKind head_of(const Family& family, const Json& json) {
  auto it = json.find("architectures");
  if (it == json.end() || !it->is_array() || it->empty() || !it->front().is_string())
    return HeadKind::none;
  const auto name = it->front().get<std::string>();
  for (const HeadClass& entry : family.classes) {
    if (name != entry.name) continue;
    if (entry.head != HeadKind::classification) return entry.head;
    const Json* problem = present(json, "problem_type");
    return (problem != nullptr && *problem == "regression") || labels_of(json).size() == 1
               ? HeadKind::regression
               : HeadKind::classification;
  }
  return HeadKind::none;
}

int64_t token_id(const Json& json, const char* key) {
  const Json* value = present(json, key);
  if (value == nullptr) return -1;
  if (value->is_array() && value->size() == 1) value = &value->front();
  if (!value->is_number_integer()) refuse(str("'", key, "' must be a token's number"));
  return value->get<int64_t>();
}

void read_tokens(ModelConfig& config, const Json& json) {
  config.bos_token_id = token_id(json, "bos_token_id");
  config.decoder_start_token_id = token_id(json, "decoder_start_token_id");
  config.forced_bos_token_id = token_id(json, "forced_bos_token_id");
  const Json* end = present(json, "eos_token_id");
  if (end == nullptr) return;
  if (end->is_number_integer()) config.eos_token_ids = {end->get<int64_t>()};
  if (!end->is_array()) return;
  for (const Json& id : *end) {
    if (!id.is_number_integer()) refuse("'eos_token_id' must be numbers of tokens");
    config.eos_token_ids.push_back(id.get<int64_t>());
  }
}

}  // namespace

void complete(ModelConfig& config) {
  if (config.kv_heads == 0) config.kv_heads = config.attention_heads;
  if (config.embedding_size == 0) config.embedding_size = config.hidden_size;
  if (config.attention_heads > 0 && config.head_width == 0) {
    if (config.hidden_size % config.attention_heads != 0)
      refuse(str("hidden_size ", config.hidden_size, " does not divide by ", config.attention_heads,
                 " attention heads"));
    config.head_width = config.hidden_size / config.attention_heads;
  }
  if (config.kv_heads > 0 && config.attention_heads % config.kv_heads != 0)
    refuse(str(config.attention_heads, " attention heads do not divide by ", config.kv_heads,
               " heads of keys and values"));
}

namespace {

Json field_json(const ModelConfig& config, const ConfigKey::Field& field) {
  return std::visit([&](auto member) { return Json(config.*member); }, field);
}

bool begins_with_any(const std::string& name, const std::vector<std::string>& prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(),
                     [&](const std::string& prefix) { return starts_with(name, prefix); });
}

bool matches_any(const std::string& name, const std::vector<std::string>& globs) {
  return std::any_of(globs.begin(), globs.end(),
                     [&](const std::string& glob) { return glob_match(glob, name); });
}

const char* class_prefix(const Family& family, HeadKind head) {
  if (head == HeadKind::regression) head = HeadKind::classification;
  for (const HeadClass& entry : family.classes)
    if (entry.head == head) return entry.prefix;
  return nullptr;
}

}  // namespace

ModelConfig Family::read_config(const Json& json) const {
  ModelConfig config;
  config.family = model_type;
  config.raw = json;
  for (const ConfigKey& key : keys)
    std::visit([&](auto member) { read_field(key, config.*member, present(json, key.name)); },
               key.field);
  read_tokens(config, json);
  config.head = head_of(*this, json);
  if (has_labels(config.head)) config.labels = labels_of(json);
  if (finish != nullptr) finish(config, json);
  complete(config);
  return config;
}

Json Family::write_config(const ModelConfig& config) const {
  Json json = config.raw.is_object() ? config.raw : Json::object();
  for (const HeadClass& entry : classes) {
    const HeadKind head = config.head == HeadKind::regression  ? HeadKind::classification
                          : config.head == HeadKind::embedding ? HeadKind::none
                                                               : config.head;
    if (entry.head != head && entry.head != config.head) continue;
    json["architectures"] = Json::array({entry.name});
    if (entry.head == config.head) break;
  }
  json["model_type"] = model_type;
  for (const ConfigKey& key : keys)
    if (present(json, key.name) != nullptr || std::holds_alternative<std::monostate>(key.fallback))
      json[key.name] = field_json(config, key.field);
  const ModelConfig said = read_config(json);
  for (const ConfigKey& key : keys) {
    Json value = field_json(config, key.field);
    if (field_json(said, key.field) != value) json[key.name] = std::move(value);
  }
  if (write != nullptr) write(config, json);
  json["dtype"] = "float32";
  json.erase("torch_dtype");
  json.erase("quantization_config");
  for (const char* key : {"id2label", "label2id", "problem_type", "num_labels"}) json.erase(key);
  if (config.labels.empty()) return json;
  Json names = Json::object(), ids = Json::object();
  for (size_t i = 0; i < config.labels.size(); ++i)
    names[std::to_string(i)] = config.labels[i], ids[config.labels[i]] = i;
  json["id2label"] = names;
  json["label2id"] = ids;
  if (config.head == HeadKind::regression) json["problem_type"] = "regression";
  if (config.head == HeadKind::classification) json["problem_type"] = "single_label_classification";
  return json;
}

std::string Family::file_name(const std::string& canonical, HeadKind head) const {
  const bool bare = head == HeadKind::none || head == HeadKind::embedding ||
                    begins_with_any(canonical, head_tensors);
  if (bare) return canonical;
  const char* own = class_prefix(*this, head);
  return (own != nullptr ? own : prefix) + canonical;
}

std::string Family::canonical_name(std::string name) const {
  std::vector<std::string> accepted = also_prefixes;
  if (!prefix.empty()) accepted.push_back(prefix);
  for (const std::string& front : accepted)
    if (starts_with(name, front)) {
      name.erase(0, front.size());
      break;
    }
  // The names of TensorFlow's layer norm, in files from before 2019.
  for (auto [old, now] : {std::pair{".gamma", ".weight"}, std::pair{".beta", ".bias"}})
    if (ends_with(name, std::string("LayerNorm") + old))
      name.replace(name.size() - std::string(old).size(), std::string::npos, now);
  return name;
}

bool Family::is_ignored(const std::string& canonical) const {
  return matches_any(canonical, ignored);
}

bool Family::is_head(const std::string& canonical) const {
  return begins_with_any(canonical, head_tensors) || begins_with_any(canonical, optional_tensors);
}

bool Family::is_transposed(const std::string& canonical) const {
  return matches_any(canonical, transposed);
}

std::vector<HeadKind> Family::heads() const {
  std::vector<HeadKind> kinds;
  for (const HeadClass& entry : classes)
    if (std::find(kinds.begin(), kinds.end(), entry.head) == kinds.end())
      kinds.push_back(entry.head);
  return kinds;
}

const std::vector<Family>& families() {
  static const std::vector<Family> list = all_families();
  return list;
}

const Family& family(const std::string& model_type) {
  std::vector<std::string> names;
  for (const Family& entry : families()) {
    if (entry.model_type == model_type) return entry;
    names.push_back(entry.model_type);
  }
  throw Error(ErrorKind::model, "model type '" + model_type + "' is not supported", {},
              "supported: " + join(names, ", "));
}

Architecture architecture(const ModelConfig& config) {
  return family(config.family).architecture(config);
}

std::optional<int64_t> learned_places(const ModelConfig& config) {
  const Architecture plan = architecture(config);
  if (plan.positions != Positions::learned) return {};
  return plan.position_rows - plan.position_offset;
}

int64_t longest_row(const ModelConfig& config) {
  if (const std::optional<int64_t> places = learned_places(config)) return *places;
  return config.max_positions > 0 ? config.max_positions : int64_t{1} << 20;
}

}  // namespace compress::nn
