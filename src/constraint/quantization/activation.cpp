#include "quantization/activation.h"

#include <algorithm>
#include <cmath>

#include "quantization/kernels.h"

namespace compress::constraint {

namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

bool on_fast_path(const Tensor& x) {
  return x.is_cpu() && (x.scalar_type() == torch::kFloat32 || x.scalar_type() == torch::kBFloat16);
}

// Calls run(type tag) with float or bfloat16.
template <class Run>
void by_type(const Tensor& x, const Run& run) {
  if (x.scalar_type() == torch::kFloat32) {
    run(float{});
  } else {
    run(c10::BFloat16{});
  }
}

Tensor by_rows(const Tensor& input) {
  torch::NoGradGuard no_grad;
  if (input.numel() == 0) return input.clone();
  if (!on_fast_path(input)) {
    Tensor x = input.to(torch::kFloat32);
    Tensor most = x.abs().amax({-1}, true);
    // A division by a number would be turned into a product with its inverse on CUDA.
    Tensor scale = most / torch::full_like(most, 127.5);
    scale.masked_fill_(scale == 0, std::numeric_limits<float>::epsilon());
    return x.div(scale).clamp_(-128, 127).round_().mul_(scale).add_(0).to(input.scalar_type());
  }
  Tensor x = input.contiguous(), out = torch::empty_like(x);
  by_type(x, [&](auto tag) {
    using T = decltype(tag);
    int64_t width = x.size(-1);
    kernels::fake_quantize_rows(x.const_data_ptr<T>(), out.mutable_data_ptr<T>(), x.numel() / width,
                                width);
  });
  return out;
}

// `scale` is a float32 scalar where `input` is. `inside`, unless null, receives a mask of what was
// not clamped (uint8).
Tensor by_scale(const Tensor& input, const Tensor& scale, Tensor* inside) {
  torch::NoGradGuard no_grad;
  Tensor v = input.to(torch::kFloat32) / scale;
  if (inside != nullptr) *inside = v.ge(-128).logical_and_(v.le(127)).to(torch::kUInt8);
  return v.clamp_(-128, 127).round_().mul_(scale).add_(0).to(input.scalar_type());
}

Tensor by_scale(const Tensor& input, float scale, Tensor* inside) {
  torch::NoGradGuard no_grad;
  if (!on_fast_path(input))
    return by_scale(input, torch::full({}, scale, input.options().dtype(torch::kFloat32)), inside);
  Tensor x = input.contiguous(), out = torch::empty_like(x);
  if (inside != nullptr) *inside = torch::empty(x.sizes(), torch::kUInt8);
  uint8_t* marks = inside != nullptr ? inside->mutable_data_ptr<uint8_t>() : nullptr;
  by_type(x, [&](auto tag) {
    using T = decltype(tag);
    kernels::fake_quantize(x.const_data_ptr<T>(), out.mutable_data_ptr<T>(), marks, x.numel(),
                           scale);
  });
  return out;
}

bool wants_gradient(const Tensor& input) {
  return torch::GradMode::is_enabled() && input.requires_grad();
}

// Straight-through: the gradient passes as it is, and nothing is kept for it.
class RowsFunction : public torch::autograd::Function<RowsFunction> {
 public:
  static Tensor forward(AutogradContext*, const Tensor& input) { return by_rows(input); }
  static variable_list backward(AutogradContext*, variable_list gradients) { return gradients; }
};

// Straight-through within the range, 0 outside.
class ScaleFunction : public torch::autograd::Function<ScaleFunction> {
 public:
  // `measured` holds the scale on the input's device, where that is where it is known. (A list, as
  // an argument of a function must not be an undefined tensor.)
  static Tensor forward(AutogradContext* context, const Tensor& input, double scale,
                        const std::vector<Tensor>& measured) {
    Tensor inside;
    Tensor out = measured.empty() ? by_scale(input, static_cast<float>(scale), &inside)
                                  : by_scale(input, measured[0], &inside);
    context->saved_data["inside"] = inside;
    return out;
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    Tensor inside = context->saved_data["inside"].toTensor();
    return {gradients[0] * inside, Tensor(), Tensor()};
  }
};

}  // namespace

Tensor TokenInput::apply(const Tensor& input, const nn::Rows&) {
  if (!phase_.active) return input;
  return wants_gradient(input) ? RowsFunction::apply(input) : by_rows(input);
}

void TokenInput::round(const float* x, int64_t rows, int64_t width, int8_t* values, int64_t stride,
                       float* scales) const {
  kernels::quantize_rows(x, rows, width, 0, values, stride, scales);
}

Tensor TensorInput::apply(const Tensor& input, const nn::Rows& rows) {
  if (!phase_.active) return input;
  if (rows.training && !phase_.frozen && fixed_ == 0) observe(rows.of(input));
  if (!seen_) return input;
  const Tensor measured = range_.defined() && fixed_ == 0 ? measured_scale() : Tensor();
  const float known = measured.defined() ? 0 : scale();
  if (wants_gradient(input))
    return ScaleFunction::apply(
        input, static_cast<double>(known),
        measured.defined() ? std::vector<Tensor>{measured} : std::vector<Tensor>{});
  return measured.defined() ? by_scale(input, measured, nullptr) : by_scale(input, known, nullptr);
}

void TensorInput::round(const float* x, int64_t rows, int64_t width, int8_t* values, int64_t stride,
                        float* scales) const {
  kernels::quantize_rows(x, rows, width, scale(), values, stride, scales);
}

void TensorInput::observe(const Tensor& input) {
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

void TensorInput::observe_elsewhere(const Tensor& input) {
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

Tensor TensorInput::measured_scale() const {
  Tensor most = range_.abs().amax();
  Tensor scale = most / torch::full_like(most, 127.5);
  return scale.masked_fill_(scale == 0, std::numeric_limits<float>::epsilon());
}

void TensorInput::read_range() const {
  if (!range_.defined()) return;
  Tensor values = range_.to(torch::kCPU);
  low_ = values.const_data_ptr<float>()[0];
  high_ = values.const_data_ptr<float>()[1];
}

float TensorInput::scale() const {
  if (fixed_ != 0) return fixed_;
  read_range();
  // 0 always lies in the range.
  return kernels::scale_of(
      std::max(std::fabs(std::min(low_, 0.0f)), std::fabs(std::max(high_, 0.0f))));
}

void TensorInput::set_scale(float scale) {
  fixed_ = scale;
  seen_ = true;
}

Tensor TensorInput::state() const {
  read_range();
  return torch::tensor({low_, high_, seen_ ? 1.0f : 0.0f});
}

void TensorInput::load_state(const Tensor& state) {
  Tensor values = state.to(torch::kCPU).contiguous();
  const float* value = values.const_data_ptr<float>();
  low_ = value[0];
  high_ = value[1];
  seen_ = value[2] != 0;
  range_ = Tensor();
}

}  // namespace compress::constraint
