// Products of bytes by VNNI: four of them a lane and instruction, in registers of 64 bytes (AVX-512
// VNNI) or 32 (AVX-VNNI).

#include "products/bytes.h"

#if defined(__x86_64__)

#include "products/in_tiles.h"

#define COMPRESS_TARGET_VNNI \
  __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma")))

namespace compress::nn::panels {

namespace {

// sum[c] += the sum over 4 inputs of unsigned value * signed weight, without saturation. As
// assembly: around the intrinsic GCC copies each sum twice, and they no longer fit into registers.
template <int lanes>
struct Quads;
template <>
struct Quads<16> {
  COMPRESS_TARGET_VNNI static inline void add(IntVec<16>& sum, IntVec<16> value,
                                              IntVec<16> weight) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(value), "v"(weight));
  }
};
template <>
struct Quads<8> {
  COMPRESS_TARGET_AVX2 static inline void add(IntVec<8>& sum, IntVec<8> value, IntVec<8> weight) {
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(value), "x"(weight));
  }
};

template <int lanes>
struct ByteTile {
  template <int rows, int vectors>
  COMPRESS_INLINE void run(const Task& task, int64_t row, int64_t column, float* sums) const {
    using I = IntVec<lanes>;
    const uint8_t* x = static_cast<const uint8_t*>(task.x) + row * task.x_stride;
    const int8_t* w = static_cast<const int8_t*>(task.weight) + column * quad;
    I sum[rows][vectors] = {};
    for (int64_t i = 0; i < task.depth; ++i) {
      I weight[vectors];
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v)
        std::memcpy(&weight[v], w + (i * width + v * lanes) * quad, sizeof weight[v]);
#pragma GCC unroll 16
      for (int r = 0; r < rows; ++r) {
        int32_t four;
        std::memcpy(&four, x + r * task.x_stride + i * quad, sizeof four);
        const I value = four - I{};
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) Quads<lanes>::add(sum[r][v], value, weight[v]);
      }
    }
    store_sums<lanes, rows, vectors>(task, column, sum, sums);
  }
};

}  // namespace

COMPRESS_TARGET_VNNI void bytes_by_vnni(const Task& task) {
  in_tiles<16>(task, ByteTile<16>());
}
COMPRESS_TARGET_AVX2 void bytes_by_avxvnni(const Task& task) {
  in_tiles<8>(task, ByteTile<8>());
}

}  // namespace compress::nn::panels

#endif
