#pragma once
// Kernels that are compiled for several instruction sets; which one runs is chosen at each call
// (compress/base/cpu.h).
//
// The body of kernel `run` is a template `run_body<lanes>(...)`, marked COMPRESS_INLINE, as must be
// everything that it calls. `lanes` is the number of floats in a register of the set: 4, 8 or 16.
// Vectors in a body must have that many: GCC keeps wider ones in memory and moves them through
// general registers. Then
//
//   COMPRESS_KERNEL(run, (const float* x, float* y, int64_t n), (x, y, n))
//
// defines void run(const float*, float*, int64_t).

#include "compress/base/cpu.h"

// The vectors never cross a call: everything is inlined.
#pragma GCC diagnostic ignored "-Wpsabi"

#define COMPRESS_INLINE inline __attribute__((always_inline))

#if defined(__x86_64__)
#define COMPRESS_X86 1
#define COMPRESS_TARGET_AVX2 __attribute__((target("avx2,fma")))
#define COMPRESS_TARGET_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma")))
#define COMPRESS_KERNEL(name, parameters, arguments)            \
  static void name##_plain parameters {                         \
    name##_body<4> arguments;                                   \
  }                                                             \
  COMPRESS_TARGET_AVX2 static void name##_avx2 parameters {     \
    name##_body<8> arguments;                                   \
  }                                                             \
  COMPRESS_TARGET_AVX512 static void name##_avx512 parameters { \
    name##_body<16> arguments;                                  \
  }                                                             \
  void name parameters {                                        \
    switch (::compress::cpu::float_set()) {                     \
      case ::compress::cpu::Set::avx512:                        \
        return name##_avx512 arguments;                         \
      case ::compress::cpu::Set::avx2:                          \
        return name##_avx2 arguments;                           \
      default:                                                  \
        return name##_plain arguments;                          \
    }                                                           \
  }
#else
#define COMPRESS_KERNEL(name, parameters, arguments) \
  void name parameters {                             \
    name##_body<4> arguments;                        \
  }
#endif
