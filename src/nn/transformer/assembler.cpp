#include "transformer/assembler.h"

#include <ATen/CPUGeneratorImpl.h>

#include "compress/base/error.h"
#include "compress/base/random.h"
#include "compress/base/strings.h"

namespace compress::nn {

using torch::Tensor;

Assembler::Assembler(const ModelState& state, ParamTable& params, uint64_t seed, Missing missing)
    : state_(state),
      params_(params),
      missing_(missing),
      generator_(at::make_generator<at::CPUGeneratorImpl>(stream_seed(seed, "init"))) {}

Parameter* Assembler::take(const std::string& name, Role role, int layer,
                           std::vector<int64_t> shape, double fresh) {
  auto it = state_.tensors.find(name);
  Tensor value;
  if (it != state_.tensors.end()) {
    if (it->second.sizes() != shape) {
      problems_.push_back(compress::str(name, " has shape ", it->second.sizes(),
                                        ", the config asks for ", at::IntArrayRef(shape)));
      return nullptr;
    }
    if (Parameter* known = params_.find(name)) return known;
    value = it->second.detach().to(torch::kFloat32).clone(at::MemoryFormat::Contiguous);
  } else if (missing_ == Missing::zeros) {
    if (Parameter* known = params_.find(name)) return known;
    value = torch::empty(shape, torch::kMeta);
  } else if (fresh >= 0) {
    value = torch::zeros(shape);
    if (fresh > 0) value.normal_(0, fresh, generator_);
  } else {
    problems_.push_back(name + " is missing");
    return nullptr;
  }
  Parameter& parameter = params_.add(name, role, layer, value);
  parameter.castable = layer >= 0 && role != Role::norm;
  return &parameter;
}

Linear Assembler::linear(const std::string& name, Role role, int layer, int64_t out, int64_t in,
                         bool bias, double fresh) {
  Linear result;
  result.weight = take(name + ".weight", role, layer, {out, in}, fresh);
  if (bias) result.bias = take(name + ".bias", Role::bias, layer, {out}, fresh < 0 ? -1 : 0);
  return result;
}

Norm Assembler::norm(const std::string& name, int layer, int64_t width, NormKind kind, double eps,
                     bool fresh) {
  Norm result;
  result.eps = eps;
  result.rms = kind == NormKind::rms;
  const bool initialise = fresh && !has(name + ".weight");
  result.weight = take(name + ".weight", Role::norm, layer, {width}, fresh ? 0 : -1);
  if (!result.rms) result.bias = take(name + ".bias", Role::norm, layer, {width}, fresh ? 0 : -1);
  torch::NoGradGuard no_grad;
  if (initialise && result.weight != nullptr) result.weight->latent.fill_(1);
  return result;
}

void Assembler::finish() const {
  if (problems_.empty()) return;
  std::vector<std::string> shown(problems_.begin(),
                                 problems_.begin() + std::min<size_t>(problems_.size(), 12));
  if (shown.size() < problems_.size())
    shown.push_back(str("and ", problems_.size() - shown.size(), " more"));
  throw Error(ErrorKind::model, "tensors do not fit the config: " + join(shown, "; "), {},
              "the weights and config.json must belong to the same model");
}

}  // namespace compress::nn
