#include "averaging/average.h"

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/strings.h"

namespace compress::optim {

void SnapshotAverage::bind(const roles::Scene& scene) {
  const Length& length = scene.length;
  start_ = begin_.resolve(length.steps_per_epoch, length.total_steps);
  if (first_ == First::updated) start_ = std::max<int64_t>(1, start_);
  every_ = std::max<int64_t>(1, period_.resolve(length.steps_per_epoch, length.total_steps));
  snapshot_ = first_ == First::later ? start_ + every_ : start_;
  if (snapshot_ > length.total_steps)
    throw Error(ErrorKind::recipe,
                str("the first weights would be averaged after update ", snapshot_), mark_.text(),
                str("the stage has ", length.total_steps, " updates"));
  count_ = 0;
  swapped_ = false;
  parameters_ = scene.weights.trainable();
  averages_.clear();
  index_.clear();
  for (nn::Parameter* parameter : parameters_) {
    index_[parameter] = averages_.size();
    averages_.push_back(
        torch::zeros_like(parameter->latent, parameter->latent.options().requires_grad(false)));
  }
  leave({});
}

void SnapshotAverage::leave(const std::vector<const nn::Parameter*>& parameters) {
  own_live_.clear();
  own_averages_.clear();
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (std::find(parameters.begin(), parameters.end(), parameters_[i]) != parameters.end())
      continue;
    own_live_.push_back(parameters_[i]->latent);
    own_averages_.push_back(averages_[i]);
  }
}

double SnapshotAverage::share(int64_t updates) const {
  if (updates < snapshot_ || (updates - snapshot_) % every_ != 0) return 0;
  const int64_t before = (updates - snapshot_) / every_;
  return before == 0 ? 1 : share_of_next(before);
}

torch::Tensor& SnapshotAverage::average(const nn::Parameter& parameter) {
  static torch::Tensor none;
  auto it = index_.find(&parameter);
  return it == index_.end() ? none : averages_[it->second];
}

bool SnapshotAverage::before_update(const Progress& progress) {
  if (snapshot_ != 0 || progress.step != 0 || count_ != 0) return false;
  torch::NoGradGuard no_grad;
  // Nobody has updated anything yet: also what others keep is taken here.
  for (size_t i = 0; i < parameters_.size(); ++i) averages_[i].copy_(parameters_[i]->latent);
  count_ = 1;
  return false;
}

void SnapshotAverage::after_update(const Progress& progress) {
  if (swapped_) throw Error(ErrorKind::internal, "weights were averaged while exchanged");
  const double part = share(progress.step);
  if (part == 0) return;
  torch::NoGradGuard no_grad;
  if (!own_live_.empty()) {
    if (part == 1)
      at::_foreach_copy_(own_averages_, own_live_);
    else
      at::_foreach_lerp_(own_averages_, own_live_, part);
  }
  ++count_;
}

void SnapshotAverage::swap() {
  if (!ready()) throw Error(ErrorKind::internal, "weights were exchanged before any average");
  torch::NoGradGuard no_grad;
  // Memory changes hands; the latents stay the same leaves, and what aliases one follows it.
  for (size_t i = 0; i < parameters_.size(); ++i) {
    torch::Tensor& latent = parameters_[i]->latent;
    torch::Tensor kept = latent.detach();
    latent.set_data(averages_[i]);
    averages_[i] = kept;
  }
  swapped_ = !swapped_;
}

nn::TensorMap SnapshotAverage::state() const {
  if (swapped_) throw Error(ErrorKind::internal, "averages were saved while exchanged");
  nn::TensorMap state{{"count", torch::tensor(count_, torch::kLong)}};
  if (count_ > 0)
    for (size_t i = 0; i < parameters_.size(); ++i)
      state["average." + parameters_[i]->name] = averages_[i];
  return state;
}

void SnapshotAverage::load_state(const nn::TensorMap& state) {
  torch::Tensor count = torch::zeros({}, torch::kLong);
  load_tensor(state, "count", count);
  count_ = count.item<int64_t>();
  if (count_ < 0) throw Error(ErrorKind::model, "the saved state has a negative count");
  if (count_ > 0)
    for (size_t i = 0; i < parameters_.size(); ++i)
      load_tensor(state, "average." + parameters_[i]->name, averages_[i]);
}

}  // namespace compress::optim
