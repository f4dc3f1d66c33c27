#include "quantized_config.h"

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/nn/architecture.h"
#include "quantized.h"

namespace compress::checkpoint {

namespace {

[[noreturn]] void unsupported(const std::string& what, const std::filesystem::path& place) {
  throw Error(ErrorKind::model, "quantization_config: " + what, place.string(),
              "supported: compressed-tensors, format int-quantized, symmetric 8-bit integers, "
              "weights by channel or tensor, "
              "activations dynamic by token or static by tensor; "
              "embeddings by channel, or pack-quantized of 4 bits by group");
}

const nn::Json& member(const nn::Json& object, const char* key) {
  static const nn::Json null;
  auto found = object.find(key);
  return found == object.end() ? null : *found;
}

bool symmetric_integers(const nn::Json& args, int bits) {
  const nn::Json& symmetric = member(args, "symmetric");
  return args.is_object() && member(args, "num_bits") == bits &&
         (member(args, "type").is_null() || args["type"] == "int") &&
         (symmetric.is_null() || symmetric == true);
}

// Whether a target of a group names tables: the class, a module, or the end of its name as an
// expression ("re:.*word_embeddings$").
bool names_table(const nn::Json& target, const std::vector<std::string>& tables) {
  if (!target.is_string()) return false;
  auto name = target.get<std::string>();
  if (name == "Embedding") return true;
  if (starts_with(name, "re:")) {
    name = name.substr(3);
    for (const char* front : {"^", ".*"})
      if (starts_with(name, front)) name = name.substr(std::string_view(front).size());
    if (ends_with(name, "$")) name.pop_back();
    std::erase(name, '\\');
  }
  return !name.empty() && std::any_of(tables.begin(), tables.end(), [&](const std::string& table) {
    return table == name || ends_with(table, "." + name) || ends_with(name, "." + table);
  });
}

bool is_table_group(const nn::Json& group, const std::vector<std::string>& tables) {
  const nn::Json& targets = member(group, "targets");
  return targets.is_array() && !targets.empty() &&
         std::all_of(targets.begin(), targets.end(),
                     [&](const nn::Json& target) { return names_table(target, tables); });
}

}  // namespace

nn::Json weights_of(const nn::Json& group) {
  return {{"strategy", member(group["weights"], "strategy") == "tensor" ? "tensor" : "channel"}};
}

nn::Json activations_of(const nn::Json& group) {
  const nn::Json& args = member(group, "input_activations");
  if (args.is_null()) return nullptr;
  bool dynamic = member(args, "dynamic") == true;
  return {{"strategy", dynamic ? "token" : "tensor"}, {"dynamic", dynamic}};
}

std::vector<std::string> tables_of(const nn::ModelConfig& config) {
  const nn::Architecture plan = nn::architecture(config);
  std::vector<std::string> tables;
  for (const nn::Stack* stack : {&plan.encoder, &plan.decoder})
    for (const std::string& table : {stack->word, stack->position, stack->segment})
      if (!table.empty()) tables.push_back(table);
  return tables;
}

nn::Json rows_of(const nn::Json& group) {
  const nn::Json& weights = group["weights"];
  if (member(weights, "num_bits") == 8) return {{"num_bits", 8}, {"strategy", "channel"}};
  return {{"num_bits", 4}, {"strategy", "group"}, {"group_size", weights["group_size"]}};
}

Groups groups_of(const ConfigFile& file) {
  const std::vector<std::string> tables = tables_of(file.config);
  Groups found;
  for (const nn::Json& group : member(file.quantization, "config_groups")) {
    const nn::Json*& kind = is_table_group(group, tables) ? found.embeddings : found.layers;
    if (kind == nullptr) kind = &group;
  }
  return found;
}

namespace {

void check_group(const nn::Json& group, const std::filesystem::path& place) {
  if (!group.is_object()) unsupported("a config group is not an object", place);
  const nn::Json& weights = member(group, "weights");
  const nn::Json& inputs = member(group, "input_activations");
  const nn::Json& strategy = member(weights, "strategy");
  if (!symmetric_integers(weights, 8) || (strategy != "channel" && strategy != "tensor"))
    unsupported("weights " + weights.dump(), place);
  if (!inputs.is_null() &&
      (!symmetric_integers(inputs, 8) ||
       (member(inputs, "dynamic") == true ? member(inputs, "strategy") != "token"
                                          : member(inputs, "strategy") != "tensor")))
    unsupported("input_activations " + inputs.dump(), place);
  if (!member(group, "output_activations").is_null()) unsupported("output_activations", place);
}

void check_embeddings(const nn::Json& group, const nn::Json& format,
                      const std::filesystem::path& place) {
  const nn::Json& weights = member(group, "weights");
  const nn::Json& size = member(weights, "group_size");
  const nn::Json& strategy = member(weights, "strategy");
  const nn::Json& own = member(group, "format");
  const nn::Json& laid = own.is_null() ? format : own;
  const bool rows = symmetric_integers(weights, 8) && strategy == "channel";
  const bool groups = symmetric_integers(weights, 4) && strategy == "group" &&
                      size.is_number_integer() && size >= 1 && size <= 1 << 20;
  if (!(rows && laid == "int-quantized") && !(groups && laid == "pack-quantized"))
    unsupported("embeddings " + weights.dump() + " in the format " + laid.dump(), place);
  for (const char* key : {"input_activations", "output_activations"})
    if (!member(group, key).is_null()) unsupported(std::string(key) + " of embeddings", place);
}

void check_layers(const nn::Json& group, const nn::Json& format,
                  const std::filesystem::path& place) {
  check_group(group, place);
  const nn::Json& own = member(group, "format");
  const nn::Json& laid = own.is_null() ? format : own;
  if (laid != "int-quantized") unsupported("format " + laid.dump(), place);
}

}  // namespace

void check_quantization(const ConfigFile& file, const std::filesystem::path& place) {
  const nn::Json& block = file.quantization;
  if (block.is_null()) return;
  if (!block.is_object() || member(block, "quant_method") != "compressed-tensors")
    unsupported("quant_method " + member(block, "quant_method").dump(), place);
  const nn::Json& format = member(block, "format");
  if (format != "int-quantized" && format != "pack-quantized" && format != "mixed-precision")
    unsupported("format " + format.dump(), place);
  const nn::Json& groups = member(block, "config_groups");
  if (!groups.is_object() || groups.empty()) unsupported("config_groups are missing", place);
  for (const nn::Json& group : groups)
    if (!group.is_object()) unsupported("a config group is not an object", place);
  const Groups first = groups_of(file);
  const std::vector<std::string> tables = tables_of(file.config);
  for (const nn::Json& group : groups) {
    bool alike = false;
    if (is_table_group(group, tables)) {
      check_embeddings(group, format, place);
      alike = rows_of(group) == rows_of(*first.embeddings);
    } else {
      check_layers(group, format, place);
      alike = weights_of(group) == weights_of(*first.layers) &&
              activations_of(group) == activations_of(*first.layers);
    }
    if (!alike) unsupported("config groups that differ", place);
  }
  if (!member(block, "kv_cache_scheme").is_null()) unsupported("kv_cache_scheme", place);
}

}  // namespace compress::checkpoint
