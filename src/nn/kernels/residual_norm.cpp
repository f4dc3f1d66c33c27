// norm(residual + dropout(x)) in one pass over memory, forward and backward.

#include <ATen/Parallel.h>

#include "compress/nn/layers.h"
#include "kernels/norm_forward.h"

namespace compress::nn {

namespace {

using c10::BFloat16;
using torch::Tensor;

// d_gain and d_bias [width] collect over rows. `d_sum` is null or a gradient of the sum besides
// that through the norm. `work` holds three rows of floats.
template <int lanes, class T>
COMPRESS_INLINE void backward_row(const NormTask& task, int64_t row, const T* dy, const T* sum,
                                  const T* d_sum, const float* stats, const float* gain, T* dx,
                                  T* d_residual, float* d_gain, float* d_bias, float* work) {
  const int64_t n = task.width;
  float* normal = work;      // (sum - mean) / deviation
  float* scaled = work + n;  // dy * gain
  float* third = work + 2 * n;
  const float mean = stats[0], inverse = stats[1];
  for (int64_t j = 0; j < n; ++j) {
    const float g = simd::to_float(dy[j]);
    normal[j] = (simd::to_float(sum[j]) - mean) * inverse;
    d_gain[j] += g * normal[j];
    d_bias[j] += g;
    scaled[j] = g * gain[j];
    third[j] = scaled[j] * normal[j];
  }
  const float average = task.rms ? 0.0f : total<lanes>(scaled, n) / static_cast<float>(n);
  const float along = total<lanes>(third, n) / static_cast<float>(n);
  for (int64_t j = 0; j < n; ++j) scaled[j] = (scaled[j] - average - normal[j] * along) * inverse;
  if (d_sum != nullptr)
    for (int64_t j = 0; j < n; ++j) scaled[j] += simd::to_float(d_sum[j]);
  for (int64_t j = 0; j < n; ++j) simd::from_float(scaled[j], d_residual[j]);
  if (task.threshold == 0) return;
  draw(task, row, third);
  for (int64_t j = 0; j < n; ++j) simd::from_float(scaled[j] * third[j], dx[j]);
}

// `d_sum` may be null.
template <class T>
struct BackwardRows {
  const T *dy, *sum, *d_sum;
  const float *stats, *gain;
  T *dx, *d_residual;
};

template <class T>
COMPRESS_INLINE const T* from_row(const T* base, int64_t offset) {
  return base == nullptr ? nullptr : base + offset;
}
template <int lanes, class T>
COMPRESS_INLINE void forward_rows_body(const NormTask& task, int64_t begin, int64_t end,
                                       const ForwardRows<T>& rows, float* work) {
  if constexpr (std::is_same_v<T, float>) {
    if (task.threshold == 0 && task.width % lanes == 0)
      return forward_plain_rows<lanes>(task, begin, end, rows);
  }
  for (int64_t r = begin; r < end; ++r) {
    const int64_t at = r * task.width;
    forward_row<lanes>(task, r, rows.x + at, from_row(rows.residual, at), rows.gain, rows.bias,
                       rows.sum + at, rows.y + at, rows.stats + 2 * r, work);
  }
}
template <int lanes, class T>
COMPRESS_INLINE void backward_rows_body(const NormTask& task, int64_t begin, int64_t end,
                                        const BackwardRows<T>& rows, float* d_gain, float* d_bias,
                                        float* work) {
  for (int64_t r = begin; r < end; ++r) {
    const int64_t at = r * task.width;
    backward_row<lanes>(task, r, rows.dy + at, rows.sum + at, from_row(rows.d_sum, at),
                        rows.stats + 2 * r, rows.gain, rows.dx + at, rows.d_residual + at, d_gain,
                        d_bias, work);
  }
}

// Overloads for float and bfloat16.
#define COMPRESS_NORM(T)                                                                           \
  COMPRESS_KERNEL(                                                                                 \
      forward_rows,                                                                                \
      (const NormTask& task, int64_t begin, int64_t end, const ForwardRows<T>& rows, float* work), \
      (task, begin, end, rows, work))                                                              \
  COMPRESS_KERNEL(backward_rows,                                                                   \
                  (const NormTask& task, int64_t begin, int64_t end, const BackwardRows<T>& rows,  \
                   float* d_gain, float* d_bias, float* work),                                     \
                  (task, begin, end, rows, d_gain, d_bias, work))
COMPRESS_NORM(float)
COMPRESS_NORM(BFloat16)

// How one call norms.
struct Form {
  double eps;
  bool rms;
  double p = 0;
  uint64_t seed = 0;
  int64_t first_row = 0;
  Tensor places = {};  // [rows] int64, or undefined
  NormTask task(int64_t width) const {
    const uint32_t threshold = simd::drop_threshold(p);
    return {width,
            static_cast<float>(eps),
            threshold,
            static_cast<float>(65536.0 / (65536.0 - threshold)),
            seed,
            first_row,
            places.defined() ? places.const_data_ptr<int64_t>() : nullptr,
            rms};
  }
};

constexpr int64_t rows_a_part = 64;

struct NormResult {
  Tensor y, sum, stats;
};
// Contiguous x [rows, width]; `residual` and `bias` may be undefined.
NormResult norm_forward(const Tensor& x, const Tensor& residual, const Tensor& gain,
                        const Tensor& bias, const Form& form) {
  const NormTask task = form.task(x.size(1));
  const Tensor added = bias.defined() ? bias : torch::zeros({task.width}, torch::kFloat32);
  NormResult out{torch::empty_like(x), residual.defined() ? torch::empty_like(x) : x,
                 torch::empty({x.size(0), 2}, torch::kFloat32)};
  simd::dispatch(x.scalar_type(), [&](auto sample) {
    using T = decltype(sample);
    const ForwardRows<T> rows{x.const_data_ptr<T>(),
                              residual.defined() ? residual.const_data_ptr<T>() : nullptr,
                              gain.const_data_ptr<float>(),
                              added.const_data_ptr<float>(),
                              residual.defined() ? out.sum.mutable_data_ptr<T>() : nullptr,
                              out.y.mutable_data_ptr<T>(),
                              out.stats.mutable_data_ptr<float>()};
    at::parallel_for(0, x.size(0), rows_a_part, [&](int64_t begin, int64_t end) {
      std::vector<float> work(static_cast<size_t>(2 * task.width));
      forward_rows(task, begin, end, rows, work.data());
    });
  });
  return out;
}

struct NormGradients {
  Tensor x, residual, gain, bias;
};
NormGradients norm_backward(const Tensor& dy, const Tensor& sum, const Tensor& d_sum,
                            const Tensor& stats, const Tensor& gain, const Form& form) {
  const NormTask task = form.task(sum.size(1));
  // Partial sums belong to fixed stretches of rows: the result does not depend on the number of
  // threads.
  const int64_t rows = sum.size(0), n = task.width;
  const int64_t parts = (rows + rows_a_part - 1) / rows_a_part;
  Tensor d_residual = torch::empty_like(sum);
  Tensor dx = task.threshold > 0 ? torch::empty_like(sum) : d_residual;
  Tensor partial = torch::zeros({2, parts, n}, torch::kFloat32);
  float* slots = partial.mutable_data_ptr<float>();
  simd::dispatch(sum.scalar_type(), [&](auto sample) {
    using T = decltype(sample);
    const BackwardRows<T> each{dy.const_data_ptr<T>(),
                               sum.const_data_ptr<T>(),
                               d_sum.defined() ? d_sum.const_data_ptr<T>() : nullptr,
                               stats.const_data_ptr<float>(),
                               gain.const_data_ptr<float>(),
                               dx.mutable_data_ptr<T>(),
                               d_residual.mutable_data_ptr<T>()};
    at::parallel_for(0, parts, 1, [&](int64_t first, int64_t last) {
      std::vector<float> work(static_cast<size_t>(3 * n));
      for (int64_t part = first; part < last; ++part)
        backward_rows(task, part * rows_a_part, std::min(rows, (part + 1) * rows_a_part), each,
                      slots + part * n, slots + (parts + part) * n, work.data());
    });
  });
  Tensor sums = partial.sum(1);
  return {dx, d_residual, sums[0], sums[1]};
}

class NormFunction : public torch::autograd::Function<NormFunction> {
 public:
  // Gives y, and with a residual and `with_sum` the sum too.
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context,
                                                const Tensor& input,
                                                const std::optional<Tensor>& residual,
                                                const Tensor& gain,
                                                const std::optional<Tensor>& bias, const Form& form,
                                                bool with_sum) {
    auto [y, sum, stats] =
        norm_forward(input.contiguous(), residual.has_value() ? residual->contiguous() : Tensor(),
                     gain, bias.value_or(Tensor()), form);
    context->set_materialize_grads(false);
    context->save_for_backward({sum, stats, gain, form.places});
    context->saved_data["p"] = form.p;
    context->saved_data["eps"] = form.eps;
    context->saved_data["rms"] = form.rms;
    context->saved_data["seed"] = static_cast<int64_t>(form.seed);
    context->saved_data["first_row"] = form.first_row;
    context->saved_data["residual"] = residual.has_value();
    context->saved_data["bias"] = bias.has_value();
    if (!with_sum) return {y};
    return {y, sum};
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    auto saved = context->get_saved_variables();
    const Tensor &sum = saved[0], &stats = saved[1], &gain = saved[2];
    auto arrived = [&](size_t i) {
      return i < gradients.size() && gradients[i].defined()
                 ? gradients[i].to(sum.scalar_type()).contiguous()
                 : Tensor();
    };
    const Tensor dy = arrived(0), d_sum = arrived(1);
    if (!dy.defined() && !d_sum.defined()) return torch::autograd::variable_list(6);
    const Form form{context->saved_data["eps"].toDouble(),
                    context->saved_data["rms"].toBool(),
                    context->saved_data["p"].toDouble(),
                    static_cast<uint64_t>(context->saved_data["seed"].toInt()),
                    context->saved_data["first_row"].toInt(),
                    saved[3]};
    auto [dx, d_residual, d_gain, d_bias] =
        norm_backward(dy.defined() ? dy : torch::zeros_like(sum), sum, d_sum, stats, gain, form);
    return {dx,       context->saved_data["residual"].toBool() ? d_residual : Tensor(),
            d_gain,   context->saved_data["bias"].toBool() ? d_bias : Tensor(),
            Tensor(), Tensor()};
  }
};

const Tensor& gain_of(const Norm& norm) {
  return norm.weight->effective;
}
Tensor bias_of(const Norm& norm) {
  return norm.bias != nullptr ? norm.bias->effective : Tensor();
}
// Autograd takes no undefined tensors.
std::optional<Tensor> given_bias(const Norm& norm) {
  return norm.bias != nullptr ? std::optional<Tensor>(norm.bias->effective) : std::nullopt;
}

bool has_kernel(const Tensor& x, const Norm& norm) {
  const torch::ScalarType type = x.scalar_type();
  return x.is_cpu() && gain_of(norm).scalar_type() == torch::kFloat32 &&
         (type == torch::kFloat32 || type == torch::kBFloat16);
}

// In float32, of the last dimension.
Tensor rms_formula(const Tensor& x, const Tensor& gain, const Tensor& bias, double eps) {
  const Tensor wide = x.to(torch::kFloat32);
  Tensor y = wide * torch::rsqrt(wide.square().mean(-1, true) + eps) * gain;
  if (bias.defined()) y = y + bias;
  return y.to(x.scalar_type());
}

// norm(residual + dropout(x)), and the sum where asked for.
SumAndNorm sum_and_norm(const Tensor& x, const Tensor& residual, const Norm& norm, double p,
                        DropoutSeeds& seeds, bool with_sum) {
  const double rate = seeds.training() ? p : 0;
  const uint64_t seed = seeds.training() ? seeds.next() : 0;
  const bool own = has_kernel(x, norm) && x.dim() == 2 && x.size(1) % 4 == 0 &&
                   residual.scalar_type() == x.scalar_type();
  if (!own) {
    Tensor sum =
        (rate > 0 ? dropout(x, rate, seed, seeds.first_token() * x.size(1)) : x).add(residual);
    return {sum, norm(sum)};
  }
  const Form form{norm.eps, norm.rms, rate, seed, seeds.first_token(), seeds.tokens()};
  if (!torch::GradMode::is_enabled()) {
    NormResult out =
        norm_forward(x.contiguous(), residual.contiguous(), gain_of(norm), bias_of(norm), form);
    return {out.sum, out.y};
  }
  auto out = NormFunction::apply(x, std::optional<Tensor>(residual), gain_of(norm),
                                 given_bias(norm), form, with_sum);
  return {with_sum ? out[1] : Tensor(), out[0]};
}

}  // namespace

Tensor Norm::operator()(const Tensor& x) const {
  const Tensor& gain = gain_of(*this);
  const Tensor added = bias_of(*this);
  // PyTorch's CPU kernel sums the gradients of gains and biases in bf16, which loses a tenth of
  // them over some thousand rows and depends on the number of threads.
  const bool own = rms || x.scalar_type() == torch::kBFloat16;
  if (rms && !has_kernel(x, *this)) return rms_formula(x, gain, added, eps);
  if (own && has_kernel(x, *this)) {
    const Tensor rows = x.reshape({-1, x.size(-1)});
    const Form form{eps, rms};
    if (!torch::GradMode::is_enabled())
      return norm_forward(rows.contiguous(), {}, gain, added, form).y.view(x.sizes());
    return NormFunction::apply(rows, std::optional<Tensor>(), gain, given_bias(*this), form,
                               false)[0]
        .view(x.sizes());
  }
  // Norms keep float32 weights. PyTorch's CPU kernel mixes types, its CUDA kernel does not.
  if (!x.is_cpu() && x.scalar_type() != gain.scalar_type())
    return at::layer_norm(x.to(gain.scalar_type()), {gain.size(0)}, gain, added, eps)
        .to(x.scalar_type());
  return at::layer_norm(x, {gain.size(0)}, gain, added, eps);
}

Tensor residual_norm(const Tensor& x, const Tensor& residual, const Norm& norm, double p,
                     DropoutSeeds& seeds) {
  return sum_and_norm(x, residual, norm, p, seeds, false).normed;
}

SumAndNorm residual_sum_norm(const Tensor& x, const Tensor& residual, const Norm& norm, double p,
                             DropoutSeeds& seeds) {
  return sum_and_norm(x, residual, norm, p, seeds, true);
}

}  // namespace compress::nn
