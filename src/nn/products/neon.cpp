// Products of bytes on aarch64, signed by signed. Never run on such a processor: tested under
// emulation (tests/emulated).

#include "products/bytes.h"

#if defined(__aarch64__)

#include <arm_neon.h>

#include "products/in_tiles.h"

#define COMPRESS_TARGET_DOTPROD __attribute__((target("arch=armv8.2-a+dotprod")))

namespace compress::nn::panels {

namespace {

static_assert(zero_point == 0, "inputs are signed");

// sum[c] += the sum over 4 inputs.
struct DotProducts {
  COMPRESS_TARGET_DOTPROD static inline void add(IntVec<4>& sum, IntVec<4> value,
                                                 IntVec<4> weight) {
    sum = reinterpret_cast<IntVec<4>>(vdotq_s32(reinterpret_cast<int32x4_t>(sum),
                                                reinterpret_cast<int8x16_t>(value),
                                                reinterpret_cast<int8x16_t>(weight)));
  }
};
struct NeonProducts {
  // Products of two bytes fit into 16 bits, sums of two such need not: pairs are added in 32.
  static inline void add(IntVec<4>& sum, IntVec<4> value, IntVec<4> weight) {
    const auto x = reinterpret_cast<int8x16_t>(value), w = reinterpret_cast<int8x16_t>(weight);
    const int16x8_t low = vmull_s8(vget_low_s8(x), vget_low_s8(w));
    const int16x8_t high = vmull_high_s8(x, w);
    sum += reinterpret_cast<IntVec<4>>(vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)));
  }
};

}  // namespace

COMPRESS_TARGET_DOTPROD void bytes_by_dotprod(const Task& task) {
  in_tiles<4>(task, IntegerTile<4, int8_t, DotProducts>());
}
void bytes_by_neon(const Task& task) {
  in_tiles<4>(task, IntegerTile<4, int8_t, NeonProducts>());
}

}  // namespace compress::nn::panels

#endif
