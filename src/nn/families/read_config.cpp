// config.json of a family's models, read.

#include <algorithm>
#include <cmath>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/nn/architecture.h"
#include "compress/nn/layers.h"
#include "families/families.h"
#include "families/json.h"

namespace compress::nn {

namespace {

constexpr int64_t largest_size = int64_t{1} << 31;

void read_field(const ConfigKey& key, int64_t& field, const Json* value) {
  const bool size = std::holds_alternative<std::monostate>(key.fallback);
  if (value == nullptr && size)
    throw Error(ErrorKind::model, str("config.json has no number '", key.name, "'"));
  if (value == nullptr) {
    field = std::get<int64_t>(key.fallback);
    return;
  }
  if (!value->is_number_integer()) refuse_config(str("'", key.name, "' must be a whole number"));
  field = value->get<int64_t>();
  if ((size && field <= 0) || field < -1 || field > largest_size)
    refuse_config(str(key.name, " of ", field, " is out of range"));
}

void read_field(const ConfigKey& key, double& field, const Json* value) {
  if (value != nullptr && !value->is_number())
    refuse_config(str("'", key.name, "' must be a number"));
  field = value != nullptr ? value->get<double>() : std::get<double>(key.fallback);
  if (!std::isfinite(field)) refuse_config(str("'", key.name, "' is not finite"));
  const bool share = std::string_view(key.name).find("drop") != std::string_view::npos;
  if (value != nullptr && share && !(field >= 0 && field < 1))
    refuse_config(str(key.name, " of ", field, " is no probability below 1"));
}

void read_field(const ConfigKey& key, bool& field, const Json* value) {
  if (value != nullptr && !value->is_boolean())
    refuse_config(str("'", key.name, "' must be true or false"));
  field = value != nullptr ? value->get<bool>() : std::get<bool>(key.fallback);
}

void read_field(const ConfigKey& key, std::string& field, const Json* value) {
  if (value != nullptr && !value->is_string())
    refuse_config(str("'", key.name, "' must be a text"));
  field = value != nullptr ? value->get<std::string>() : std::get<const char*>(key.fallback);
}

// What a model of sequences does with its outputs.
HeadKind problem_of(const Json& json) {
  const Json* problem = present(json, "problem_type");
  const bool one = labels_of(json).size() == 1;
  if (problem == nullptr) return one ? HeadKind::regression : HeadKind::classification;
  if (*problem == "regression") return HeadKind::regression;
  if (*problem == "multi_label_classification") return HeadKind::multi_label;
  if (*problem != "single_label_classification")
    refuse_config(
        "problem_type " + problem->dump() +
        " is none of regression, single_label_classification, multi_label_classification");
  if (one) refuse_config("problem_type \"single_label_classification\" needs more than one label");
  return HeadKind::classification;
}

// The name of the model's class; empty where the file has none.
std::string class_name(const Json& json) {
  const Json* names = present(json, "architectures");
  if (names != nullptr && names->is_string()) return names->get<std::string>();
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
  if (!value->is_number_integer()) refuse_config(str("'", key, "' must be a token's number"));
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
    if (!id.is_number_integer()) refuse_config("'eos_token_id' must be numbers of tokens");
    config.eos_token_ids.push_back(id.get<int64_t>());
  }
}

// The keys under their own names.
Json resolved(const Family& family, const Json& json) {
  Json result = json;
  for (const ConfigAlias& alias : family.aliases) {
    const Json* other = present(json, alias.name);
    if (other == nullptr) continue;
    if (const Json* own = present(json, alias.key); own != nullptr && *own != *other)
      refuse_config(str(alias.name, " ", other->dump(), " and ", alias.key, " ", own->dump(),
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
      refuse_config(str(key, " is not supported"));
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

// Decoders whose tokens see those behind them, as embedding models are made of, and encoders whose
// tokens do not. A model without layers attends to nothing.
void check_direction(const ModelConfig& config, const Json& json) {
  const Architecture plan = architecture(config);
  if (plan.encoder.layers + plan.decoder.layers > 0)
    expect_switch(config, json, "is_causal", plan.encoder.causal || plan.decoder.causal);
}

}  // namespace

void refuse_config(const std::string& what) {
  throw Error(ErrorKind::model, "config.json: " + what);
}

const Json* present(const Json& json, const char* key) {
  auto it = json.find(key);
  return it == json.end() || it->is_null() ? nullptr : &*it;
}

void complete(ModelConfig& config) {
  if (config.kv_heads == 0) config.kv_heads = config.attention_heads;
  if (config.embedding_size == 0) config.embedding_size = config.hidden_size;
  if (config.attention_heads > 0 && config.head_width == 0) {
    if (config.hidden_size % config.attention_heads != 0)
      refuse_config(str("hidden_size ", config.hidden_size, " does not divide by ",
                        config.attention_heads, " attention heads"));
    config.head_width = config.hidden_size / config.attention_heads;
  }
  if (config.kv_heads > 0 && config.attention_heads % config.kv_heads != 0)
    refuse_config(str(config.attention_heads, " attention heads do not divide by ", config.kv_heads,
                      " heads of keys and values"));
}

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
    refuse_config(str("decoder_start_token_id ", config.decoder_start_token_id,
                      " is no token of a vocab_size of ", config.vocab_size));
  complete(config);
  check_direction(config, json);
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
  if (label2id_differs(json))
    found.push_back("label2id does not count; id2label names other classes or another order");
  return found;
}

}  // namespace compress::nn
