// What is kept of a quantization: its state while a stage runs, and its scheme behind it.

#include <cmath>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "quantization/quantization.h"

namespace compress::constraint {

template <class Visit>
void Quantization::each_grid(const Visit& visit) const {
  for (const auto& [module, input] : inputs_) visit("input", module, input->grid());
  for (const auto& [module, output] : outputs_) visit("output", module, output->grid());
}

nn::TensorMap Quantization::state() const {
  nn::TensorMap state;
  each_grid([&](const char* what, const std::string& module, const TensorGrid& grid) {
    state[str(what, "_range.", module)] = grid.state();
  });
  for (const auto& [module, weights] : ranges_)
    if (weights->most.defined()) state["weight_range." + module] = weights->most.cpu();
  return state;
}

void Quantization::load_state(const nn::TensorMap& state) {
  auto refuse = [](const std::string& what) {
    throw Error(ErrorKind::model, "the saved quantization state " + what, {},
                "it was saved with other options or is damaged; start the stage anew");
  };
  auto fits = [](const torch::Tensor& values, at::IntArrayRef shape) {
    return values.sizes() == shape && values.scalar_type() == torch::kFloat32 &&
           values.isfinite().all().item<bool>();
  };
  const size_t grids = inputs_.size() + outputs_.size();
  if (state.size() < grids || state.size() > grids + ranges_.size())
    refuse("names other layers than the recipe");
  size_t known = grids;
  each_grid([&](const char* what, const std::string& module, TensorGrid& grid) {
    auto it = state.find(str(what, "_range.", module));
    if (it == state.end()) refuse(str("has no ", what, " range of ", module));
    if (!fits(it->second, {3})) refuse(str("has a damaged ", what, " range of ", module));
    grid.load_state(it->second);
  });
  for (const auto& [module, weights] : ranges_) {
    auto it = state.find("weight_range." + module);
    weights->most = torch::Tensor();
    if (it == state.end()) continue;  // no pass had seen the weights
    if (!fits(it->second, weights->shape)) refuse("has a damaged weight range of " + module);
    weights->most = it->second.clone();
    ++known;
  }
  if (known != state.size()) refuse("names other layers than the recipe");
}

kernels::Grid Quantization::known(TensorGrid& grid, const std::string& module,
                                  const char* what) const {
  if (!grid.seen())
    throw Error(ErrorKind::recipe, str("the ", what, " of ", module, " was never observed"),
                mark_.text(), "exclude the layer, or use dynamic activations");
  const kernels::Grid found = grid.grid();
  if (!std::isfinite(found.scale))
    throw Error(ErrorKind::diverged, str("the ", what, " of ", module, " was not finite"),
                mark_.text());
  return found;
}

nn::Json scheme_of(const std::string& weights, const std::string& activations,
                   const std::vector<nn::Parameter*>& parameters) {
  nn::Json scheme{{"num_bits", 8}, {"weights", nullptr}, {"activations", nullptr}};
  if (weights != "none") scheme["weights"] = {{"strategy", weights}};
  if (activations != "none") {
    const bool dynamic = activations == "dynamic";
    scheme["activations"] = {{"strategy", dynamic ? "token" : "tensor"}, {"dynamic", dynamic}};
  }
  scheme["modules"] = nn::Json::array();
  for (const nn::Parameter* parameter : parameters)
    scheme["modules"].push_back(module_name(parameter->name));
  return scheme;
}

nn::Json Quantization::export_scheme() const {
  if (!phase_.active) return nullptr;
  const bool affine = options_.activations == "uint8";
  nn::Json scheme =
      scheme_of(options_.weights == "none" ? "none" : options_.weight_granularity,
                options_.activations == "none" ? "none" : options_.activation_scale, parameters_);
  if (affine) scheme["activations"]["symmetric"] = false;
  if (!tables_.empty()) scheme["embeddings"] = table_scheme(table_rows_.grid, tables_);
  for (const nn::Parameter* parameter : parameters_) {
    const std::string module = module_name(parameter->name);
    if (auto input = inputs_.find(module); input != inputs_.end()) {
      const kernels::Grid grid = known(input->second->grid(), module, "input");
      scheme["input_scales"][module] = static_cast<double>(grid.scale);
      if (affine) scheme["input_zeros"][module] = grid.zero + 128;
    }
    if (auto output = outputs_.find(module); output != outputs_.end()) {
      const kernels::Grid grid = known(output->second->grid(), module, "output");
      scheme["output_scales"][module] = static_cast<double>(grid.scale);
      scheme["output_zeros"][module] = grid.zero + 128;
    }
    auto weights = ranges_.find(module);
    if (weights == ranges_.end() || !weights->second->known()) continue;
    const torch::Tensor scale = weights->second->scale().to(torch::kCPU).contiguous();
    const float* each = scale.const_data_ptr<float>();
    nn::Json& list = scheme["weight_scales"][module] = nn::Json::array();
    for (int64_t i = 0; i < scale.numel(); ++i) list.push_back(static_cast<double>(each[i]));
  }
  return scheme;
}

}  // namespace compress::constraint
