#include "quantization/quantization.h"

#include <algorithm>
#include <cmath>

#include "components.h"
#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "selection.h"

namespace compress::constraint {

namespace {

void check(const QuantizationOptions& o, const recipe::Mark& mark, recipe::Problems& problems) {
  if (o.weights == "none" && o.activations == "none")
    problems.add(mark, "neither weights nor activations would be quantised",
                 "set one of them to int8, or remove `quantization`");
  if (!(o.averaging > 0)) problems.add(mark, "averaging must be above 0: scales would never move");
  if (o.start.unit == o.freeze_observers.unit && o.start.value >= o.freeze_observers.value &&
      o.activations != "none" && o.activation_scale == "static")
    problems.add(mark, "freeze_observers at " + o.freeze_observers.text() +
                           " leaves no update after the start at " + o.start.text());
  if (o.targets.empty()) problems.add(mark, "targets is empty: nothing would be quantised");
}

}  // namespace

const recipe::Options<QuantizationOptions>& QuantizationOptions::options() {
  using Q = QuantizationOptions;
  static const auto description =
      recipe::Options<Q>("quantization")
          .field("weights", &Q::weights, "weights of the targets")
          .one_of({"int8", "none"})
          .field("weight_granularity", &Q::weight_granularity,
                 "one scale an output row, or one in all")
          .one_of({"channel", "tensor"})
          .field("activations", &Q::activations, "what the targets read")
          .one_of({"int8", "none"})
          .field("activation_scale", &Q::activation_scale,
                 "from each token itself, or one learnt from training passes")
          .one_of({"dynamic", "static"})
          .field("averaging", &Q::averaging,
                 "static: weight of a new batch in the moving minimum and maximum")
          .range(0, 1)
          .field("start", &Q::start, "update from which weights and activations are quantised")
          .field("freeze_observers", &Q::freeze_observers,
                 "static: update from which the scales no longer move")
          .field("targets", &Q::targets,
                 "roles, groups of roles or globs over tensor names; a task head only by name")
          .field("exclude", &Q::exclude, "globs over tensor names")
          .mark(&Q::mark)
          .check(check);
  return description;
}

std::string module_name(const std::string& tensor) {
  return ends_with(tensor, ".weight") ? tensor.substr(0, tensor.size() - 7) : tensor;
}

Quantization::Quantization(const QuantizationOptions& options) : options_(options) {
  called("quantization", options.mark);
  weights_.granularity = parse_granularity(options_.weight_granularity);
  weights_.phase = &phase_;
}

bool Quantization::static_inputs() const {
  return options_.activations != "none" && options_.activation_scale == "static";
}

std::string Quantization::unrecordable() const {
  return static_inputs() ? "static ranges of activations would see the padding" : "";
}

void Quantization::bind(const roles::Scene& scene) {
  const Progress& plan = scene.length;
  phase_.processes = scene.processes;
  start_ = options_.start.resolve(plan.steps_per_epoch, plan.total_steps);
  freeze_ = options_.freeze_observers.resolve(plan.steps_per_epoch, plan.total_steps);
  std::string stage = str("the stage has ", plan.total_steps, " updates");
  if (start_ >= plan.total_steps)
    throw Error(ErrorKind::recipe,
                str("quantization would start at update ", start_, ", after the stage"),
                mark_.text(), stage);
  if (static_inputs() && freeze_ <= start_)
    throw Error(ErrorKind::recipe,
                str("observers freeze at update ", freeze_,
                    ", before they see an input from update ", start_, " on"),
                mark_.text(), stage);
  hold(select(scene.weights, {options_.targets, options_.exclude, true}, mark_));
}

void Quantization::hold(const std::vector<nn::Parameter*>& parameters,
                        const std::map<std::string, float>& scales) {
  parameters_ = parameters;
  if (options_.weights != "none")
    for (nn::Parameter* parameter : parameters) parameter->transforms.push_back(&weights_);
  if (options_.activations != "none") hold_inputs(parameters, scales);
}

// Layers of a fused product read one input: they share its observer when all of them are held (with
// equal scales, where these are given), so that it sees each input once.
void Quantization::hold_inputs(const std::vector<nn::Parameter*>& parameters,
                               const std::map<std::string, float>& scales) {
  auto given = [&](const nn::Parameter* parameter) {
    auto it = scales.find(module_name(parameter->name));
    return it != scales.end() ? it->second : 0.0f;
  };
  std::map<const nn::Fused*, TensorInput*> shared;
  for (nn::Parameter* parameter : parameters) {
    if (!static_inputs()) {
      parameter->input = &token_input_;
      continue;
    }
    const nn::Fused* group = parameter->fused;
    auto alike = [&](const nn::Parameter* member) {
      return std::find(parameters.begin(), parameters.end(), member) != parameters.end() &&
             given(member) == given(parameter);
    };
    bool whole =
        group != nullptr && std::all_of(group->members.begin(), group->members.end(), alike);
    TensorInput* known = whole ? shared[group] : nullptr;
    if (known == nullptr) {
      known = &tensor_inputs_.emplace_back(phase_, options_.averaging);
      if (whole) shared[group] = known;
      if (given(parameter) != 0) known->set_scale(given(parameter));
    }
    parameter->input = known;
    inputs_[module_name(parameter->name)] = known;
  }
}

std::vector<Match> Quantization::matches() const {
  std::vector<std::string> parts;
  if (options_.weights != "none") parts.push_back("int8 per " + options_.weight_granularity);
  if (options_.activations != "none")
    parts.push_back(static_inputs() ? "activations per tensor (static)" : "activations per token");
  std::vector<Match> out;
  for (const nn::Parameter* parameter : parameters_)
    out.push_back(
        {parameter->name, parameter->latent.sizes().vec(), parameter->numel(), join(parts, ", ")});
  return out;
}

bool Quantization::before_update(const Progress& progress) {
  const bool was = phase_.active;
  phase_.active = progress.step >= start_;
  phase_.frozen = progress.step >= freeze_;
  return phase_.active != was;
}

nn::TensorMap Quantization::state() const {
  nn::TensorMap state;
  for (const auto& [module, input] : inputs_) state["input_range." + module] = input->state();
  return state;
}

void Quantization::load_state(const nn::TensorMap& state) {
  auto refuse = [](const std::string& what) {
    throw Error(ErrorKind::model, "the saved quantization state " + what, {},
                "it was saved with other options or is damaged; start the stage anew");
  };
  if (state.size() != inputs_.size()) refuse("names other layers than the recipe");
  for (const auto& [module, input] : inputs_) {
    auto it = state.find("input_range." + module);
    if (it == state.end()) refuse("has no input range of " + module);
    if (it->second.numel() != 3 || it->second.scalar_type() != torch::kFloat32 ||
        !it->second.isfinite().all().item<bool>())
      refuse("has a damaged input range of " + module);
    input->load_state(it->second);
  }
}

nn::Json Quantization::export_scheme() const {
  if (!phase_.active) return nullptr;
  nn::Json scheme{{"num_bits", 8}, {"weights", nullptr}, {"activations", nullptr}};
  if (options_.weights != "none") scheme["weights"] = {{"strategy", options_.weight_granularity}};
  if (options_.activations != "none")
    scheme["activations"] = {{"strategy", static_inputs() ? "tensor" : "token"},
                             {"dynamic", !static_inputs()}};
  scheme["modules"] = nn::Json::array();
  for (const nn::Parameter* parameter : parameters_)
    scheme["modules"].push_back(module_name(parameter->name));
  if (!static_inputs()) return scheme;
  nn::Json& scales = scheme["input_scales"] = nn::Json::object();
  for (const nn::Parameter* parameter : parameters_) {
    std::string module = module_name(parameter->name);
    const TensorInput& input = *inputs_.at(module);
    if (!input.seen())
      throw Error(ErrorKind::recipe, "the input of " + module + " was never observed", mark_.text(),
                  "exclude the layer, or use dynamic activations");
    if (!std::isfinite(input.scale()))
      throw Error(ErrorKind::diverged, "the input of " + module + " was not finite", mark_.text());
    scales[module] = static_cast<double>(input.scale());
  }
  return scheme;
}

std::string Quantization::report() const {
  int64_t count = 0;
  for (const nn::Parameter* parameter : parameters_) count += parameter->numel();
  std::string what = parameters_.empty() ? "" : matches().front().what;
  return str("quantization of ", with_commas(count), " weights in ", parameters_.size(),
             " layers: ", what, phase_.active ? "" : str(" (from update ", start_, " on)"));
}

std::unique_ptr<Constraint> make_quantization(const QuantizationOptions& options) {
  return std::make_unique<Quantization>(options);
}

void add_quantization(PruningRegistry& registry) {
  registry.add(
      recipe::describe<QuantizationOptions>(
          "quantization", "quantization", "int8 quantisation-aware training of linear layers",
          "scale = max|x| / 127.5;  q = round(clamp(x / scale, -128, 127));  x' = q * scale\n"
          "weights: max over an output row or a tensor;  activations: over a token, or a moving "
          "min and max:  m <- m + c (m_batch - m)\n"
          "dL/dx = dL/dx' where nothing was clamped (straight-through)",
          "Jacob et al. 2018, arXiv 1712.05877; Zafrir et al. 2019 (Q8BERT), arXiv 1910.06188; "
          "Zafrir et al. 2021, arXiv 2111.05754 (with sparsity); straight-through: Bengio et al. "
          "2013, arXiv 1308.3432",
          "The arithmetic is that of compressed-tensors, so the exported integers give the weights "
          "that were trained with. Symmetric, so zeros stay zeros; a pruning mask comes first. "
          "Rounding is half to even, in float32 whatever the compute precision. Embeddings are "
          "never quantised, a task head only when a target names it. Static scales move in "
          "training passes between `start` and `freeze_observers`."),
      [](const recipe::Component& component) {
        return make_quantization(component.as<QuantizationOptions>());
      });
}

}  // namespace compress::constraint
