#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>

#include "compress/nn/layers.h"
#include "kernels/elements.h"

namespace compress::nn {

namespace {

using torch::Tensor;
constexpr int64_t chunk = 64;

template <int lanes, class T>
COMPRESS_INLINE void drop_body(const T* x, T* y, int64_t begin, int64_t end, uint64_t seed,
                               uint64_t counter, uint32_t threshold, float scale) {
  uint16_t random[chunk];
  for (int64_t at = begin; at < end; at += chunk) {
    simd::random_lanes<chunk>(seed, counter + static_cast<uint64_t>(at / 4), random);
    int64_t count = std::min(chunk, end - at);
    if (count == chunk) {
      for (int64_t i = 0; i < chunk; ++i)
        simd::from_float(simd::to_float(x[at + i]) * (random[i] >= threshold ? scale : 0.0f),
                         y[at + i]);
    } else {
      for (int64_t i = 0; i < count; ++i)
        simd::from_float(simd::to_float(x[at + i]) * (random[i] >= threshold ? scale : 0.0f),
                         y[at + i]);
    }
  }
}

COMPRESS_KERNEL(drop,
                (const float* x, float* y, int64_t begin, int64_t end, uint64_t seed,
                 uint64_t counter, uint32_t threshold, float scale),
                (x, y, begin, end, seed, counter, threshold, scale))
COMPRESS_KERNEL(drop,
                (const c10::BFloat16* x, c10::BFloat16* y, int64_t begin, int64_t end,
                 uint64_t seed, uint64_t counter, uint32_t threshold, float scale),
                (x, y, begin, end, seed, counter, threshold, scale))

Tensor apply_dropout(const Tensor& input, double p, uint64_t seed, int64_t first) {
  uint32_t threshold = simd::drop_threshold(p);
  auto scale = static_cast<float>(65536.0 / (65536.0 - threshold));
  if (input.scalar_type() != torch::kFloat32 && input.scalar_type() != torch::kBFloat16) {
    if (first != 0) seed = mix64(seed ^ static_cast<uint64_t>(first));
    at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
    return input *
           torch::empty_like(input).bernoulli_(1 - threshold / 65536.0, generator).mul_(scale);
  }
  if (first % 4 != 0) {  // four elements share a counter
    seed = mix64(seed ^ static_cast<uint64_t>(first));
    first = 0;
  }
  const auto counter = static_cast<uint64_t>(first / 4);
  Tensor x = input.contiguous();
  Tensor y = torch::empty_like(x);
  int64_t blocks = (x.numel() + chunk - 1) / chunk;
  at::parallel_for(0, blocks, 512, [&](int64_t block, int64_t last) {
    int64_t begin = block * chunk, end = std::min(last * chunk, x.numel());
    if (x.scalar_type() == torch::kFloat32) {
      drop(x.const_data_ptr<float>(), y.mutable_data_ptr<float>(), begin, end, seed, counter,
           threshold, scale);
    } else {
      drop(x.const_data_ptr<c10::BFloat16>(), y.mutable_data_ptr<c10::BFloat16>(), begin, end, seed,
           counter, threshold, scale);
    }
  });
  return y;
}

class DropoutFunction : public torch::autograd::Function<DropoutFunction> {
 public:
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& x, double p,
                        int64_t seed, int64_t first) {
    context->saved_data["p"] = p;
    context->saved_data["seed"] = seed;
    context->saved_data["first"] = first;
    return apply_dropout(x, p, static_cast<uint64_t>(seed), first);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    return {apply_dropout(gradients[0], context->saved_data["p"].toDouble(),
                          static_cast<uint64_t>(context->saved_data["seed"].toInt()),
                          context->saved_data["first"].toInt()),
            Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

torch::Tensor dropout(const torch::Tensor& x, double p, uint64_t seed, int64_t first) {
  if (p <= 0) return x;
  // A kernel of ours would be needed to draw by element. PyTorch's takes the next draws of the pass
  // (see begin_draws) and keeps a byte an element for backward.
  if (!x.is_cpu())
    return std::get<0>(at::native_dropout(x, simd::drop_threshold(p) / 65536.0, true));
  return DropoutFunction::apply(x, p, static_cast<int64_t>(seed), first);
}

}  // namespace compress::nn
