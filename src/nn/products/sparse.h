#pragma once
// Matrix products that skip the zeros of a weight: single ones in float32, and blocks of four along
// the input ([1, 4]: one output, inputs 4 i .. 4 i + 3) in int8. Outputs come in panels of 32, as
// in panels.h, and what is done with a sum is the same.
//
// A register holds one input (or the four of a block) of several rows of X, side by side, so that
// an entry of the weight, broadcast, is multiplied with all of them by one load and one instruction
// (two on 16-bit words), wherever in the row it lies: nothing is gathered. Entries of eight outputs
// lie beside each other, [step][8], which hides the latency of sums; the outputs of a panel are
// ordered by their numbers of entries, so that few steps are padded with zeros. Inputs are cut into
// spans whose part of X stays in the first cache.
//
// Integer sums are exact, so they are those of the dense product. Sums of floats run over the
// inputs in order, as dense ones do, which leave out nothing: adding 0 * x changes no sum but the
// sign of 0, unless x is not finite; then all sums of its row are NaN.

#include <cstdint>
#include <vector>

#include "products/panels.h"

namespace compress::nn::sparse {

using panels::Task;
using panels::width;

// Floats; blocks of int8 as bytes or as 16-bit words.
enum class Kind { floats, bytes, words };

constexpr int64_t side = 8;  // outputs whose entries lie side by side
constexpr int64_t groups = width / side;
constexpr int64_t block = panels::quad;  // inputs of an integer entry

// Outputs of a panel and inputs of a span.
struct Section {
  uint8_t outputs[width];  // in the order of the groups
  uint32_t steps[groups];  // entries of a group's longest output; shorter ones have zeros behind
  int64_t first = 0;       // step of the matrix at which they begin
};

struct Matrix {
  Kind kind = Kind::floats;
  int64_t outputs = 0, inputs = 0;
  int64_t spans = 0;
  std::vector<Section> sections;  // [panel][span]
  std::vector<uint16_t> places;   // [step][side]: which input (block) of the span
  std::vector<float> floats;      // [step][side]
  std::vector<int8_t> bytes;      // [step][side][4]
  std::vector<int16_t> words;     // [step][side][4]
};

// Whether this processor, or what COMPRESS_CPU leaves of it, multiplies them.
bool available(Kind kind);
// Inputs (blocks) of a span.
int64_t span(Kind kind);

// Makes a matrix of `values`, [outputs][inputs], inputs a multiple of 4 unless they are floats.
Matrix from_floats(const float* values, int64_t outputs, int64_t inputs);
Matrix from_integers(const int8_t* values, int64_t outputs, int64_t inputs, Kind kind);

// The part of all weights (blocks) that is multiplied: those that are not zero, and what is padded.
double density(const Matrix& matrix);

// How many rows of X are multiplied at once at most, and how many take the place of `rows` of them.
int64_t most_rows();
int64_t padded_rows(int64_t rows);

// X as `multiply` reads it: [inputs or blocks][padded rows] of floats, or of four bytes or words.
// `to` has room for packed_size() 32-bit numbers, and should begin at a multiple of 64 bytes (which
// no load then straddles). Bytes are stored as value + 128, unsigned.
int64_t packed_size(Kind kind, int64_t inputs, int64_t rows);
void pack_floats(const float* x, int64_t rows, int64_t inputs, int64_t stride, uint32_t* to);
void pack_bytes(const int8_t* x, int64_t rows, int64_t inputs, int64_t stride, uint32_t* to);
void pack_words(const int16_t* x, int64_t rows, int64_t inputs, int64_t stride, uint32_t* to);

// A panel of X W^T, finished (panels.h): of `task`, `rows` (at most most_rows()), `columns`,
// scales, offsets (all integers), bias, gelu and y count, and x is what was packed. `sums` is
// memory for 32 * padded_rows() * 2 numbers.
void multiply(const Matrix& matrix, int64_t panel, const Task& task, uint32_t* sums);

}  // namespace compress::nn::sparse
