#include "compress/base/blocks.h"

#include <algorithm>

namespace compress {

namespace {

// Joins pairs of neighbouring columns, in place.
void halve_columns(std::vector<uint8_t>& cells) {
  const size_t half = cells.size() / 2;
  for (size_t i = 0; i < half; ++i)
    cells[i] = static_cast<uint8_t>(cells[2 * i] | cells[2 * i + 1]);
  cells.resize(half);
}

// Joins pairs of neighbouring rows, in place.
void halve_rows(std::vector<uint8_t>& cells, size_t columns) {
  const size_t half = columns > 0 ? cells.size() / columns / 2 : 0;
  for (size_t row = 0; row < half; ++row) {
    const uint8_t* above = cells.data() + 2 * row * columns;
    uint8_t* out = cells.data() + row * columns;
    for (size_t i = 0; i < columns; ++i)
      out[i] = static_cast<uint8_t>(above[i] | above[columns + i]);
  }
  cells.resize(half * columns);
}

}  // namespace

std::vector<BlockCount> count_zero_blocks(std::vector<uint8_t>& kept, int64_t rows, int64_t columns,
                                          int64_t largest) {
  std::vector<BlockCount> counts;
  for (int64_t high = 1; high <= largest; high *= 2) {
    std::vector<uint8_t> cells = kept;
    for (int64_t wide = 1; wide <= largest; wide *= 2) {
      counts.push_back({high, wide, std::count(cells.begin(), cells.end(), uint8_t{0})});
      if (columns % (2 * wide) != 0) break;
      halve_columns(cells);
    }
    if (rows % (2 * high) != 0) break;
    halve_rows(kept, static_cast<size_t>(columns));
  }
  return counts;
}

}  // namespace compress
