#include "compress/base/blocks.h"

#include <algorithm>
#include <cstring>

namespace compress {

namespace {

// How many of `count` bytes of 0 or 1 are 0. Words are added up, their bytes taken apart now and
// then: counting bytes one by one took most of the time of large matrices.
int64_t count_zeros(const uint8_t* cells, size_t count) {
  constexpr size_t together = sizeof(uint64_t), most = 255;  // words until a byte is full
  size_t ones = 0, i = 0;
  while (i + together <= count) {
    const size_t words = std::min(most, (count - i) / together);
    uint64_t sum = 0;
    for (size_t w = 0; w < words; ++w) {
      uint64_t word;
      std::memcpy(&word, cells + i + w * together, together);
      sum += word;
    }
    constexpr uint64_t even = 0x00FF00FF00FF00FF;
    ones += (((sum & even) + ((sum >> 8) & even)) * 0x0001000100010001) >> 48;
    i += words * together;
  }
  for (; i < count; ++i) ones += cells[i];
  return static_cast<int64_t>(count - ones);
}

// Joins pairs of neighbouring columns.
void halve_columns(const uint8_t* cells, size_t half, uint8_t* __restrict to) {
  for (size_t i = 0; i < half; ++i) to[i] = static_cast<uint8_t>(cells[2 * i] | cells[2 * i + 1]);
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
  std::vector<uint8_t> halves(kept.size() / 2), quarters(kept.size() / 4);
  for (int64_t high = 1; high <= largest; high *= 2) {
    const uint8_t* cells = kept.data();
    size_t count = kept.size();
    for (int64_t wide = 1; wide <= largest; wide *= 2) {
      counts.push_back({high, wide, count_zeros(cells, count)});
      if (columns % (2 * wide) != 0) break;
      uint8_t* const to = cells == halves.data() ? quarters.data() : halves.data();
      count /= 2;
      halve_columns(cells, count, to);
      cells = to;
    }
    if (rows % (2 * high) != 0) break;
    halve_rows(kept, static_cast<size_t>(columns));
  }
  return counts;
}

}  // namespace compress
