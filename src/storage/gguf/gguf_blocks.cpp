// How blocks of quantised values become float32. The layouts are those of ggml (ggml-common.h). A
// "legacy" block has 32 elements and one scale; a "K" block has 256 in groups of 16 or 32, whose
// scales are quantised themselves. Half of the nibbles of a run of bytes are the low ones: they
// hold the run's first elements, the high ones those after them.

#include "gguf/gguf_blocks.h"

#include <bit>
#include <cstring>

namespace compress::storage {

namespace {

float half(const uint8_t* from) {
  uint32_t bits = from[0] | static_cast<uint32_t>(from[1]) << 8;
  uint32_t sign = (bits & 0x8000) << 16, exponent = bits >> 10 & 31, fraction = bits & 0x3FF;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000 | fraction << 13);
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
  float tiny = static_cast<float>(fraction) * 0x1p-24f;  // exact
  return sign != 0 ? -tiny : tiny;
}

void f32(const uint8_t* from, float* to) {
  std::memcpy(to, from, 4);
}

void f16(const uint8_t* from, float* to) {
  *to = half(from);
}

void bf16(const uint8_t* from, float* to) {
  *to = std::bit_cast<float>(from[0] << 16 | static_cast<uint32_t>(from[1]) << 24);
}

// d [2], values [16].
void q4_0(const uint8_t* from, float* to) {
  float d = half(from);
  for (int i = 0; i < 16; ++i) {
    to[i] = static_cast<float>((from[2 + i] & 15) - 8) * d;
    to[i + 16] = static_cast<float>((from[2 + i] >> 4) - 8) * d;
  }
}

// d [2], m [2], values [16].
void q4_1(const uint8_t* from, float* to) {
  float d = half(from), m = half(from + 2);
  for (int i = 0; i < 16; ++i) {
    to[i] = static_cast<float>(from[4 + i] & 15) * d + m;
    to[i + 16] = static_cast<float>(from[4 + i] >> 4) * d + m;
  }
}

// Low nibbles in `values`; bit i of `high` is the fifth bit of element i.
int five_bits(const uint8_t* values, uint32_t high, int element) {
  int low = element < 16 ? values[element] & 15 : values[element - 16] >> 4;
  return low | static_cast<int>((high >> element & 1) << 4);
}

// d [2], fifth bits [4], values [16].
void q5_0(const uint8_t* from, float* to) {
  float d = half(from);
  uint32_t high;
  std::memcpy(&high, from + 2, 4);
  for (int i = 0; i < 32; ++i) to[i] = static_cast<float>(five_bits(from + 6, high, i) - 16) * d;
}

// d [2], m [2], fifth bits [4], values [16].
void q5_1(const uint8_t* from, float* to) {
  float d = half(from), m = half(from + 2);
  uint32_t high;
  std::memcpy(&high, from + 4, 4);
  for (int i = 0; i < 32; ++i) to[i] = static_cast<float>(five_bits(from + 8, high, i)) * d + m;
}

// d [2], values [32].
void q8_0(const uint8_t* from, float* to) {
  float d = half(from);
  for (int i = 0; i < 32; ++i) to[i] = static_cast<float>(static_cast<int8_t>(from[2 + i])) * d;
}

// scales [16] (low nibble: scale, high: minimum), values of 2 bits [64], d [2], dmin [2]. Groups of
// 16; each half of the block takes its 32 bytes four times, two bits higher each time.
void q2_k(const uint8_t* from, float* to) {
  const uint8_t *scales = from, *values = from + 16;
  float d = half(from + 80), dmin = half(from + 82);
  for (int i = 0; i < 256; ++i) {
    int part = i / 128, shift = i % 128 / 32 * 2;
    uint8_t scale = scales[i / 16];
    float step = d * static_cast<float>(scale & 15), low = dmin * static_cast<float>(scale >> 4);
    to[i] = step * static_cast<float>(values[part * 32 + i % 32] >> shift & 3) - low;
  }
}

// third bits [32], values of 2 bits [64], scales of 6 bits [12], d [2]. Groups as in Q2_K. Bit
// i / 32 of byte i % 32 is the third bit of element i; where it is 0, 4 is taken away.
void q3_k(const uint8_t* from, float* to) {
  const uint8_t *high = from, *values = from + 32, *scales = from + 96;
  float d = half(from + 108);
  for (int i = 0; i < 256; ++i) {
    int group = i / 16, part = i / 128, shift = i % 128 / 32 * 2;
    int low_bits = group < 8 ? scales[group] & 15 : scales[group - 8] >> 4;
    int scale = (low_bits | (scales[8 + group % 4] >> (group / 4 * 2) & 3) << 4) - 32;
    int value = values[part * 32 + i % 32] >> shift & 3;
    if ((high[i % 32] >> (i / 32) & 1) == 0) value -= 4;
    to[i] = d * static_cast<float>(scale) * static_cast<float>(value);
  }
}

struct ScaleAndMinimum {
  int scale, minimum;
};

// Eight scales and minimums of 6 bits in 12 bytes: the first four whole in bytes 0-3 and 4-7, the
// others in the nibbles of bytes 8-11 and the upper two bits of the first.
ScaleAndMinimum six_bits(const uint8_t* packed, size_t group) {
  if (group < 4) return {packed[group] & 63, packed[group + 4] & 63};
  return {(packed[group + 4] & 15) | packed[group - 4] >> 6 << 4,
          packed[group + 4] >> 4 | packed[group] >> 6 << 4};
}

// d [2], dmin [2], scales [12], values [128]: groups of 32, two from each 32 bytes.
void q4_k(const uint8_t* from, float* to) {
  float d = half(from), dmin = half(from + 2);
  for (size_t group = 0; group < 8; ++group) {
    auto [scale, minimum] = six_bits(from + 4, group);
    float step = d * static_cast<float>(scale), low = dmin * static_cast<float>(minimum);
    const uint8_t* values = from + 16 + group / 2 * 32;
    for (size_t i = 0; i < 32; ++i)
      to[group * 32 + i] = step * static_cast<float>(values[i] >> (group % 2 * 4) & 15) - low;
  }
}

// d [2], dmin [2], scales [12], fifth bits [32], values [128]: as Q4_K, and bit `group` of byte i
// is the fifth bit.
void q5_k(const uint8_t* from, float* to) {
  float d = half(from), dmin = half(from + 2);
  const uint8_t* high = from + 16;
  for (size_t group = 0; group < 8; ++group) {
    auto [scale, minimum] = six_bits(from + 4, group);
    float step = d * static_cast<float>(scale), low = dmin * static_cast<float>(minimum);
    const uint8_t* values = from + 48 + group / 2 * 32;
    for (size_t i = 0; i < 32; ++i) {
      int value = (values[i] >> (group % 2 * 4) & 15) | (high[i] >> group & 1) << 4;
      to[group * 32 + i] = step * static_cast<float>(value) - low;
    }
  }
}

// low nibbles [128], upper two bits [64], scales [16] (signed), d [2]. Each half of the block has
// four runs of 32: runs 0 and 1 are the low nibbles of its 64 bytes, 2 and 3 the high ones; run r
// has its upper bits at 2r of its 32 bytes.
void q6_k(const uint8_t* from, float* to) {
  float d = half(from + 208);
  for (int i = 0; i < 256; ++i) {
    int part = i / 128, run = i % 128 / 32;
    int low = from[part * 64 + run % 2 * 32 + i % 32] >> (run / 2 * 4) & 15;
    int high = from[128 + part * 32 + i % 32] >> (run * 2) & 3;
    auto scale = static_cast<int8_t>(from[192 + i / 16]);
    to[i] = d * static_cast<float>(scale) * static_cast<float>((low | high << 4) - 32);
  }
}

constexpr BlockType types[] = {
    {GgufType::f32, "F32", 1, 4, f32},        {GgufType::f16, "F16", 1, 2, f16},
    {GgufType::q4_0, "Q4_0", 32, 18, q4_0},   {GgufType::q4_1, "Q4_1", 32, 20, q4_1},
    {GgufType::q5_0, "Q5_0", 32, 22, q5_0},   {GgufType::q5_1, "Q5_1", 32, 24, q5_1},
    {GgufType::q8_0, "Q8_0", 32, 34, q8_0},   {GgufType::q2_k, "Q2_K", 256, 84, q2_k},
    {GgufType::q3_k, "Q3_K", 256, 110, q3_k}, {GgufType::q4_k, "Q4_K", 256, 144, q4_k},
    {GgufType::q5_k, "Q5_K", 256, 176, q5_k}, {GgufType::q6_k, "Q6_K", 256, 210, q6_k},
    {GgufType::bf16, "BF16", 1, 2, bf16},
};

struct Unread {
  uint32_t number;
  const char* name;
};
constexpr Unread unread[] = {
    {9, "Q8_1"},   {15, "Q8_K"},   {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"},
    {19, "IQ1_S"}, {20, "IQ4_NL"}, {21, "IQ3_S"},   {22, "IQ2_S"},  {23, "IQ4_XS"},
    {24, "I8"},    {25, "I16"},    {26, "I32"},     {27, "I64"},    {28, "F64"},
    {29, "IQ1_M"}, {34, "TQ1_0"},  {35, "TQ2_0"},   {39, "MXFP4"},
};

}  // namespace

const BlockType* block_type(uint32_t number) {
  for (const BlockType& type : types)
    if (static_cast<uint32_t>(type.type) == number) return &type;
  return nullptr;
}

const char* unread_type_name(uint32_t number) {
  for (const Unread& type : unread)
    if (type.number == number) return type.name;
  return "";
}

}  // namespace compress::storage
