// Plain loops that the compiler vectorises; built without errno and traps of mathematical
// functions (CMakeLists.txt).

#include "optimizer/adam_kernel.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "compress/base/kernel.h"

namespace compress::optim::kernels {

namespace {

constexpr float tiny = 1e-30f;
constexpr int64_t block = 64;  // elements that stay in registers or first-level cache

COMPRESS_INLINE void move(const AdamConstants& c, const AdamStep& s, float g, float& w, float& m,
                          float& v) {
  float mean = c.beta1 * m + c.rest1 * g;
  float square = c.beta2 * v + c.rest2 * (g * g);
  mean = std::fabs(mean) < tiny ? 0.0f : mean;
  square = square < tiny ? 0.0f : square;
  w = w * s.decay - s.rate * mean / (std::sqrt(square) * s.root + c.eps);
  m = mean;
  v = square;
}

COMPRESS_INLINE float blend(float average, float w, float share) {
  return share == 1.0f ? w : average + share * (w - average);
}

// Runs work(local copies of `block` elements) over memory; the tail is padded with zeros.
template <class Work>
COMPRESS_INLINE void in_blocks(float* w, float* m, float* v, float* average, int64_t count,
                               const Work& work) {
  for (int64_t at = 0; at < count; at += block) {
    const size_t bytes = static_cast<size_t>(std::min(block, count - at)) * sizeof(float);
    alignas(64) float local[4][block] = {};
    std::memcpy(local[0], w + at, bytes);
    if (m != nullptr) std::memcpy(local[1], m + at, bytes);
    if (v != nullptr) std::memcpy(local[2], v + at, bytes);
    if (average != nullptr) std::memcpy(local[3], average + at, bytes);
    work(local[0], local[1], local[2], local[3]);
    std::memcpy(w + at, local[0], bytes);
    if (m != nullptr) std::memcpy(m + at, local[1], bytes);
    if (v != nullptr) std::memcpy(v + at, local[2], bytes);
    if (average != nullptr) std::memcpy(average + at, local[3], bytes);
  }
}

template <int lanes>
COMPRESS_INLINE void adam_update_body(const AdamConstants& constants, const AdamStep& step,
                                      float* __restrict__ w, const float* __restrict__ g,
                                      float* __restrict__ m, float* __restrict__ v,
                                      float* __restrict__ average, int64_t count) {
  const AdamConstants c = constants;
  const AdamStep s = step;
  if (average == nullptr || s.share == 0) {
    for (int64_t i = 0; i < count; ++i) move(c, s, g[i], w[i], m[i], v[i]);
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    move(c, s, g[i], w[i], m[i], v[i]);
    average[i] = blend(average[i], w[i], s.share);
  }
}

template <int lanes>
COMPRESS_INLINE void adam_replay_body(const AdamConstants& constants, const AdamStep* steps,
                                      int64_t step_count, float* w, float* m, float* v,
                                      float* average, int64_t count) {
  const AdamConstants c = constants;
  in_blocks(w, m, v, average, count, [&](float* lw, float* lm, float* lv, float* la) {
    for (int64_t k = 0; k < step_count; ++k) {
      const AdamStep s = steps[k];
      for (int64_t i = 0; i < block; ++i) move(c, s, 0.0f, lw[i], lm[i], lv[i]);
      if (average == nullptr || s.share == 0) continue;
      for (int64_t i = 0; i < block; ++i) la[i] = blend(la[i], lw[i], s.share);
    }
  });
}

template <int lanes>
COMPRESS_INLINE void adam_replay_still_body(const AdamStep* steps, int64_t step_count, float* w,
                                            float* average, int64_t count) {
  bool moves = average != nullptr;
  for (int64_t k = 0; k < step_count && !moves; ++k) moves = steps[k].decay != 1.0f;
  if (!moves) return;
  in_blocks(w, nullptr, nullptr, average, count, [&](float* lw, float*, float*, float* la) {
    for (int64_t k = 0; k < step_count; ++k) {
      const AdamStep s = steps[k];
      for (int64_t i = 0; i < block; ++i) lw[i] *= s.decay;
      if (average == nullptr || s.share == 0) continue;
      for (int64_t i = 0; i < block; ++i) la[i] = blend(la[i], lw[i], s.share);
    }
  });
}

}  // namespace

COMPRESS_KERNEL(adam_update,
                (const AdamConstants& constants, const AdamStep& step, float* __restrict__ w,
                 const float* __restrict__ g, float* __restrict__ m, float* __restrict__ v,
                 float* __restrict__ average, int64_t count),
                (constants, step, w, g, m, v, average, count))
COMPRESS_KERNEL(adam_replay,
                (const AdamConstants& constants, const AdamStep* steps, int64_t step_count,
                 float* w, float* m, float* v, float* average, int64_t count),
                (constants, steps, step_count, w, m, v, average, count))
COMPRESS_KERNEL(adam_replay_still,
                (const AdamStep* steps, int64_t step_count, float* w, float* average,
                 int64_t count),
                (steps, step_count, w, average, count))

}  // namespace compress::optim::kernels
