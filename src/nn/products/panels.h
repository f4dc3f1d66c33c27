#pragma once
// Matrix products with a weight that lies in panels: 32 of its rows (columns of the result) side by
// side, in the order in which a kernel reads them.
//   float32: [panel][in][32]
//   bf16:    [panel][in][16] pairs, of weights that are float32 numbers with 16 zero bits: half the
//            memory to read, widened in the kernel, the same results to the bit
//   int8:    as bytes [panel][in / 4][32][4], or as 16-bit words [panel][in / 2][32][2], `in`
//            padded with zeros: an instruction takes 4 or 2 inputs at once
// Each sum runs over `in` in order, so results do not depend on how rows are grouped.

#include <cstdint>
#include <string>

namespace compress::nn::panels {

constexpr int64_t width = 32;  // outputs of a panel
constexpr int64_t quad = 4;    // inputs that an instruction on bytes takes
constexpr int64_t couple = 2;  // inputs that an instruction on words takes
using Pair = uint32_t;         // bf16 weights of columns c (lower half) and c + 16
constexpr int64_t pairs = 16;  // of a panel and input
// Bytes of inputs are stored as this much more: unsigned for VNNI, signed for aarch64's products.
#if defined(__aarch64__)
constexpr int32_t zero_point = 0;
#else
constexpr int32_t zero_point = 128;
#endif
// Rows of inputs and panels of bytes lie multiples of so many quads apart, zeros in the weights:
// what a tile of AMX takes at once.
constexpr int64_t stride_quads = 16;
constexpr int64_t rows_a_tile = 16;  // of AMX

// y[r][c] = finish(sum over i of x[r][i] * w[c][i]) for `rows` rows and one panel, of which
// `columns` are wanted. finish(s) = s * row_scales[r] * scales[c] + bias[c], then GELU when asked
// for.
struct Task {
  int64_t rows = 0, columns = 0;
  int64_t depth = 0;             // inputs (float32, bf16), quads of bytes or couples of words
  const void* x = nullptr;       // float, bytes (value + zero_point) or int16, padded with `in`
  int64_t x_stride = 0;          // elements from row to row
  const void* weight = nullptr;  // the panel
  const float* row_scales = nullptr;  // null: no scales
  const float* scales = nullptr;      // [width]
  const int32_t* offsets = nullptr;   // bytes: [width], what stands for 0 * sum over i of w[c][i]
  const float* bias = nullptr;        // [columns]; null: none
  bool tiles = false;                 // bytes: a Tiles of this thread is in use
  bool gelu = false;                  // 0.5 v (1 + erf(v / sqrt 2)), error below 3e-7 |v|
  float* y = nullptr;
  int64_t y_stride = 0;
};

void multiply_float(const Task& task);
void multiply_bf16(const Task& task);
// A panel of bf16 as one of float32.
void widen(const Pair* panel, int64_t depth, float* to);
// Integer sums are exact up to 65,536 inputs. Bytes only where has_bytes(), words where
// has_words().
void multiply_bytes(const Task& task);
void multiply_words(const Task& task);
bool has_bytes();        // VNNI or aarch64, unless the instruction set is limited
bool has_words();        // every x86-64 processor
std::string bytes_by();  // the instructions of multiply_bytes(), to be shown

// Where that is faster for so many rows, readies the thread's AMX tiles while it lives. Tasks with
// `tiles` then may read x up to a multiple of 16 rows.
class Tiles {
 public:
  explicit Tiles(int64_t rows);
  ~Tiles();
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
  bool in_use() const { return in_use_; }

 private:
  bool in_use_ = false;
};

}  // namespace compress::nn::panels
