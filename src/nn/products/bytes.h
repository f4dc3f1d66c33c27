#pragma once
// Products of bytes in panels (products/panels.h) by one instruction set each;
// panels::multiply_bytes chooses. All give the same sums.

#include "products/panels.h"

namespace compress::nn::panels {

#if defined(__x86_64__)
void bytes_by_vnni(const Task& task);     // AVX-512 VNNI
void bytes_by_avxvnni(const Task& task);  // AVX-VNNI, 32-byte registers
// AMX, between begin_tiles() and end_tiles() of the same thread. Reads x up to a multiple of 16
// rows, and x and the panel up to one of `stride_quads` quads.
void bytes_by_tiles(const Task& task);
void begin_tiles();
void end_tiles();
#elif defined(__aarch64__)
void bytes_by_dotprod(const Task& task);  // signed dot products of ARMv8.2
void bytes_by_neon(const Task& task);     // every aarch64 processor
#endif

}  // namespace compress::nn::panels
