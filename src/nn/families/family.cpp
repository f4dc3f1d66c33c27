#include <algorithm>
#include <cmath>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/nn/architecture.h"
#include "compress/nn/layers.h"
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
  const bool share = std::string_view(key.name).find("drop") != std::string_view::npos;
  if (value != nullptr && share && !(field >= 0 && field < 1))
    refuse(str(key.name, " of ", field, " is no probability below 1"));
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

// What a model of sequences does with its outputs.
HeadKind problem_of(const Json& json) {
  const Json* problem = present(json, "problem_type");
  const bool one = labels_of(json).size() == 1;
  if (problem == nullptr) return one ? HeadKind::regression : HeadKind::classification;
  if (*problem == "regression") return HeadKind::regression;
  if (*problem == "multi_label_classification") return HeadKind::multi_label;
  if (*problem != "single_label_classification")
    refuse("problem_type " + problem->dump() +
           " is none of regression, single_label_classification, multi_label_classification");
  if (one) refuse("problem_type \"single_label_classification\" needs more than one label");
  return HeadKind::classification;
}

// The name of the model's class; empty where the file has none.
std::string class_name(const Json& json) {
  const Json* names = present(json, "architectures");
  return names != nullptr && names->is_array() && !names->empty() && names->front().is_string()
             ? names->front().get<std::string>()
             : "";
}

void read_heads(ModelConfig& config, const Family& family, const Json& json) {
  const std::string name = class_name(json);
  for (const HeadClass& entry : family.classes) {
    if (name != entry.name) continue;
    config.head = entry.head == HeadKind::classification ? problem_of(json) : entry.head;
    config.more_heads = entry.also;
    return;
  }
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

bool begins_with_any(const std::string& name, const std::vector<std::string>& prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(),
                     [&](const std::string& prefix) { return starts_with(name, prefix); });
}

bool matches_any(const std::string& name, const std::vector<std::string>& globs) {
  return std::any_of(globs.begin(), globs.end(),
                     [&](const std::string& glob) { return glob_match(glob, name); });
}

const char* class_prefix(const Family& family, HeadKind head) {
  for (const HeadClass& entry : family.classes)
    if (entry.head == class_of(head)) return entry.prefix;
  return nullptr;
}

// The keys under their own names.
Json resolved(const Family& family, const Json& json) {
  Json result = json;
  for (const ConfigAlias& alias : family.aliases) {
    const Json* other = present(json, alias.name);
    if (other == nullptr) continue;
    if (const Json* own = present(json, alias.key); own != nullptr && *own != *other)
      refuse(str(alias.name, " ", other->dump(), " and ", alias.key, " ", own->dump(),
                 " are two names of one thing and must agree"));
    result[alias.key] = *other;
  }
  return result;
}

// What no family computes, whatever it is called.
void refuse_unsupported(const Json& json) {
  const Json* heads = present(json, "pruned_heads");
  const bool pruned = heads != nullptr && !std::all_of(heads->begin(), heads->end(),
                                                       [](const Json& one) { return one.empty(); });
  if (pruned)
    throw Error(ErrorKind::model,
                "config.json: pruned_heads " + heads->dump() +
                    " is not supported: all heads of all layers must be there",
                {}, "give the pruned heads back as zeros, or use the model before its pruning");
  for (const char* key : {"per_layer_config", "compression_config"})
    if (const Json* value = present(json, key); value != nullptr && !value->empty())
      refuse(str(key, " is not supported"));
}

// An activation that layers do not have would show in the first forward pass alone.
void check_activation(const Family& family, const ModelConfig& config) {
  if (is_activation(config.activation)) return;
  std::string name = "feed_forward_proj";
  for (const ConfigKey& key : family.keys)
    if (key.field == ConfigKey::Field(&ModelConfig::activation)) name = key.name;
  throw Error(ErrorKind::model,
              str("config.json: ", name, " '", config.activation, "' is not supported"), {},
              "supported: gelu, gelu_new, relu, silu");
}

}  // namespace

ModelConfig Family::read_config(const Json& given) const {
  const Json json = resolved(*this, given);
  refuse_unsupported(json);
  ModelConfig config;
  config.family = model_type;
  config.raw = json;
  for (const ConfigKey& key : keys)
    std::visit([&](auto member) { read_field(key, config.*member, present(json, key.name)); },
               key.field);
  read_tokens(config, json);
  read_heads(config, *this, json);
  if (has_labels(config.head)) config.labels = labels_of(json);
  if (finish != nullptr) finish(config, json);
  check_activation(*this, config);
  if (config.encoder_decoder() && config.decoder_start_token_id >= config.vocab_size)
    refuse(str("decoder_start_token_id ", config.decoder_start_token_id,
               " is no token of a vocab_size of ", config.vocab_size));
  complete(config);
  return config;
}

std::vector<std::string> Family::remarks(const Json& json) const {
  std::vector<std::string> found;
  const std::vector<std::string> unread = unread_keys(*this, json);
  if (!unread.empty())
    found.push_back(str("keys that are not read, and kept as they are: ", join(unread, ", ")));
  const std::string name = class_name(json);
  const bool known = std::any_of(classes.begin(), classes.end(),
                                 [&](const HeadClass& entry) { return entry.name == name; });
  if (!name.empty() && !known)
    found.push_back(str("the class ", name, " is none of those supported for ", model_type,
                        "; the model is read without its head"));
  const Json* count = present(json, "num_labels");
  const Json* names = present(json, "id2label");
  if (count != nullptr && names != nullptr && names->is_object() && *count != names->size())
    found.push_back(str("num_labels ", count->dump(), " does not count; id2label has ",
                        names->size(), " names"));
  return found;
}

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

std::string Family::file_name(const std::string& canonical, HeadKind head) const {
  const bool bare = head == HeadKind::none || head == HeadKind::embedding ||
                    starts_with(canonical, head_prefix) || begins_with_any(canonical, head_tensors);
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
  return starts_with(canonical, head_prefix) || begins_with_any(canonical, head_tensors) ||
         begins_with_any(canonical, optional_tensors);
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

HeadPlan head_plan(const ModelConfig& config, const HeadSpec& head) {
  ModelConfig alone = config;
  alone.head = head.kind;
  alone.labels = head.labels;
  const std::vector<HeadKind> known = family(config.family).heads();
  HeadPlan plan;
  if (std::find(known.begin(), known.end(), class_of(head.kind)) != known.end()) {
    plan = architecture(alone).head;
  } else if (head.kind == HeadKind::replaced_token) {  // ELECTRA's, on the states of any family
    plan.dense = "dense";
    plan.dense_activation = config.activation;
    plan.out = "out";
    plan.outputs = 1;
  }
  const std::string prefix = head_prefix + head.name + ".";
  auto own = [&](std::string& module) {
    if (!module.empty()) module.insert(0, prefix);
  };
  if (head.layers > 0) own(plan.pooler);
  if (!head.module.empty()) {
    plan.out = head.module;
    return plan;
  }
  own(plan.dense);
  own(plan.dense_norm);
  own(plan.out_bias_name);
  if (plan.out_tied && plan.out_bias && plan.out_bias_name.empty())
    plan.out_bias_name = prefix + "bias";
  if (!plan.out_tied) own(plan.out);
  return plan;
}

Stack head_stack(const Architecture& plan, const HeadSpec& head) {
  Stack stack = plan.decoder.layers > 0 ? plan.decoder : plan.encoder;
  if (head.layers == 0) return stack;
  const std::string prefix = head_prefix + head.name + ".";
  stack.layers = head.layers;
  stack.layer_prefix = prefix + "layer.";
  if (!stack.final_norm.empty()) stack.final_norm = prefix + "final_norm";
  return stack;
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
