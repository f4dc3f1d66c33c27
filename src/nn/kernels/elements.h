#pragma once
// The types of elements that kernels read and write: float and bf16.

#include <ATen/ATen.h>
#include <c10/util/BFloat16.h>

#include "kernels/simd.h"

namespace compress::nn::simd {

COMPRESS_INLINE float to_float(float x) {
  return x;
}
COMPRESS_INLINE float to_float(c10::BFloat16 x) {
  uint32_t bits = static_cast<uint32_t>(x.x) << 16;
  float out;
  std::memcpy(&out, &bits, 4);
  return out;
}
COMPRESS_INLINE void from_float(float x, float& out) {
  out = x;
}
// Round to nearest even; a NaN stays one.
COMPRESS_INLINE void from_float(float x, c10::BFloat16& out) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  uint32_t rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
  out.x = static_cast<uint16_t>((bits & 0x7FFFFFFFu) > 0x7F800000u ? 0x7FC0u : rounded);
}

// Calls work(value of the element type) for the two types that have kernels.
template <class Work>
void dispatch(c10::ScalarType type, const Work& work) {
  if (type == c10::ScalarType::BFloat16)
    work(c10::BFloat16());
  else
    work(float());
}

}  // namespace compress::nn::simd
