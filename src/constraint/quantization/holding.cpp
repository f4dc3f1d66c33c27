// The transforms that a quantization puts on parameters.

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "quantization/quantization.h"
#include "selection.h"

namespace compress::constraint {

namespace {

bool is_role(const std::string& name) {
  for (int role = 0; role <= static_cast<int>(nn::Role::other); ++role)
    if (name == nn::role_name(static_cast<nn::Role>(role))) return true;
  return false;
}

}  // namespace

bool holds_group(const nn::Parameter& parameter, const std::vector<nn::Parameter*>& held) {
  const nn::Fused* group = parameter.fused;
  return group != nullptr &&
         std::all_of(group->members.begin(), group->members.end(),
                     [&](const nn::Parameter* member) {
                       return std::find(held.begin(), held.end(), member) != held.end();
                     });
}

// A glob that matches nothing is a mistake; a role that the targets lack is none.
void Quantization::check_whole_outputs(const std::vector<nn::Parameter*>& held) const {
  for (const std::string& selector : options_.whole_outputs) {
    if (is_role(selector)) continue;
    if (std::none_of(held.begin(), held.end(),
                     [&](const nn::Parameter* one) { return is_named({selector}, *one); }))
      throw Error(ErrorKind::recipe,
                  str("whole_outputs '", selector, "' matches no target of the quantization"),
                  mark_.text(), "a role such as value, or a glob over the targets' names");
  }
}

void Quantization::hold(const std::vector<nn::Parameter*>& parameters, const FixedGrids& fixed) {
  parameters_ = parameters;
  if (options_.weights != "none") hold_weights(parameters, fixed);
  if (options_.activations != "none") hold_inputs(parameters, fixed);
  if (options_.outputs != "none") hold_outputs(parameters, fixed);
}

void Quantization::hold_weights(const std::vector<nn::Parameter*>& parameters,
                                const FixedGrids& fixed) {
  for (nn::Parameter* parameter : parameters) {
    if (options_.weight_range == "current") {
      parameter->transforms.push_back(&weights_);
      continue;
    }
    WideningWeights& own = widening_.emplace_back();
    own.granularity = weights_.granularity;
    own.shape = {1};
    if (own.granularity == Granularity::channel) own.shape = {parameter->latent.size(0), 1};
    own.phase = &phase_;
    const std::string module = module_name(parameter->name);
    if (auto it = fixed.weights.find(module); it != fixed.weights.end()) own.fixed = it->second;
    parameter->transforms.push_back(&own);
    ranges_[module] = &own;
  }
}

// Layers of a fused product read one input: they share its observer when all of them are held (on
// equal grids, where these are given), so that it sees each input once.
void Quantization::hold_inputs(const std::vector<nn::Parameter*>& parameters,
                               const FixedGrids& fixed) {
  auto given = [&](const nn::Parameter* parameter) {
    auto it = fixed.inputs.find(module_name(parameter->name));
    return it != fixed.inputs.end() ? it->second : kernels::Grid();
  };
  std::map<const nn::Fused*, TensorInput*> shared;
  for (nn::Parameter* parameter : parameters) {
    if (!static_inputs()) {
      parameter->input = &token_input_;
      continue;
    }
    const nn::Fused* group = parameter->fused;
    auto alike = [&](const nn::Parameter* member) {
      return given(member).scale == given(parameter).scale &&
             given(member).zero == given(parameter).zero;
    };
    const bool whole = holds_group(*parameter, parameters) &&
                       std::all_of(group->members.begin(), group->members.end(), alike);
    TensorInput* known = whole ? shared[group] : nullptr;
    if (known == nullptr) {
      known =
          &tensor_inputs_.emplace_back(phase_, options_.activations == "uint8", options_.averaging);
      if (whole) shared[group] = known;
      if (given(parameter).scale != 0) known->grid().fix(given(parameter));
    }
    parameter->input = known;
    inputs_[module_name(parameter->name)] = known;
  }
}

void Quantization::hold_outputs(const std::vector<nn::Parameter*>& parameters,
                                const FixedGrids& fixed) {
  for (nn::Parameter* parameter : parameters) {
    const std::string module = module_name(parameter->name);
    auto given = fixed.outputs.find(module);
    // A scheme names the modules; a recipe those that stay whole.
    const bool rounded = fixed.outputs.empty() ? !is_named(options_.whole_outputs, *parameter)
                                               : given != fixed.outputs.end();
    if (!rounded) continue;
    TensorOutput& own = tensor_outputs_.emplace_back(phase_, options_.averaging);
    if (given != fixed.outputs.end()) own.grid().fix(given->second);
    parameter->output = &own;
    outputs_[module] = &own;
  }
}

void Quantization::WideningWeights::forward(nn::Parameter& parameter, torch::Tensor& weight) {
  if (!phase->active) return;
  if (phase->widens && !fixed.defined()) {
    const torch::Tensor now = largest_magnitudes(weight, granularity);
    most = most.defined() ? torch::maximum(most.to(now.device()), now) : now;
  }
  if (known()) parameter.steps = fake_quantize_weight(weight, scale().to(weight.device()));
}

torch::Tensor Quantization::WideningWeights::scale() const {
  return fixed.defined() ? fixed : scale_of_largest(most);
}

}  // namespace compress::constraint
