// The quantization of a finished model, from what export_scheme() gave.

#include <cmath>
#include <set>

#include "compress/base/error.h"
#include "quantization/quantization.h"

namespace compress::constraint {

namespace {

class Scheme final : public Quantization {
 public:
  Scheme(const QuantizationOptions& options, std::vector<std::string> modules,
         std::map<std::string, float> scales, std::string where)
      : Quantization(options),
        modules_(std::move(modules)),
        scales_(std::move(scales)),
        where_(std::move(where)) {}

  void bind(const roles::Scene& scene) override {
    std::vector<nn::Parameter*> parameters;
    for (const std::string& module : modules_) {
      nn::Parameter* parameter = scene.weights.find(module + ".weight");
      if (parameter == nullptr || !parameter->is_matrix())
        throw Error(ErrorKind::model,
                    "the quantization names '" + module + "', which the model has not", where_,
                    "the scheme belongs to another model");
      parameters.push_back(parameter);
    }
    hold(parameters, scales_);
    phase() = {true, true};
  }
  // In force for good.
  bool before_update(const Progress&) override { return false; }

 private:
  std::vector<std::string> modules_;
  std::map<std::string, float> scales_;
  std::string where_;
};

}  // namespace

std::unique_ptr<Constraint> from_scheme(const nn::Json& scheme, const std::string& where) {
  auto need = [&](bool good, const std::string& what) {
    if (!good) throw Error(ErrorKind::model, "bad quantization: " + what, where);
  };
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
  }

  auto list = scheme.find("modules");
  need(list != scheme.end() && list->is_array() && !list->empty(), "no 'modules'");
  std::vector<std::string> modules;
  std::set<std::string> seen;
  for (const nn::Json& module : *list) {
    need(module.is_string(), "a module is not a name");
    modules.push_back(module.get<std::string>());
    need(seen.insert(modules.back()).second, "'" + modules.back() + "' is listed twice");
  }
  std::map<std::string, float> scales;
  if (!activations.is_null() && options.activation_scale == "static") {
    auto given = scheme.find("input_scales");
    need(given != scheme.end() && given->is_object(), "no 'input_scales'");
    for (const std::string& module : modules) {
      auto it = given->find(module);
      need(it != given->end() && it->is_number(), "no input scale of '" + module + "'");
      auto scale = static_cast<float>(it->get<double>());
      need(std::isfinite(scale) && scale > 0, "the input scale of '" + module + "' is not above 0");
      scales[module] = scale;
    }
  }
  return std::make_unique<Scheme>(options, std::move(modules), std::move(scales), where);
}

}  // namespace compress::constraint
