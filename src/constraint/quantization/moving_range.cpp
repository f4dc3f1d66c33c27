#include "quantization/moving_range.h"

#include "quantization/kernels.h"

namespace compress::constraint {

using torch::Tensor;

bool on_fast_path(const Tensor& x) {
  return x.is_cpu() && (x.scalar_type() == torch::kFloat32 || x.scalar_type() == torch::kBFloat16);
}

void MovingRange::observe(const Tensor& input) {
  torch::NoGradGuard no_grad;
  if (input.numel() == 0) return;
  if (!on_fast_path(input)) {
    observe_elsewhere(input);
    return;
  }
  kernels::Range now{};
  Tensor x = input.contiguous();
  by_type(x, [&](auto tag) { now = kernels::range(x.const_data_ptr<decltype(tag)>(), x.numel()); });
  if (phase_.processes != nullptr) {  // the range of the whole batch
    Tensor range = torch::tensor({-now.low, now.high});
    phase_.processes->maximum(range);
    now = {-range.const_data_ptr<float>()[0], range.const_data_ptr<float>()[1]};
  }
  const double weight = seen_ ? averaging_ : 1;
  low_ = static_cast<float>(low_ + weight * (static_cast<double>(now.low) - low_));
  high_ = static_cast<float>(high_ + weight * (static_cast<double>(now.high) - high_));
  seen_ = true;
}

void MovingRange::observe_elsewhere(const Tensor& input) {
  auto [low, high] = input.detach().aminmax();
  Tensor now = torch::stack({low, high}).to(torch::kFloat32);
  if (phase_.processes != nullptr) {  // the range of the whole batch
    now[0].neg_();
    phase_.processes->maximum(now);
    now[0].neg_();
  }
  if (!seen_) {
    range_ = now;
  } else {
    if (!range_.defined())  // a state that was loaded
      range_ = torch::stack(
          {torch::full({}, low_, now.options()), torch::full({}, high_, now.options())});
    range_.lerp_(now, averaging_);
  }
  seen_ = true;
}

MovingRange::Ends MovingRange::ends() const {
  if (range_.defined()) {
    const Tensor values = range_.to(torch::kCPU);
    low_ = values.const_data_ptr<float>()[0];
    high_ = values.const_data_ptr<float>()[1];
  }
  return {low_, high_};
}

Tensor MovingRange::state() const {
  const Ends now = ends();
  return torch::tensor({now.low, now.high, seen_ ? 1.0f : 0.0f});
}

void MovingRange::load_state(const Tensor& state) {
  const Tensor values = state.to(torch::kCPU).contiguous();
  const float* value = values.const_data_ptr<float>();
  low_ = value[0];
  high_ = value[1];
  seen_ = value[2] != 0;
  range_ = Tensor();
}

}  // namespace compress::constraint
