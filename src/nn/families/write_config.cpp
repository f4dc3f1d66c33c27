// config.json of a model, written: what was read of another keeps its keys where they say the same.

#include <algorithm>

#include "compress/nn/architecture.h"
#include "families/json.h"

namespace compress::nn {

namespace {

// The class that a model is written as: of its own head, with the further heads that the class has.
const HeadClass* class_for(const Family& family, const ModelConfig& config) {
  const HeadKind shared =
      config.head == HeadKind::embedding ? HeadKind::none : class_of(config.head);
  const HeadClass* best = nullptr;
  auto has_all = [&](const std::vector<HeadSpec>& also) {
    return std::all_of(also.begin(), also.end(), [&](const HeadSpec& spec) {
      const HeadSpec* own = config.find_head(spec.name);
      return own != nullptr && own->module == spec.module;
    });
  };
  for (const HeadClass& entry : family.classes) {
    if ((entry.head != shared && entry.head != config.head) || !has_all(entry.also)) continue;
    const bool nearer =
        best != nullptr && (entry.also.size() > best->also.size() ||
                            (entry.head == config.head && best->head != config.head));
    if (best == nullptr || nearer) best = &entry;
  }
  return best;
}

Json field_json(const ModelConfig& config, const ConfigKey::Field& field) {
  return std::visit([&](auto member) { return Json(config.*member); }, field);
}

}  // namespace

Json Family::write_config(const ModelConfig& config) const {
  Json json = config.raw.is_object() ? config.raw : Json::object();
  for (const ConfigAlias& alias : aliases) json.erase(alias.name);
  if (const HeadClass* entry = class_for(*this, config))
    json["architectures"] = Json::array({entry->name});
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
  for (const ConfigAlias& alias : aliases)
    if (present(config.raw, alias.name) != nullptr) json[alias.name] = json.at(alias.key);
  json["dtype"] = "float32";
  json.erase("torch_dtype");
  json.erase("quantization_config");
  for (const char* key : {"id2label", "label2id", "problem_type", "num_labels"}) json.erase(key);
  if (config.labels.empty()) return json;
  Json names = Json::object(), ids = Json::object();
  for (size_t i = 0; i < config.labels.size(); ++i) {
    names[std::to_string(i)] = config.labels[i];
    ids[config.labels[i]] = i;
  }
  json["id2label"] = names;
  json["label2id"] = ids;
  if (config.head == HeadKind::regression) json["problem_type"] = "regression";
  if (config.head == HeadKind::classification) json["problem_type"] = "single_label_classification";
  if (config.head == HeadKind::multi_label) json["problem_type"] = "multi_label_classification";
  return json;
}

}  // namespace compress::nn
