#include <ATen/Parallel.h>

#include <cmath>

#include "compress/base/hash.h"
#include "compress/nn/plugs.h"

namespace compress::nn {

namespace {

// Two elements share a counter, whose 64 bits give two numbers of 24: for the normal law a radius
// and an angle (Box and Muller 1958), whose sine and cosine are independent.
constexpr float draw_step = 0x1.0p-24f;
constexpr auto full_turn = static_cast<float>(2 * M_PI);

float high(uint64_t bits) {
  return static_cast<float>(bits >> 40);
}
float low(uint64_t bits) {
  return static_cast<float>(bits & 0xFFFFFF);
}

float drawn(Law law, uint64_t bits, bool second) {
  if (law == Law::uniform) return (second ? low(bits) : high(bits)) * draw_step;
  const float radius = std::sqrt(-2 * std::log((high(bits) + 0.5f) * draw_step));
  const float angle = full_turn * (low(bits) * draw_step);
  return radius * (second ? std::sin(angle) : std::cos(angle));
}

}  // namespace

torch::Tensor noise(const torch::Tensor& x, Law law, uint64_t seed, int64_t first) {
  torch::NoGradGuard no_grad;
  if (!x.is_cpu()) {
    torch::Tensor y = torch::empty_like(x, at::MemoryFormat::Contiguous);
    return law == Law::normal ? y.normal_() : y.uniform_();
  }
  torch::Tensor y = torch::empty(x.sizes(), x.options().dtype(torch::kFloat32));
  auto* to = y.mutable_data_ptr<float>();
  const auto from = static_cast<uint64_t>(first * (x.dim() > 1 ? x.size(1) : 1));
  at::parallel_for(0, y.numel(), 4096, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const uint64_t element = from + static_cast<uint64_t>(i);
      to[i] = drawn(law, mix64(seed + 0x9E3779B97F4A7C15ull * (element / 2 + 1)), element % 2 != 0);
    }
  });
  return y.to(x.scalar_type());
}

}  // namespace compress::nn
