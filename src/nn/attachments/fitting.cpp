#include "attachments/fitting.h"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/random.h"
#include "compress/base/strings.h"

namespace compress::nn {

using torch::Tensor;

namespace {

const char* word(Sublayer sublayer) {
  switch (sublayer) {
    case Sublayer::attention:
      return "attention";
    case Sublayer::cross_attention:
      return "cross_attention";
    default:
      return "feed_forward";
  }
}

[[noreturn]] void refuse(const AttachmentSpec& spec, const std::string& what,
                         const std::string& hint = {}) {
  throw Error(ErrorKind::model, spec.kind + " '" + spec.name + "' " + what, {}, hint);
}

}  // namespace

Fitting::Fitting(const ModelState& state, const ModelConfig& config, ParamTable& params,
                 uint64_t seed)
    : state_(state),
      config_(config),
      params_(params),
      seed_(seed),
      shapes_only_(!state.tensors.empty() && state.tensors.begin()->second.is_meta()) {
  const Architecture plan = architecture(config);
  if (plan.encoder.layers > 0) add_sites(plan.encoder, 0, false);
  if (plan.decoder.layers > 0) add_sites(plan.decoder, plan.encoder.layers, true);
}

void Fitting::add_sites(const Stack& stack, int64_t first, bool decoder) {
  const int64_t width = stack.head_width > 0 ? stack.head_width : config_.head_width;
  for (int64_t i = 0; i < stack.layers; ++i)
    for (Sublayer sublayer :
         {Sublayer::attention, Sublayer::cross_attention, Sublayer::feed_forward}) {
      if (sublayer == Sublayer::cross_attention && !stack.cross) continue;
      sites_.push_back({{first + i, sublayer},
                        str(stack.layer_prefix, i, ".", word(sublayer)),
                        sublayer == Sublayer::feed_forward ? 0 : stack.kv_heads * width,
                        decoder});
    }
}

std::vector<Site> Fitting::sites_of(const std::vector<std::string>& names) const {
  for (const std::string& name : names)
    if (name != "attention" && name != "cross_attention" && name != "feed_forward")
      refuse(*spec_, "names the sub-layer '" + name + "'",
             "sub-layers: attention, cross_attention, feed_forward");
  std::vector<Site> chosen;
  for (const Site& site : sites_)
    if (std::find(names.begin(), names.end(), word(site.place.sublayer)) != names.end())
      chosen.push_back(site);
  if (chosen.empty()) refuse(*spec_, "finds none of its sub-layers: " + join(names, ", "));
  return chosen;
}

Parameter* Fitting::take(const std::string& name, int64_t layer, std::vector<int64_t> shape,
                         const Draw& draw) {
  const std::string full = attachments_prefix + spec_->name + "." + name;
  const auto known = state_.tensors.find(full);
  Tensor value;
  if (known != state_.tensors.end()) {
    if (known->second.sizes() != shape)
      refuse(*spec_, compress::str("has the tensor ", full, " of shape ", known->second.sizes(),
                                   ", its options ask for ", at::IntArrayRef(shape)));
    value = known->second.detach().to(torch::kFloat32).clone(at::MemoryFormat::Contiguous);
  } else if (shapes_only_) {
    value = torch::empty(shape, torch::TensorOptions(torch::kFloat32).device(torch::kMeta));
  } else {
    value = torch::zeros(shape);
    at::Generator generator =
        at::make_generator<at::CPUGeneratorImpl>(stream_seed(seed_, "init/" + full));
    if (draw) draw(value, generator);
  }
  Parameter& parameter = params_.add(full, Role::attachment, static_cast<int>(layer), value);
  parameter.castable = layer >= 0;
  return &parameter;
}

Linear Fitting::linear(const std::string& name, int64_t layer, int64_t out, int64_t in,
                       const Draw& draw) {
  return {take(name + ".weight", layer, {out, in}, draw), take(name + ".bias", layer, {out})};
}

int64_t whole_option(const AttachmentSpec& spec, const char* key, int64_t fallback, int64_t low,
                     int64_t high) {
  const int64_t value = spec.options.value(key, fallback);
  if (value < low || value > high)
    refuse(spec, str("has ", key, " ", value, ", outside of ", low, " .. ", high));
  return value;
}

double real_option(const AttachmentSpec& spec, const char* key, double fallback, double low,
                   double high) {
  const double value = spec.options.value(key, fallback);
  if (!(value >= low && value <= high))
    refuse(spec, str("has ", key, " ", shortest(value), ", outside of ", shortest(low), " .. ",
                     shortest(high)));
  return value;
}

std::vector<std::string> list_option(const AttachmentSpec& spec, const char* key,
                                     std::vector<std::string> fallback) {
  const std::vector<std::string> list = spec.options.value(key, std::move(fallback));
  if (list.empty()) refuse(spec, std::string("has an empty list `") + key + "`");
  return list;
}

std::string activation_option(const AttachmentSpec& spec, std::string fallback) {
  const std::string name = spec.options.value("activation", std::move(fallback));
  if (!is_activation(name))
    refuse(spec, "has the activation '" + name + "'", "supported: gelu, gelu_new, relu, silu");
  return name;
}

}  // namespace compress::nn
