// The quantization of a finished model, from what export_scheme() gave.

#include <cmath>
#include <set>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "quantization/quantization.h"

namespace compress::constraint {

namespace {

class Scheme final : public Quantization {
 public:
  Scheme(const QuantizationOptions& options, std::vector<std::string> modules,
         std::vector<std::string> tables, FixedGrids fixed, std::string where)
      : Quantization(options),
        per_channel_(options.weight_granularity == "channel"),
        modules_(std::move(modules)),
        tables_(std::move(tables)),
        fixed_(std::move(fixed)),
        where_(std::move(where)) {}

  void bind(const roles::Scene& scene) override {
    std::vector<nn::Parameter*> parameters;
    for (const std::string& module : modules_) {
      nn::Parameter* parameter = scene.weights.find(module + ".weight");
      if (parameter == nullptr || !parameter->is_matrix())
        throw Error(ErrorKind::model,
                    "the quantization names '" + module + "', which the model has not", where_,
                    "the scheme belongs to another model");
      if (auto it = fixed_.weights.find(module); it != fixed_.weights.end()) {
        const int64_t rows = per_channel_ ? parameter->latent.size(0) : 1;
        if (it->second.numel() != rows)
          throw Error(ErrorKind::model,
                      str("'", module, "' has ", it->second.numel(), " weight scales, not ", rows),
                      where_, "the scheme belongs to another model");
        if (per_channel_) it->second = it->second.view({rows, 1});
      }
      parameters.push_back(parameter);
    }
    hold(parameters, fixed_);
    std::vector<nn::Parameter*> tables;
    for (const std::string& module : tables_) {
      nn::Parameter* table = scene.weights.find(module + ".weight");
      if (table == nullptr || table->role != nn::Role::embedding || table->latent.dim() != 2 ||
          table->latent.size(1) % group() != 0)
        throw Error(ErrorKind::model,
                    "the quantization names the table '" + module +
                        "', which the model has not, or of another width",
                    where_, "the scheme belongs to another model");
      tables.push_back(table);
    }
    hold_tables(tables);
    phase() = {true, true};
  }
  // In force for good.
  bool before_update(const Progress&) override { return false; }

 private:
  int64_t group() const { return grid().bits == 8 ? 1 : grid().group; }

  bool per_channel_;
  std::vector<std::string> modules_, tables_;
  FixedGrids fixed_;
  std::string where_;
};

// Reads the parts of a scheme.
class Reader {
 public:
  Reader(const nn::Json& scheme, const std::string& where) : scheme_(scheme), where_(where) {}

  void need(bool good, const std::string& what) const {
    if (!good) throw Error(ErrorKind::model, "bad quantization: " + what, where_);
  }
  // Null where `key` is missing and may be.
  const nn::Json* map_of(const char* key) const {
    auto it = scheme_.find(key);
    if (it == scheme_.end()) return nullptr;
    need(it->is_object(), str("'", key, "' is not a map"));
    return &*it;
  }
  float scale(const nn::Json& value, const std::string& of) const {
    need(value.is_number(), "no " + of);
    const auto scale = static_cast<float>(value.get<double>());
    need(std::isfinite(scale) && scale > 0, "the " + of + " is not above 0");
    return scale;
  }
  // The grid that `scales` and, unless it is null, `zeros` give a module; `what` is "input".
  kernels::Grid grid(const nn::Json& scales, const nn::Json* zeros, const std::string& module,
                     const std::string& what) const {
    auto it = scales.find(module);
    need(it != scales.end(), str("no ", what, " scale of '", module, "'"));
    const float step = scale(*it, str(what, " scale of '", module, "'"));
    if (zeros == nullptr) return {step, 0};
    it = zeros->find(module);
    need(it != zeros->end() && it->is_number_integer() && *it >= 0 && *it <= 255,
         str("no ", what, " zero of '", module, "' from 0 to 255"));
    return {step, it->get<int32_t>() - 128};
  }
  torch::Tensor weight_scales(const nn::Json& list, const std::string& module) const {
    need(list.is_array() && !list.empty(), "no weight scales of '" + module + "'");
    std::vector<float> scales;
    for (const nn::Json& value : list)
      scales.push_back(scale(value, "weight scale of '" + module + "'"));
    return torch::tensor(scales);
  }

  // The entries of a list, each once; `some`: one at least.
  std::vector<std::string> names(const nn::Json& object, const char* key, bool some) const {
    auto list = object.find(key);
    need(list != object.end() && list->is_array() && (!some || !list->empty()),
         str("no '", key, "'"));
    std::vector<std::string> names;
    std::set<std::string> seen;
    for (const nn::Json& name : *list) {
      need(name.is_string(), str("an entry of '", key, "' is not a name"));
      names.push_back(name.get<std::string>());
      need(seen.insert(names.back()).second, "'" + names.back() + "' is listed twice");
    }
    return names;
  }
  // Embeddings, where the scheme has any.
  std::vector<std::string> tables(QuantizationOptions& options) const {
    auto found = scheme_.find("embeddings");
    if (found == scheme_.end() || found->is_null()) return {};
    need(found->is_object(), "'embeddings' is not a map");
    auto is = [&](const char* key, const nn::Json& value) {
      auto it = found->find(key);
      return it != found->end() && *it == value;
    };
    const bool rows = is("num_bits", 8) && is("strategy", "channel");
    need(rows || (is("num_bits", 4) && is("strategy", "group")),
         "embeddings are neither 8 bits a channel nor 4 bits a group");
    options.embeddings = rows ? "int8" : "int4";
    if (!rows) {
      auto size = found->find("group_size");
      need(size != found->end() && size->is_number_integer() && *size >= 1 && *size <= 1 << 20,
           "embeddings without a group_size");
      options.embedding_group = size->get<int64_t>();
    }
    return names(*found, "tables", true);
  }

 private:
  const nn::Json& scheme_;
  const std::string& where_;
};

}  // namespace

std::unique_ptr<Constraint> from_scheme(const nn::Json& scheme, const std::string& where) {
  const Reader read(scheme, where);
  auto need = [&](bool good, const std::string& what) { read.need(good, what); };
  auto text = [](const nn::Json& object, const char* key) {
    auto it = object.find(key);
    return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
  };
  need(scheme.is_object(), "not a map");
  auto part = [&](const char* key) {
    auto it = scheme.find(key);
    need(it != scheme.end() && (it->is_null() || it->is_object()), std::string("no '") + key + "'");
    return *it;
  };
  auto bits = scheme.find("num_bits");
  need(bits != scheme.end() && *bits == 8, "num_bits is not 8");
  const nn::Json weights = part("weights"), activations = part("activations");
  QuantizationOptions options;
  options.weights = weights.is_null() ? "none" : "int8";
  options.activations = activations.is_null() ? "none" : "int8";
  if (!weights.is_null()) {
    options.weight_granularity = text(weights, "strategy");
    need(options.weight_granularity == "channel" || options.weight_granularity == "tensor",
         "the strategy of weights is neither channel nor tensor");
  }
  if (!activations.is_null()) {
    std::string strategy = text(activations, "strategy");
    auto dynamic = activations.find("dynamic");
    need(dynamic != activations.end() && dynamic->is_boolean() &&
             strategy == (dynamic->get<bool>() ? "token" : "tensor"),
         "activations are neither dynamic per token nor static per tensor");
    options.activation_scale = dynamic->get<bool>() ? "dynamic" : "static";
    auto symmetric = activations.find("symmetric");
    const bool affine = symmetric != activations.end() && *symmetric == false;
    need(!affine || !dynamic->get<bool>(), "affine activations are not static");
    if (affine) options.activations = "uint8";
  }

  std::vector<std::string> tables = read.tables(options);
  const std::vector<std::string> modules =
      read.names(scheme, "modules", tables.empty() || !weights.is_null() || !activations.is_null());
  const std::set<std::string> known(modules.begin(), modules.end());
  FixedGrids fixed;
  if (!activations.is_null() && options.activation_scale == "static") {
    const bool affine = options.activations == "uint8";
    const nn::Json *scales = read.map_of("input_scales"), *zeros = read.map_of("input_zeros");
    need(scales != nullptr, "no 'input_scales'");
    need(!affine || zeros != nullptr, "no 'input_zeros'");
    for (const std::string& module : modules)
      fixed.inputs[module] = read.grid(*scales, affine ? zeros : nullptr, module, "input");
  }
  if (const nn::Json* scales = read.map_of("output_scales")) {
    const nn::Json* zeros = read.map_of("output_zeros");
    need(zeros != nullptr, "no 'output_zeros'");
    options.outputs = "uint8";
    for (const auto& [module, scale] : scales->items()) {
      need(known.contains(module), "an output of '" + module + "', which is not quantised");
      fixed.outputs[module] = read.grid(*scales, zeros, module, "output");
    }
    need(!fixed.outputs.empty(), "no output in 'output_scales'");
  }
  if (const nn::Json* scales = read.map_of("weight_scales");
      scales != nullptr && !weights.is_null()) {
    options.weight_range = "widening";
    for (const std::string& module : modules) {
      need(scales->contains(module), "no weight scales of '" + module + "'");
      fixed.weights[module] = read.weight_scales((*scales)[module], module);
    }
  }
  return std::make_unique<Scheme>(options, modules, std::move(tables), std::move(fixed), where);
}

}  // namespace compress::constraint
