#pragma once
// Rows of floats as columns.

#include "kernels/simd.h"

namespace compress::nn::simd {

// 8 x 8 values in place: blocks of 1, 2 and 4 change places.
COMPRESS_INLINE void transpose_eight(Vec<8>* v) {
  constexpr IntVec<8> ones[] = {{0, 8, 2, 10, 4, 12, 6, 14}, {1, 9, 3, 11, 5, 13, 7, 15}};
  constexpr IntVec<8> twos[] = {{0, 1, 8, 9, 4, 5, 12, 13}, {2, 3, 10, 11, 6, 7, 14, 15}};
  constexpr IntVec<8> fours[] = {{0, 1, 2, 3, 8, 9, 10, 11}, {4, 5, 6, 7, 12, 13, 14, 15}};
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    const Vec<8> a = v[i], b = v[i + 1];
    v[i] = __builtin_shuffle(a, b, ones[0]);
    v[i + 1] = __builtin_shuffle(a, b, ones[1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const int at = i + i / 2 * 2;
    const Vec<8> a = v[at], b = v[at + 2];
    v[at] = __builtin_shuffle(a, b, twos[0]);
    v[at + 2] = __builtin_shuffle(a, b, twos[1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const Vec<8> a = v[i], b = v[i + 4];
    v[i] = __builtin_shuffle(a, b, fours[0]);
    v[i + 4] = __builtin_shuffle(a, b, fours[1]);
  }
}

// `rows` rows of `width` values, `stride` apart, as to[width][columns], zeros in columns beyond the
// rows; `width` and `columns` are multiples of 8. Shuffles are of registers of 8 where there are
// such.
template <int lanes>
COMPRESS_INLINE void transpose(const float* from, int64_t stride, int64_t rows, int64_t width,
                               int64_t columns, float* to) {
  if constexpr (lanes < 8) {
    for (int64_t i = 0; i < columns; ++i)
      for (int64_t d = 0; d < width; ++d) to[d * columns + i] = i < rows ? from[i * stride + d] : 0;
    return;
  }
  for (int64_t i = 0; i < columns; i += 8)
    for (int64_t d = 0; d < width; d += 8) {
      Vec<8> v[8];
      for (int64_t r = 0; r < 8; ++r) {
        if (i + r < rows)
          std::memcpy(&v[r], from + (i + r) * stride + d, sizeof v[r]);
        else
          v[r] = Vec<8>{};
      }
      transpose_eight(v);
      for (int64_t r = 0; r < 8; ++r) std::memcpy(to + (d + r) * columns + i, &v[r], sizeof v[r]);
    }
}

}  // namespace compress::nn::simd
