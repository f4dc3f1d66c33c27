#include "layers/rope.h"

#include <cmath>

namespace compress::nn {

using torch::Tensor;

namespace {

// [width / 2] float32, computed as the ecosystem does: in float32.
Tensor frequencies(const ModelConfig& config) {
  const int64_t width = config.head_width;
  Tensor exponents =
      torch::arange(0, width, 2, torch::kInt64).to(torch::kFloat32) / static_cast<double>(width);
  Tensor plain = at::reciprocal(at::pow(config.rope_theta, exponents));
  if (!config.rope_scaling.is_object()) return plain;
  const auto number = [&](const char* name) { return config.rope_scaling[name].get<double>(); };
  const double factor = number("factor");
  if (config.rope_scaling["rope_type"] == "linear") return plain / factor;
  const double low = number("low_freq_factor"), high = number("high_freq_factor"),
               length = number("original_max_position_embeddings");
  Tensor waves = (2 * M_PI) / plain;
  Tensor smooth = (length / waves - low) / (high - low);
  Tensor blended = (1 - smooth) * plain / factor + smooth * plain;
  Tensor scaled = at::where(waves > length / low, plain / factor, plain);
  Tensor between = at::logical_and(waves >= length / high, waves <= length / low);
  return at::where(between, blended, scaled);
}

}  // namespace

Rotary rotary_table(const ModelConfig& config, int64_t positions) {
  torch::NoGradGuard no_grad;
  Tensor places = torch::arange(positions, torch::kInt64).to(torch::kFloat32);
  Tensor angles = places.unsqueeze(1) * frequencies(config).unsqueeze(0);
  return {angles.cos(), angles.sin()};
}

Tensor relative_buckets(int64_t reach, bool causal, int64_t buckets, int64_t farthest) {
  Tensor out = torch::empty({2 * reach + 1}, torch::kInt64);
  auto* to = out.mutable_data_ptr<int64_t>();
  const int64_t half = causal ? buckets : buckets / 2, exact = half / 2;
  for (int64_t d = -reach; d <= reach; ++d) {
    int64_t base = 0, distance = std::max<int64_t>(d, 0);
    if (!causal) {
      base = d < 0 ? half : 0;
      distance = std::abs(d);
    }
    if (distance >= exact) {
      // In float32, where the ecosystem's border cases are decided.
      const float share =
          std::log(static_cast<float>(distance) / static_cast<float>(exact)) /
          static_cast<float>(std::log(static_cast<double>(farthest) / static_cast<double>(exact))) *
          static_cast<float>(half - exact);
      distance = std::min(exact + static_cast<int64_t>(share), half - 1);
    }
    *to++ = base + distance;
  }
  return out;
}

}  // namespace compress::nn
