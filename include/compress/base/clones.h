#pragma once
// Small kernels that are compiled for several instruction sets; the processor's own is chosen at
// run time. What such a function calls must be inlined into it.

#define COMPRESS_INLINE inline __attribute__((always_inline))
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define COMPRESS_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define COMPRESS_CLONES
#endif
