#pragma once
// Blocks of a matrix that are zero as a whole.

#include <cstdint>
#include <vector>

namespace compress {

struct BlockCount {
  int64_t rows = 1, columns = 1;  // of one block
  int64_t zero = 0;               // blocks of this shape in which nothing is kept
};

// Of a row-major matrix, `kept` (1 or 0 a value, overwritten): for each pair of powers of two up to
// `largest` that divide its sides, how many of its blocks, counted from the first row and column
// on, hold nothing but zeros. The first entry is that of 1 x 1. Time and memory of a few passes.
std::vector<BlockCount> count_zero_blocks(std::vector<uint8_t>& kept, int64_t rows, int64_t columns,
                                          int64_t largest);

}  // namespace compress
