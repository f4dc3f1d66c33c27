#pragma once
// Weights in the order in which evaluation multiplies with them, on the CPU in float32.
//
// A layer whose weight lies on an int8 grid (Parameter::steps) and whose input transform rounds to
// int8 multiplies integers: y = (sum of q_x q_w) * scale_x * scale_w + b. The sum is exact, so y is
// what the product of the fake-quantised floats is, but for the rounding of that product's own sum.
//
// A weight whose numbers are all exact in bf16 (of a checkpoint stored in it) lies in memory as
// bf16. Products are those in float32 to the bit; with few rows, which wait for memory, up to twice
// as fast.

#include "compress/data/torch.h"

#include <memory>
#include <string>
#include <vector>

#include "compress/nn/parameter.h"

namespace compress::nn {

namespace panels {
struct Task;
}
namespace sparse {
struct Matrix;
}

// How sums of int8 products are computed, all the same but for the rounding of the last: with
// instructions on bytes (AVX-VNNI, AVX-512 VNNI, AMX; aarch64), with instructions on 16-bit words
// (every x86-64 processor), both exact, or with the integers as float32, exact while sums stay
// below 2^24.
enum class IntegerProducts { bytes, words, floats };

// The fastest one of this processor, or of what COMPRESS_CPU leaves of it.
IntegerProducts integer_products();
// All that it can do, the fastest first.
std::vector<IntegerProducts> available_integer_products();
const char* name(IntegerProducts products);          // "bytes", "words", "floats"
std::string instructions(IntegerProducts products);  // by which they are computed, to be shown

// Whether a product leaves out the zeros of its weight: single ones in float32, blocks of four
// along the input ([1, 4]) in int8. int8 sums are the same either way, and so are those of float32
// but for the sign of a 0, where x is finite; a row of x that is not gives NaN everywhere.
enum class Zeros {
  skipped_if_faster,  // by the densities at which both were measured equally fast
  skipped,            // wherever a kernel can
  multiplied
};

// How a matrix is multiplied, to be shown.
struct Kernel {
  double density = 1;   // weights that are not 0
  std::string pattern;  // of the zeros: "none", "single", "1 x 4" (nine of ten lie in such blocks)
  std::string arithmetic;  // "float32", "float32 (stored as bf16)", "int8"
  bool sparse = false;     // zeros are left out
  std::string instructions;
};

class PackedWeight {
 public:
  // `weight` is [out, in], float32 on the CPU. `steps` [out] or undefined. Integers are multiplied
  // when `weight` turns out to be int8 multiples of `steps` and `input` rounds to integers, in the
  // way that `integers` says.
  PackedWeight(const torch::Tensor& weight, const torch::Tensor& steps, InputTransform* input,
               IntegerProducts integers, Zeros zeros = Zeros::skipped_if_faster);
  // X W^T + b of X [rows, in], then GELU (erf) when asked for: [rows, out]. Allocates nothing else
  // that is kept or large; the numbers do not depend on threads or on which rows come together.
  torch::Tensor multiply(const torch::Tensor& x, const RowInfo& rows, const torch::Tensor& bias,
                         bool gelu) const;
  bool integers() const { return form_ != Form::floats; }
  bool halves() const { return halves_; }  // in memory as bf16
  bool sparse() const { return sparse_ != nullptr; }
  Kernel kernel() const;

 private:
  // What lies in the panels: floats; int8; int8 values as 16-bit words or as floats.
  enum class Form { floats, bytes, words, whole_floats };
  struct Inputs {
    const float* x;
    int64_t rows;
    const float* bias;
    bool gelu;
    float* y;
  };
  void count_zeros(const torch::Tensor& weight);
  bool pack_sparse(const torch::Tensor& weight);
  bool pack_sparse(const int8_t* values);
  int64_t rows_a_chunk() const;
  int64_t filled_in_a_panel() const;  // weights of one that are multiplied
  void run_sparse(const Inputs& inputs, int64_t begin, int64_t end) const;
  void pack(const torch::Tensor& weight);
  void pack_bytes(const int8_t* values);
  void sum_offsets(const int8_t* values);  // of products of bytes
  // `rows` of the inputs from `first` on, with the panel whose first output is `column`: all but
  // what is multiplied and the rows' scales.
  panels::Task task_of(const Inputs& inputs, int64_t first, int64_t rows, int64_t column) const;
  void pack_words(const int8_t* values);
  bool pack_integers(const torch::Tensor& weight, const torch::Tensor& steps);
  void run(const Inputs& inputs, int64_t begin, int64_t end) const;
  void multiply_floats(panels::Task& task, int64_t panel, std::vector<float>& wide) const;

  Form form_ = Form::floats;
  bool halves_ = false;  // floats are bf16
  int64_t out_ = 0, in_ = 0, panels_ = 0;
  InputTransform* input_ = nullptr;
  Zeros zeros_;
  int64_t filled_ = 0, filled_blocks_ = 0;        // weights, blocks of four that are not 0
  std::shared_ptr<const sparse::Matrix> sparse_;  // instead of values_
  int32_t zero_ = 0;                              // the integer of an input that stands for 0
  torch::Tensor values_;                          // panels.h
  torch::Tensor scales_;                          // [panels * 32]: steps, 0 after the last
  torch::Tensor offsets_;                         // [panels * 32] int32
};

// Names and kernels of a model's packed matrices, in the order of the table; layers that share a
// product stand together.
struct NamedKernel {
  std::vector<std::string> names;
  int64_t outputs = 0, inputs = 0;
  Kernel kernel;
};
std::vector<NamedKernel> kernels(ParamTable& params);

// Packs every matrix of a model for as long as it lives; makes a second copy of them. Weights,
// input transforms and `steps` must not change meanwhile. Passes in training, with gradients, in
// another precision or on another device go on as without.
class PackedWeights {
 public:
  explicit PackedWeights(ParamTable& params, IntegerProducts integers = integer_products(),
                         Zeros zeros = Zeros::skipped_if_faster);
  ~PackedWeights();
  PackedWeights(const PackedWeights&) = delete;
  PackedWeights& operator=(const PackedWeights&) = delete;

 private:
  ParamTable& params_;
};

}  // namespace compress::nn
