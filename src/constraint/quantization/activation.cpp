#include "quantization/activation.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "compress/constraint/quantize.h"
#include "quantization/kernels.h"

namespace compress::constraint {

namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

Tensor by_rows(const Tensor& input) {
  torch::NoGradGuard no_grad;
  if (input.numel() == 0) return input.clone();
  if (!on_fast_path(input)) {
    Tensor x = input.to(torch::kFloat32);
    const Tensor scale = scale_of_largest(x.abs().amax({-1}, true));
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

// `grid` holds the scale and the zero, float32 scalars where `input` is. `inside`, unless null,
// receives a mask of what was not clamped (uint8).
Tensor by_grid(const Tensor& input, const std::vector<Tensor>& grid, Tensor* inside) {
  torch::NoGradGuard no_grad;
  Tensor v = input.to(torch::kFloat32) / grid[0] + grid[1];
  if (inside != nullptr) *inside = v.ge(-128).logical_and_(v.le(127)).to(torch::kUInt8);
  return v.clamp_(-128, 127).round_().sub_(grid[1]).mul_(grid[0]).add_(0).to(input.scalar_type());
}

Tensor by_grid(const Tensor& input, kernels::Grid grid, Tensor* inside) {
  torch::NoGradGuard no_grad;
  if (!on_fast_path(input)) {
    const auto options = input.options().dtype(torch::kFloat32);
    return by_grid(
        input, {torch::full({}, grid.scale, options), torch::full({}, grid.zero, options)}, inside);
  }
  Tensor x = input.contiguous(), out = torch::empty_like(x);
  if (inside != nullptr) *inside = torch::empty(x.sizes(), torch::kUInt8);
  uint8_t* marks = inside != nullptr ? inside->mutable_data_ptr<uint8_t>() : nullptr;
  by_type(x, [&](auto tag) {
    using T = decltype(tag);
    kernels::fake_quantize(x.const_data_ptr<T>(), out.mutable_data_ptr<T>(), marks, x.numel(),
                           grid);
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
class GridFunction : public torch::autograd::Function<GridFunction> {
 public:
  // `measured` holds the grid on the input's device, where that is where it is known; empty: it is
  // `scale` and `zero`.
  static Tensor forward(AutogradContext* context, const Tensor& input, double scale, int64_t zero,
                        const std::vector<Tensor>& measured) {
    Tensor inside;
    Tensor out =
        measured.empty()
            ? by_grid(input, kernels::Grid{static_cast<float>(scale), static_cast<int32_t>(zero)},
                      &inside)
            : by_grid(input, measured, &inside);
    context->saved_data["inside"] = inside;
    return out;
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    Tensor inside = context->saved_data["inside"].toTensor();
    return {gradients[0] * inside, Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

Tensor TokenInput::apply(const Tensor& input, const nn::RowInfo&) {
  if (!phase_.active) return input;
  return wants_gradient(input) ? RowsFunction::apply(input) : by_rows(input);
}

void TokenInput::round(const float* x, int64_t rows, int64_t width, int8_t* values, int64_t stride,
                       float* scales) const {
  kernels::quantize_rows(x, rows, width, {}, values, stride, scales);
}

Tensor TensorGrid::apply(const Tensor& x, const nn::RowInfo& rows) {
  if (!phase_.active) return x;
  if (rows.training && !phase_.frozen && !fixed_) range_.observe(rows.of(x));
  if (!seen()) return x;
  std::vector<Tensor> here;
  if (!fixed_ && range_.on_device().defined()) here = measured();
  const kernels::Grid known = here.empty() ? grid() : kernels::Grid();
  if (wants_gradient(x))
    return GridFunction::apply(x, static_cast<double>(known.scale),
                               static_cast<int64_t>(known.zero), here);
  return here.empty() ? by_grid(x, known, nullptr) : by_grid(x, here, nullptr);
}

std::vector<Tensor> TensorGrid::measured() const {
  const Tensor& range = range_.on_device();
  if (!affine_) {
    const Tensor scale = scale_of_largest(range.abs().amax());
    return {scale, torch::zeros_like(scale)};
  }
  const Tensor low = range[0].clamp_max(0), high = range[1].clamp_min(0);
  Tensor scale = (high - low) / torch::full_like(low, 255);
  scale.clamp_min_(std::numeric_limits<float>::epsilon());
  return {scale, (-low / scale).round_().clamp_(0, 255).sub_(128)};
}

// 0 always lies in the range.
kernels::Grid TensorGrid::grid() const {
  if (fixed_) return *fixed_;
  const MovingRange::Ends ends = range_.ends();
  if (!affine_) return {kernels::scale_of(std::max(std::fabs(ends.low), std::fabs(ends.high))), 0};
  const float low = std::min(ends.low, 0.0f), high = std::max(ends.high, 0.0f);
  const float scale = (high - low) / 255.0f, least = std::numeric_limits<float>::epsilon();
  const kernels::Grid grid{scale < least ? least : scale, 0};
  if (!std::isfinite(grid.scale)) return grid;
  return {grid.scale,
          static_cast<int32_t>(std::clamp(std::nearbyint(-low / grid.scale), 0.0f, 255.0f)) - 128};
}

void TensorInput::round(const float* x, int64_t rows, int64_t width, int8_t* values, int64_t stride,
                        float* scales) const {
  kernels::quantize_rows(x, rows, width, grid_.grid(), values, stride, scales);
}

}  // namespace compress::constraint
