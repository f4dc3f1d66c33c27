#include "draw.h"

#include <ATen/CPUGeneratorImpl.h>

#include <cmath>

#include "compress/base/random.h"
#include "compress/base/strings.h"

namespace compress::surgery {

namespace {

double number(const nn::Json& raw, const char* key, double absent) {
  const auto found = raw.is_object() ? raw.find(key) : raw.end();
  return found != raw.end() && found->is_number() ? found->get<double>() : absent;
}

// T5's rules (T5PreTrainedModel of transformers, after Mesh TensorFlow): a matrix is scaled by what
// it reads, so that its output has the variance of its input; queries also carry the scale that
// other families give the scores.
double t5_deviation(const Sized& tensor, const nn::ModelConfig& c) {
  const double factor = number(c.raw, "initializer_factor", 1);
  const auto hidden = static_cast<double>(c.hidden_size), width = static_cast<double>(c.head_width);
  const std::string& role = tensor.role;
  if (role == "word.weight" || role == "head.out.weight") return factor;
  if (ends_with(role, ".query.weight")) return factor / std::sqrt(hidden * width);
  if (ends_with(role, ".output.weight"))
    return factor / std::sqrt(static_cast<double>(c.attention_heads) * width);
  if (role == "inner.out.weight")
    return factor / std::sqrt(static_cast<double>(c.intermediate_size));
  return factor / std::sqrt(hidden);
}

double deviation(const Sized& tensor, const nn::ModelConfig& c) {
  if (c.family == "t5") return t5_deviation(tensor, c);
  const bool residual = tensor.role == "self.output.weight" || tensor.role == "inner.out.weight";
  if (c.family == "gpt2" && residual)
    return c.initializer_range / std::sqrt(2.0 * static_cast<double>(c.layers));
  return c.initializer_range;
}

// Sines and cosines of Vaswani et al. (2017), which DistilBERT keeps when it is told to.
torch::Tensor waves(const std::vector<int64_t>& shape) {
  const torch::Tensor places = torch::arange(shape[0], torch::kFloat64).unsqueeze(1);
  const torch::Tensor columns = torch::arange(shape[1], torch::kFloat64);
  const torch::Tensor powers = 2 * torch::floor(columns / 2) / static_cast<double>(shape[1]);
  const torch::Tensor angles = places / torch::pow(10000.0, powers);
  const torch::Tensor even = torch::remainder(columns, 2) == 0;
  return torch::where(even, angles.sin(), angles.cos()).to(torch::kFloat32);
}

}  // namespace

torch::Tensor draw(const Sized& tensor, const std::vector<int64_t>& shape,
                   const nn::ModelConfig& config, uint64_t seed) {
  if (ends_with(tensor.role, "norm.weight")) return torch::ones(shape);
  if (ends_with(tensor.role, ".bias")) return torch::zeros(shape);
  if (tensor.role == "position.weight" && config.frozen_positions) return waves(shape);
  at::Generator generator =
      at::make_generator<at::CPUGeneratorImpl>(stream_seed(seed, tensor.name));
  torch::Tensor value = torch::zeros(shape);
  value.normal_(0, deviation(tensor, config), generator);
  const bool padded = config.family != "t5" && config.family != "gpt2";
  if (tensor.role == "word.weight" && padded && config.pad_token_id >= 0 &&
      config.pad_token_id < shape[0])
    value[config.pad_token_id].zero_();
  return value;
}

}  // namespace compress::surgery
