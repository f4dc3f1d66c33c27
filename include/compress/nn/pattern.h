#pragma once
// Patterns of zeros: which weights of a matrix are zero together.

#include "compress/data/torch.h"

#include <cstdint>
#include <string>
#include <vector>

#include "compress/base/blocks.h"

namespace compress::nn {

class Model;

// Of a matrix [out, in] as it lies in memory, whatever the family's files do: blocks of `rows`
// outputs times `columns` inputs, counted from the first ones on, that are zero as a whole or not
// at all; or (N:M, Zhou et al. 2021, arXiv 2102.04010) at most `kept` of each `of` consecutive
// inputs of an output, counted from the first one on, that are not zero.
struct Pattern {
  int64_t rows = 1, columns = 1;
  int64_t kept = 0, of = 0;  // of > 0: such groups, and no blocks

  bool groups() const { return of > 0; }
  bool blocks() const { return !groups() && rows * columns > 1; }
  bool single() const { return !groups() && !blocks(); }
  // Whether a matrix [out, in] has no weight outside of a whole block or group.
  bool divides(int64_t out, int64_t in) const {
    return groups() ? in % of == 0 : out % rows == 0 && in % columns == 0;
  }
  // "blocks of 1x4", "2 of 4", "single weights"
  std::string text() const;
  // Behind a share or a number of weights: " in blocks of 1x4", ", 2 of 4", "".
  std::string behind() const;
  bool operator==(const Pattern&) const = default;
};

inline constexpr const char* single_zeros = "single zeros";

// Zeros that rounding to integers makes inside of blocks that are kept: at most so many of the
// weights outside of zero blocks.
inline constexpr double most_zeros_outside = 0.1;

// Finds the pattern that the zeros of several matrices have in common. Single zeros inside of
// blocks that are kept are let pass: a block shape fits where, of the weights outside of its zero
// blocks, at most `most_zeros_outside` are zero, and zero blocks hold at least half of all zeros.
// The largest shape that fits is found, of those whose sides are powers of two up to 64. Groups fit
// where each of 2, 4, 8 or 16 inputs has at most `kept` weights that are not zero and there are at
// least 0.9 times as many as that allows; matrices with less than a twentieth of zeros do not count
// there.
class ZeroPattern {
 public:
  void add(const torch::Tensor& weight);  // [out, in], any type
  // single() where nothing else fits, or nothing is zero.
  Pattern found() const;
  // "" without zeros, single_zeros, "2 of 4", "blocks of 1x4", "blocks of 1x4, 1.2% of zeros
  // outside of them"
  std::string text() const;

 private:
  // Zeros of whole blocks, of a shape that all matrices with zeros have.
  struct Blocks {
    int64_t rows, columns, inside;
  };
  struct Groups {
    int64_t of, most = 0, kept = 0, weights = 0;
    bool possible = true;
  };
  const Blocks* blocks() const;
  bool first_ = true;
  int64_t weights_ = 0, zeros_ = 0;
  std::vector<Blocks> shapes_;
  std::vector<Groups> groups_ = {{2}, {4}, {8}, {16}};
};

// The text of the matrices inside of the model's layers.
std::string zeros_text(const Model& model);

// Zero blocks as a mask [out / rows, in / columns] of uint8: 1 where a block of `weight` has
// anything but zeros.
torch::Tensor kept_blocks(const torch::Tensor& weight, const Pattern& pattern);

}  // namespace compress::nn
