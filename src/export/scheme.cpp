// What the writers ask of a scheme.

#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "formats.h"

namespace compress::exports {

namespace {

void add_names(const nn::Json& list, std::set<std::string>& names) {
  for (const nn::Json& module : list) names.insert(module.get<std::string>() + ".weight");
}

bool has(const nn::Json& scheme, const char* key) {
  return scheme.is_object() && scheme.contains(key) && !scheme[key].is_null();
}

}  // namespace

Quantised quantised_in(const nn::Json& scheme) {
  const bool affine =
      has(scheme, "activations") && scheme["activations"].value("symmetric", true) == false;
  return {has(scheme, "weights"), has(scheme, "activations"), has(scheme, "embeddings"), affine,
          has(scheme, "output_scales")};
}

const nn::Json* embeddings_of(const nn::Json& scheme) {
  return has(scheme, "embeddings") ? &scheme["embeddings"] : nullptr;
}

std::vector<std::string> rest_names() {
  return {"float32", "bf16", "float16"};
}

torch::ScalarType rest_type(const std::string& name) {
  return name == "bf16" ? torch::kBFloat16 : name == "float16" ? torch::kHalf : torch::kFloat32;
}

std::string rest_text(torch::ScalarType type) {
  for (const std::string& name : rest_names())
    if (rest_type(name) == type) return name;
  return {};
}

std::string embeddings_text(const nn::Json& scheme) {
  const nn::Json* embeddings = embeddings_of(scheme);
  if (embeddings == nullptr) return {};
  const int64_t group = embeddings->value("group_size", int64_t{0});
  return str("int", embeddings->value("num_bits", 8),
             group > 0 ? str(" in groups of ", group) : "");
}

std::set<std::string> tables_in(const nn::Json& scheme) {
  std::set<std::string> names;
  if (const nn::Json* embeddings = embeddings_of(scheme))
    add_names(embeddings->at("tables"), names);
  return names;
}

constraint::RowGrid table_grid(const nn::Json& scheme) {
  const nn::Json& embeddings = scheme.at("embeddings");
  constraint::RowGrid grid;
  grid.bits = embeddings.at("num_bits");
  if (grid.bits == 4) grid.group = embeddings.at("group_size");
  return grid;
}

constraint::QuantizedWeight table_integers(const LoadedModel& source, const nn::Parameter& table) {
  const auto stored = source.weight_scales.find(table.name);
  if (stored == source.weight_scales.end())
    return constraint::quantize_table(table.latent, table_grid(source.scheme));
  // A float32 quotient of fl(q * s) by s is nearer to q than half a step.
  const torch::Tensor latent = table.latent.detach().cpu(), &scale = stored->second;
  const torch::Tensor steps = scale.repeat_interleave(latent.size(1) / scale.size(1), 1);
  return {(latent / steps).round_().clamp_(-128, 127).to(torch::kInt8), scale};
}

std::set<std::string> held_in(const nn::Json& scheme) {
  std::set<std::string> names = tables_in(scheme);
  if (has(scheme, "weights")) add_names(scheme.at("modules"), names);
  return names;
}

nn::Json config_of(const LoadedModel& source, const Target& target) {
  nn::Json config = checkpoint::config_json(*source.model);
  // Readers would take the type of the tensors for that of the computation.
  if (target.rest != torch::kFloat32) config["dtype"] = "float32";
  if (target.rest != torch::kFloat32 && config.contains("torch_dtype"))
    config["torch_dtype"] = "float32";
  return config;
}

}  // namespace compress::exports
