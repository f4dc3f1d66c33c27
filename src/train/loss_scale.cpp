#include "loss_scale.h"

#include "compress/base/error.h"

namespace compress::train {

LossScale::LossScale(torch::Device device)
    : scale_(torch::full({}, initial, torch::dtype(torch::kFloat32).device(device))),
      good_(torch::zeros({}, torch::dtype(torch::kInt32).device(device))),
      found_(torch::zeros_like(scale_)),
      skipped_(torch::zeros_like(scale_)) {}

void LossScale::begin() {
  found_.zero_();
}

void LossScale::unscale(const std::vector<nn::Parameter*>& parameters) {
  torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> gradients;
  for (const nn::Parameter* parameter : parameters)
    if (parameter->latent.grad().defined()) gradients.push_back(parameter->latent.grad());
  if (gradients.empty()) return;
  // The scale is a power of 2, so its inverse is exact.
  at::_amp_foreach_non_finite_check_and_unscale_(gradients, found_, scale_.reciprocal());
}

void LossScale::update() {
  torch::NoGradGuard no_grad;
  skipped_.add_(found_);
  at::_amp_update_scale_(scale_, good_, found_, growth, backoff, interval);
}

double LossScale::scale() const {
  return scale_.item<double>();
}

int64_t LossScale::skipped_updates() const {
  return static_cast<int64_t>(skipped_.item<double>());
}

nn::TensorMap LossScale::state() const {
  return {{"scale", scale_}, {"good", good_}, {"skipped", skipped_}};
}

void LossScale::load_state(const nn::TensorMap& state) {
  const std::pair<const char*, torch::Tensor*> parts[] = {
      {"scale", &scale_}, {"good", &good_}, {"skipped", &skipped_}};
  for (const auto& [name, into] : parts) {
    auto it = state.find(name);
    if (it == state.end() || it->second.numel() != 1 ||
        it->second.scalar_type() != into->scalar_type())
      throw Error(ErrorKind::model,
                  std::string("the saved state has no loss scale: '") + name + "'", {},
                  "it was saved with another precision; start the stage anew");
    into->copy_(it->second.reshape({}));
  }
  if (!(scale() > 0) || !std::isfinite(scale()) || good_.item<int32_t>() < 0 ||
      !(skipped_.item<double>() >= 0))
    throw Error(ErrorKind::model, "the saved state has a damaged loss scale");
}

}  // namespace compress::train
