// LayerNorm(residual + dropout(x)) in one pass over memory, forward and backward.

#include <ATen/Parallel.h>

#include "compress/nn/layers.h"
#include "simd.h"

namespace compress::nn {

namespace {

using c10::BFloat16;
using torch::Tensor;

// What all rows have in common.
struct NormTask {
  int64_t width;
  float eps;
  uint32_t threshold;  // of dropout; 0 = none
  float keep_scale;
  uint64_t seed;
  int64_t first_row;  // number of row 0 among those that the draws count
};

// factor[j] = 0 or keep_scale for the elements of row `row`; the same draws as dropout().
COMPRESS_INLINE void draw(const NormTask& task, int64_t row, float* factor) {
  constexpr int64_t chunk = 64;
  const auto first = static_cast<uint64_t>((task.first_row + row) * task.width / 4);
  uint16_t random[chunk];
  for (int64_t at = 0; at < task.width; at += chunk) {
    simd::random_lanes<chunk>(task.seed, first + static_cast<uint64_t>(at / 4), random);
    const int64_t count = std::min(chunk, task.width - at);
    for (int64_t i = 0; i < count; ++i)
      factor[at + i] = random[i] >= task.threshold ? task.keep_scale : 0.0f;
  }
}

COMPRESS_INLINE float total(const float* x, int64_t count) {
  simd::Vec sums{};
  int64_t j = 0;
  for (; j + simd::lanes <= count; j += simd::lanes) sums += simd::load(x + j);
  float sum = 0;
  for (int64_t k = 0; k < simd::lanes; ++k) sum += sums[k];
  for (; j < count; ++j) sum += x[j];
  return sum;
}

// `sum` keeps residual + dropout(x) as it was stored, so that backward sees what forward saw.
// `work` holds two rows of floats.
template <class T>
COMPRESS_INLINE void forward_row(const NormTask& task, int64_t row, const T* x, const T* residual,
                                 const float* gain, const float* bias, T* sum, T* y, float* stats,
                                 float* work) {
  const int64_t n = task.width;
  float* value = work;
  float* other = work + n;
  if (task.threshold > 0) {
    draw(task, row, other);
    for (int64_t j = 0; j < n; ++j)
      value[j] = simd::to_float(x[j]) * other[j] + simd::to_float(residual[j]);
  } else {
    for (int64_t j = 0; j < n; ++j) value[j] = simd::to_float(x[j]) + simd::to_float(residual[j]);
  }
  for (int64_t j = 0; j < n; ++j) simd::from_float(value[j], sum[j]);
  for (int64_t j = 0; j < n; ++j) value[j] = simd::to_float(sum[j]);
  const float mean = total(value, n) / static_cast<float>(n);
  for (int64_t j = 0; j < n; ++j) {
    value[j] -= mean;
    other[j] = value[j] * value[j];
  }
  const float inverse = 1.0f / std::sqrt(total(other, n) / static_cast<float>(n) + task.eps);
  for (int64_t j = 0; j < n; ++j) simd::from_float(value[j] * inverse * gain[j] + bias[j], y[j]);
  stats[0] = mean;
  stats[1] = inverse;
}

// d_gain and d_bias [width] collect over rows. `work` holds three rows of floats.
template <class T>
COMPRESS_INLINE void backward_row(const NormTask& task, int64_t row, const T* dy, const T* sum,
                                  const float* stats, const float* gain, T* dx, T* d_residual,
                                  float* d_gain, float* d_bias, float* work) {
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
  const float average = total(scaled, n) / static_cast<float>(n);
  const float along = total(third, n) / static_cast<float>(n);
  for (int64_t j = 0; j < n; ++j) scaled[j] = (scaled[j] - average - normal[j] * along) * inverse;
  for (int64_t j = 0; j < n; ++j) simd::from_float(scaled[j], d_residual[j]);
  if (task.threshold == 0) return;
  draw(task, row, third);
  for (int64_t j = 0; j < n; ++j) simd::from_float(scaled[j] * third[j], dx[j]);
}

COMPRESS_CLONES void forward_rows(const NormTask& task, int64_t begin, int64_t end, const float* x,
                                  const float* residual, const float* gain, const float* bias,
                                  float* sum, float* y, float* stats, float* work) {
  const int64_t n = task.width;
  for (int64_t r = begin; r < end; ++r)
    forward_row(task, r, x + r * n, residual + r * n, gain, bias, sum + r * n, y + r * n,
                stats + 2 * r, work);
}
COMPRESS_CLONES void forward_rows(const NormTask& task, int64_t begin, int64_t end,
                                  const BFloat16* x, const BFloat16* residual, const float* gain,
                                  const float* bias, BFloat16* sum, BFloat16* y, float* stats,
                                  float* work) {
  const int64_t n = task.width;
  for (int64_t r = begin; r < end; ++r)
    forward_row(task, r, x + r * n, residual + r * n, gain, bias, sum + r * n, y + r * n,
                stats + 2 * r, work);
}
COMPRESS_CLONES void backward_rows(const NormTask& task, int64_t begin, int64_t end,
                                   const float* dy, const float* sum, const float* stats,
                                   const float* gain, float* dx, float* d_residual, float* d_gain,
                                   float* d_bias, float* work) {
  const int64_t n = task.width;
  for (int64_t r = begin; r < end; ++r)
    backward_row(task, r, dy + r * n, sum + r * n, stats + 2 * r, gain, dx + r * n,
                 d_residual + r * n, d_gain, d_bias, work);
}
COMPRESS_CLONES void backward_rows(const NormTask& task, int64_t begin, int64_t end,
                                   const BFloat16* dy, const BFloat16* sum, const float* stats,
                                   const float* gain, BFloat16* dx, BFloat16* d_residual,
                                   float* d_gain, float* d_bias, float* work) {
  const int64_t n = task.width;
  for (int64_t r = begin; r < end; ++r)
    backward_row(task, r, dy + r * n, sum + r * n, stats + 2 * r, gain, dx + r * n,
                 d_residual + r * n, d_gain, d_bias, work);
}

NormTask task_of(const Tensor& x, double eps, double p, uint64_t seed, int64_t first_row) {
  const uint32_t threshold = simd::drop_threshold(p);
  return {x.size(1), static_cast<float>(eps),
          threshold, static_cast<float>(65536.0 / (65536.0 - threshold)),
          seed,      first_row};
}

constexpr int64_t rows_a_part = 64;

struct NormResult {
  Tensor y, sum, stats;
};
NormResult residual_norm_forward(const Tensor& input, const Tensor& residual_input,
                                 const Tensor& gain, const Tensor& bias, double eps, double p,
                                 uint64_t seed, int64_t first_row) {
  Tensor x = input.contiguous(), residual = residual_input.contiguous();
  const NormTask task = task_of(x, eps, p, seed, first_row);
  NormResult out{torch::empty_like(x), torch::empty_like(x),
                 torch::empty({x.size(0), 2}, torch::kFloat32)};
  simd::dispatch(x.scalar_type(), [&](auto sample) {
    using T = decltype(sample);
    at::parallel_for(0, x.size(0), rows_a_part, [&](int64_t begin, int64_t end) {
      std::vector<float> work(static_cast<size_t>(2 * task.width));
      forward_rows(task, begin, end, x.const_data_ptr<T>(), residual.const_data_ptr<T>(),
                   gain.const_data_ptr<float>(), bias.const_data_ptr<float>(),
                   out.sum.mutable_data_ptr<T>(), out.y.mutable_data_ptr<T>(),
                   out.stats.mutable_data_ptr<float>(), work.data());
    });
  });
  return out;
}

class ResidualNormFunction : public torch::autograd::Function<ResidualNormFunction> {
 public:
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& input,
                        const Tensor& residual, const Tensor& gain, const Tensor& bias, double eps,
                        double p, int64_t seed, int64_t first_row) {
    auto [y, sum, stats] = residual_norm_forward(input, residual, gain, bias, eps, p,
                                                 static_cast<uint64_t>(seed), first_row);
    context->save_for_backward({sum, stats, gain});
    context->saved_data["p"] = p;
    context->saved_data["eps"] = eps;
    context->saved_data["seed"] = seed;
    context->saved_data["first_row"] = first_row;
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    auto saved = context->get_saved_variables();
    const Tensor &sum = saved[0], &stats = saved[1], &gain = saved[2];
    Tensor dy = gradients[0].contiguous();
    const NormTask task =
        task_of(sum, context->saved_data["eps"].toDouble(), context->saved_data["p"].toDouble(),
                static_cast<uint64_t>(context->saved_data["seed"].toInt()),
                context->saved_data["first_row"].toInt());
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
      at::parallel_for(0, parts, 1, [&](int64_t first, int64_t last) {
        std::vector<float> work(static_cast<size_t>(3 * n));
        for (int64_t part = first; part < last; ++part)
          backward_rows(task, part * rows_a_part, std::min(rows, (part + 1) * rows_a_part),
                        dy.const_data_ptr<T>(), sum.const_data_ptr<T>(),
                        stats.const_data_ptr<float>(), gain.const_data_ptr<float>(),
                        dx.mutable_data_ptr<T>(), d_residual.mutable_data_ptr<T>(),
                        slots + part * n, slots + (parts + part) * n, work.data());
      });
    });
    Tensor sums = partial.sum(1);
    return {dx, d_residual, sums[0], sums[1], Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

Tensor residual_norm(const Tensor& x, const Tensor& residual, const LayerNorm& norm, double p,
                     DropoutSeeds& seeds) {
  const double rate = seeds.training() ? p : 0;
  const uint64_t seed = seeds.training() ? seeds.next() : 0;
  const Tensor &gain = norm.weight->effective, &bias = norm.bias->effective;
  const torch::ScalarType type = x.scalar_type();
  const bool own = x.is_cpu() && x.dim() == 2 && x.size(1) % 4 == 0 &&
                   residual.scalar_type() == type && gain.scalar_type() == torch::kFloat32 &&
                   (type == torch::kFloat32 || type == torch::kBFloat16);
  if (!own)
    return norm(
        (rate > 0 ? dropout(x, rate, seed, seeds.first_token() * x.size(1)) : x).add(residual));
  if (!torch::GradMode::is_enabled())
    return residual_norm_forward(x, residual, gain, bias, norm.eps, rate, seed, seeds.first_token())
        .y;
  return ResidualNormFunction::apply(x, residual, gain, bias, norm.eps, rate,
                                     static_cast<int64_t>(seed), seeds.first_token());
}

}  // namespace compress::nn
