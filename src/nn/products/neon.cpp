// Products of bytes on aarch64, signed by signed. Never run on such a processor: tested under
// emulation (tests/kernels).

#include "products/bytes.h"

#if defined(__aarch64__)

#include <arm_neon.h>

#include "products/in_tiles.h"

#define COMPRESS_TARGET_DOTPROD __attribute__((target("arch=armv8.2-a+dotprod")))

namespace compress::nn::panels {

namespace {

static_assert(zero_point == 0, "inputs are signed");

// The sum over 4 inputs in each lane.
struct DotProduct {
  COMPRESS_TARGET_DOTPROD static inline int32x4_t add(int32x4_t sum, int8x16_t value,
                                                      int8x16_t weight) {
    return vdotq_s32(sum, value, weight);
  }
};
struct Neon {
  // Products of two bytes fit into 16 bits, sums of two such need not: pairs are added in 32.
  static inline int32x4_t add(int32x4_t sum, int8x16_t value, int8x16_t weight) {
    const int16x8_t low = vmull_s8(vget_low_s8(value), vget_low_s8(weight));
    const int16x8_t high = vmull_high_s8(value, weight);
    return vaddq_s32(sum, vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)));
  }
};

template <class Quads>
struct ByteTile {
  template <int rows, int vectors>
  COMPRESS_INLINE void run(const Task& task, int64_t row, int64_t column, float* sums) const {
    const int8_t* x = static_cast<const int8_t*>(task.x) + row * task.x_stride;
    const int8_t* w = static_cast<const int8_t*>(task.weight) + column * quad;
    IntVec<4> sum[rows][vectors] = {};
    for (int64_t i = 0; i < task.depth; ++i) {
      int8x16_t weight[vectors];
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) weight[v] = vld1q_s8(w + (i * width + v * 4) * quad);
#pragma GCC unroll 16
      for (int r = 0; r < rows; ++r) {
        int32_t four;
        std::memcpy(&four, x + r * task.x_stride + i * quad, sizeof four);
        const int8x16_t value = vreinterpretq_s8_s32(vdupq_n_s32(four));
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) sum[r][v] = Quads::add(sum[r][v], value, weight[v]);
      }
    }
    store_sums<4, rows, vectors>(task, column, sum, sums);
  }
};

}  // namespace

COMPRESS_TARGET_DOTPROD void bytes_by_dotprod(const Task& task) {
  in_tiles<4>(task, ByteTile<DotProduct>());
}
void bytes_by_neon(const Task& task) {
  in_tiles<4>(task, ByteTile<Neon>());
}

}  // namespace compress::nn::panels

#endif
