#include "products/sparse.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "products/couples.h"
#include "products/in_tiles.h"

namespace compress::nn::sparse {

namespace {

using simd::IntVec;
using simd::Vec;

// Registers of rows that an entry is multiplied with.
constexpr int64_t most_vectors = 3;

int64_t lanes_now() {
  switch (cpu::float_set()) {
    case cpu::Set::avx512:
      return 16;
    case cpu::Set::avx2:
      return 8;
    default:
      return 4;
  }
}

template <class V, size_t... i>
COMPRESS_INLINE V interleave_low(V a, V b, std::index_sequence<i...>) {
  return __builtin_shufflevector(a, b, (i / 2 + (i % 2) * sizeof...(i))...);
}
template <class V, size_t... i>
COMPRESS_INLINE V interleave_high(V a, V b, std::index_sequence<i...>) {
  return __builtin_shufflevector(a, b, (sizeof...(i) / 2 + i / 2 + (i % 2) * sizeof...(i))...);
}

// v[i][j] becomes v[j][i].
template <int lanes>
COMPRESS_INLINE void transpose(IntVec<lanes> (&v)[lanes]) {
  using Indices = std::make_index_sequence<lanes>;
#pragma GCC unroll 4
  for (int stage = 1; stage < lanes; stage *= 2) {
    IntVec<lanes> next[lanes];
#pragma GCC unroll 8
    for (int i = 0; i < lanes / 2; ++i) {
      next[2 * i] = interleave_low(v[i], v[i + lanes / 2], Indices());
      next[2 * i + 1] = interleave_high(v[i], v[i + lanes / 2], Indices());
    }
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) v[i] = next[i];
  }
}

template <class V>
COMPRESS_INLINE V load_some(const uint32_t* from, int64_t count) {
  V v = {};
  if (count >= simd::lanes_of<V>)
    std::memcpy(&v, from, sizeof v);
  else if (count > 0)
    std::memcpy(&v, from, static_cast<size_t>(count) * sizeof(uint32_t));
  return v;
}

// [rows][columns] of 32-bit numbers, rows `stride` bytes apart, as [columns][padded], with `flip`
// applied; rows that are not there are 0 before it.
template <int lanes>
COMPRESS_INLINE void turn_body(const void* from, int64_t rows, int64_t columns, int64_t stride,
                               int64_t padded, uint32_t flip, uint32_t* to) {
  using I = IntVec<lanes>;
  const char* base = static_cast<const char*>(from);
  const I flipped = static_cast<int32_t>(flip) - I{};
  for (int64_t c = 0; c < columns; c += lanes) {
    const int64_t count = std::min<int64_t>(lanes, columns - c);
    for (int64_t r = 0; r < padded; r += lanes) {
      I v[lanes];
#pragma GCC unroll 16
      for (int k = 0; k < lanes; ++k)
        v[k] = r + k < rows
                   ? load_some<I>(
                         reinterpret_cast<const uint32_t*>(base + (r + k) * stride + 4 * c), count)
                   : I{};
      transpose<lanes>(v);
      const bool half = padded - r < lanes;
#pragma GCC unroll 16
      for (int k = 0; k < lanes; ++k) {
        if (k >= count) break;
        v[k] ^= flipped;
        uint32_t* line = to + (c + k) * padded + r;
        if (half)
          std::memcpy(line, &v[k], sizeof v[k] / 2);
        else
          std::memcpy(line, &v[k], sizeof v[k]);
      }
    }
  }
}
COMPRESS_KERNEL(turn,
                (const void* from, int64_t rows, int64_t columns, int64_t stride, int64_t padded,
                 uint32_t flip, uint32_t* to),
                (from, rows, columns, stride, padded, flip, to))

// 0, or NaN for rows of which a value is not finite, behind the last input.
template <int lanes>
COMPRESS_INLINE void mark_body(uint32_t* packed, int64_t inputs, int64_t padded) {
  constexpr int some = lanes == 16 ? 8 : lanes;
  using V = Vec<some>;
  for (int64_t r = 0; r < padded; r += some) {
    V mark = {};
    for (int64_t i = 0; i < inputs; ++i)
      mark += 0.0f * simd::load<V>(reinterpret_cast<const float*>(packed) + i * padded + r);
    simd::store(reinterpret_cast<float*>(packed) + inputs * padded + r, mark);
  }
}
COMPRESS_KERNEL(mark, (uint32_t * packed, int64_t inputs, int64_t padded), (packed, inputs, padded))

// One entry of a kind of matrix, and what it is multiplied with.
template <int lanes>
struct Floats {
  using Sum = Vec<lanes>;
  using Weight = float;
  static constexpr int unit = 1;     // registers of X that an entry takes
  static constexpr int numbers = 1;  // Weights of an entry
  template <int vectors>
  static COMPRESS_INLINE void add(Sum (&sum)[vectors], const Weight* weight, const uint32_t* x) {
    const float value = *weight;
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v)
      sum[v] += value * simd::load<Sum>(reinterpret_cast<const float*>(x) + v * lanes);
  }
};

#ifdef COMPRESS_X86

template <int lanes>
struct Words {
  using Sum = IntVec<lanes>;
  using Weight = int16_t;
  static constexpr int unit = 2;
  static constexpr int numbers = 4;
  template <int vectors>
  static COMPRESS_INLINE void add(Sum (&sum)[vectors], const Weight* weight, const uint32_t* x) {
    int32_t couple[2];
    std::memcpy(couple, weight, sizeof couple);
    const Sum first = couple[0] - Sum{}, second = couple[1] - Sum{};
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      Sum a, b;
      std::memcpy(&a, x + v * lanes, sizeof a);
      std::memcpy(&b, x + (vectors + v) * lanes, sizeof b);
      sum[v] += panels::Couples<lanes>::multiply(first, a);
      sum[v] += panels::Couples<lanes>::multiply(second, b);
    }
  }
};

using panels::Encoding;
template <int lanes, Encoding encoding>
struct Quads {
  using Sum = IntVec<lanes>;
  using Weight = int8_t;
  static constexpr int unit = 1;
  static constexpr int numbers = 4;
  template <int vectors>
  static COMPRESS_INLINE void add(Sum (&sum)[vectors], const Weight* weight, const uint32_t* x) {
    int32_t four;
    std::memcpy(&four, weight, sizeof four);
    const Sum value = four - Sum{};
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      Sum a;
      std::memcpy(&a, x + v * lanes, sizeof a);
      panels::add_quads<encoding, lanes>(sum[v], a, value);
    }
  }
};
template <int lanes>
using WideBytes = Quads<lanes, Encoding::avx512>;
template <int lanes>
using Bytes = Quads<lanes, Encoding::avx>;

#endif

// `count` outputs of a group from the one `from` on, over the steps of a section.
template <class Entry, int vectors, int count>
COMPRESS_INLINE void group(const typename Entry::Weight* weights, const uint16_t* places,
                           int64_t steps, const uint32_t* x, const uint8_t* outputs, bool begin,
                           uint32_t* sums) {
  using Sum = typename Entry::Sum;
  constexpr int lanes = simd::lanes_of<Sum>;
  Sum sum[count][vectors] = {};
  if (!begin)
#pragma GCC unroll 8
    for (int o = 0; o < count; ++o)
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v)
        std::memcpy(&sum[o][v], sums + (outputs[o] * vectors + v) * lanes, sizeof(Sum));
  for (int64_t s = 0; s < steps; ++s) {
#pragma GCC unroll 8
    for (int o = 0; o < count; ++o) {
      const uint32_t* line = x + static_cast<size_t>(places[o]) * (vectors * lanes * Entry::unit);
      if constexpr (vectors * Entry::unit > 1) asm("" : "+r"(line));  // one address, then offsets
      Entry::add(sum[o], weights + o * Entry::numbers, line);
    }
    weights += side * Entry::numbers;
    places += side;
  }
#pragma GCC unroll 8
  for (int o = 0; o < count; ++o)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v)
      std::memcpy(sums + (outputs[o] * vectors + v) * lanes, &sum[o][v], sizeof(Sum));
}

// `registers`: how many there are; the sums of so many outputs at once fit.
template <class Entry, int vectors, int registers>
COMPRESS_INLINE void sum_panel(const Matrix& matrix, const typename Entry::Weight* weights,
                               int64_t panel, const uint32_t* x, uint32_t* sums) {
  constexpr int lanes = simd::lanes_of<typename Entry::Sum>;
  constexpr int count = registers == 32 || vectors == 1 ? 8 : 4;
  const int64_t here = span(matrix.kind);
  for (int64_t part = 0; part < matrix.spans; ++part) {
    const Section& section = matrix.sections[static_cast<size_t>(panel * matrix.spans + part)];
    const uint32_t* inputs = x + part * here * (vectors * lanes * Entry::unit);
    int64_t step = section.first;
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t steps = section.steps[g];
#pragma GCC unroll 2
      for (int o = 0; o < side; o += count)
        group<Entry, vectors, count>(weights + (step * side + o) * Entry::numbers,
                                     matrix.places.data() + step * side + o, steps, inputs,
                                     section.outputs + g * side + o, part == 0, sums);
      step += steps;
    }
  }
}

// `wanted` rows of sums from the one `r` on, as floats.
template <int lanes, bool integers, int wanted>
COMPRESS_INLINE void turn_back_rows(const Task& task, int64_t padded, const uint32_t* marks,
                                    const uint32_t* sums, int64_t r, float* flat) {
  using I = IntVec<lanes>;
  for (int64_t c = 0; c < width; c += lanes) {
    I v[lanes];
#pragma GCC unroll 16
    for (int k = 0; k < lanes; ++k) {
      std::memcpy(&v[k], sums + (c + k) * padded + r, sizeof v[k]);
      Vec<lanes> value;
      if constexpr (integers) {
        const int32_t offset = task.offsets != nullptr ? task.offsets[c + k] : 0;
        value = __builtin_convertvector(v[k] - offset, Vec<lanes>);
      } else {
        std::memcpy(&value, &v[k], sizeof value);
        value += simd::load<Vec<lanes>>(reinterpret_cast<const float*>(marks) + r);
      }
      std::memcpy(&v[k], &value, sizeof value);
    }
    transpose<lanes>(v);
#pragma GCC unroll 16
    for (int k = 0; k < wanted; ++k) std::memcpy(flat + (r + k) * width + c, &v[k], sizeof v[k]);
  }
}

// The sums of a panel, [width][padded], as floats of rows.
template <int lanes, bool integers>
COMPRESS_INLINE void turn_back(const Task& task, int64_t padded, const uint32_t* marks,
                               const uint32_t* sums, float* flat) {
  for (int64_t r = 0; r < task.rows; r += lanes) {
    const int64_t rest = task.rows - r;  // fewer rows need fewer instructions
    if (rest * 4 <= lanes)
      turn_back_rows<lanes, integers, lanes / 4>(task, padded, marks, sums, r, flat);
    else if (rest * 2 <= lanes)
      turn_back_rows<lanes, integers, lanes / 2>(task, padded, marks, sums, r, flat);
    else if (rest * 4 <= lanes * 3)
      turn_back_rows<lanes, integers, lanes * 3 / 4>(task, padded, marks, sums, r, flat);
    else
      turn_back_rows<lanes, integers, lanes>(task, padded, marks, sums, r, flat);
  }
}

// With registers of 16 lanes there are 32 of them, and a half one serves up to eight rows.
template <template <int> class Entry, int lanes, class Weight>
COMPRESS_INLINE void multiply_panel(const Matrix& matrix, const Weight* weights, int64_t panel,
                                    const Task& task, uint32_t* sums) {
  constexpr int registers = lanes == 16 ? 32 : 16, half = lanes == 16 ? 8 : lanes;
  constexpr bool integers = Entry<lanes>::numbers != 1;
  const int64_t padded = padded_rows(task.rows);
  const auto* x = static_cast<const uint32_t*>(task.x);
  const uint32_t* marks = integers ? nullptr : x + matrix.inputs * padded;
  float* flat = reinterpret_cast<float*>(sums + width * padded);
  if (lanes == 16 && padded == half) {
    sum_panel<Entry<half>, 1, registers>(matrix, weights, panel, x, sums);
    turn_back<half, integers>(task, padded, marks, sums, flat);
  } else {
    if (padded == lanes)
      sum_panel<Entry<lanes>, 1, registers>(matrix, weights, panel, x, sums);
    else if (padded == 2 * lanes)
      sum_panel<Entry<lanes>, 2, registers>(matrix, weights, panel, x, sums);
    else
      sum_panel<Entry<lanes>, 3, registers>(matrix, weights, panel, x, sums);
    turn_back<lanes, integers>(task, padded, marks, sums, flat);
  }
  panels::finish_rows<lanes>(task, 0, task.rows, flat);
}

template <int lanes>
COMPRESS_INLINE void in_floats_body(const Matrix& matrix, int64_t panel, const Task& task,
                                    uint32_t* sums) {
  multiply_panel<Floats, lanes>(matrix, matrix.floats.data(), panel, task, sums);
}
COMPRESS_KERNEL(in_floats, (const Matrix& matrix, int64_t panel, const Task& task, uint32_t* sums),
                (matrix, panel, task, sums))

#ifdef COMPRESS_X86
template <int lanes>
COMPRESS_INLINE void in_words_body(const Matrix& matrix, int64_t panel, const Task& task,
                                   uint32_t* sums) {
  multiply_panel<Words, lanes>(matrix, matrix.words.data(), panel, task, sums);
}
COMPRESS_KERNEL(in_words, (const Matrix& matrix, int64_t panel, const Task& task, uint32_t* sums),
                (matrix, panel, task, sums))

COMPRESS_TARGET_VNNI void in_wide_bytes(const Matrix& matrix, int64_t panel, const Task& task,
                                        uint32_t* sums) {
  multiply_panel<WideBytes, 16>(matrix, matrix.bytes.data(), panel, task, sums);
}
COMPRESS_TARGET_AVX2 void in_narrow_bytes(const Matrix& matrix, int64_t panel, const Task& task,
                                          uint32_t* sums) {
  multiply_panel<Bytes, 8>(matrix, matrix.bytes.data(), panel, task, sums);
}
void in_bytes(const Matrix& matrix, int64_t panel, const Task& task, uint32_t* sums) {
  cpu::has_vnni() ? in_wide_bytes(matrix, panel, task, sums)
                  : in_narrow_bytes(matrix, panel, task, sums);
}
constexpr bool blocks = true;
#else
void in_words(const Matrix&, int64_t, const Task&, uint32_t*) {}
void in_bytes(const Matrix&, int64_t, const Task&, uint32_t*) {}
constexpr bool blocks = false;
#endif

}  // namespace

bool available(Kind kind) {
  return kind == Kind::floats || (blocks && (kind == Kind::words || panels::has_bytes()));
}

int64_t most_rows() {
  return most_vectors * lanes_now();
}
int64_t padded_rows(int64_t rows) {
  const int64_t lanes = lanes_now();
  const int64_t step = lanes == 16 && rows <= 8 ? 8 : lanes;
  return (rows + step - 1) / step * step;
}

int64_t packed_size(Kind kind, int64_t inputs, int64_t rows) {
  const int64_t lines = kind == Kind::floats  ? inputs + 1
                        : kind == Kind::bytes ? inputs / panels::quad
                                              : inputs / panels::couple;
  return lines * padded_rows(rows);
}

void pack_floats(const float* x, int64_t rows, int64_t inputs, int64_t stride, uint32_t* to) {
  const int64_t padded = padded_rows(rows);
  turn(x, rows, inputs, stride * static_cast<int64_t>(sizeof *x), padded, 0, to);
  mark(to, inputs, padded);
}
void pack_bytes(const int8_t* x, int64_t rows, int64_t inputs, int64_t stride, uint32_t* to) {
  turn(x, rows, inputs / panels::quad, stride, padded_rows(rows), 0x80808080u, to);
}
void pack_words(const int16_t* x, int64_t rows, int64_t inputs, int64_t stride, uint32_t* to) {
  turn(x, rows, inputs / panels::couple, stride * static_cast<int64_t>(sizeof *x),
       padded_rows(rows), 0, to);
}

void multiply(const Matrix& matrix, int64_t panel, const Task& task, uint32_t* sums) {
  switch (matrix.kind) {
    case Kind::floats:
      return in_floats(matrix, panel, task, sums);
    case Kind::bytes:
      return in_bytes(matrix, panel, task, sums);
    default:
      return in_words(matrix, panel, task, sums);
  }
}

}  // namespace compress::nn::sparse
