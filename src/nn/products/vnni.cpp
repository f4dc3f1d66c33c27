// Products of bytes by VNNI: four of them a lane and instruction, in registers of 64 bytes (AVX-512
// VNNI) or 32 (AVX-VNNI).

#include "products/bytes.h"

#if defined(__x86_64__)

#include "products/couples.h"
#include "products/in_tiles.h"

namespace compress::nn::panels {

namespace {

template <int lanes, Encoding encoding>
struct ByteProducts {
  COMPRESS_INLINE static void add(IntVec<lanes>& sum, IntVec<lanes> value, IntVec<lanes> weight) {
    add_quads<encoding, lanes>(sum, value, weight);
  }
};

}  // namespace

COMPRESS_TARGET_VNNI void bytes_by_vnni(const Task& task) {
  in_tiles<16>(task, IntegerTile<16, int8_t, ByteProducts<16, Encoding::avx512>>());
}
COMPRESS_TARGET_AVX2 void bytes_by_avxvnni(const Task& task) {
  in_tiles<8>(task, IntegerTile<8, int8_t, ByteProducts<8, Encoding::avx>>());
}

}  // namespace compress::nn::panels

#endif
