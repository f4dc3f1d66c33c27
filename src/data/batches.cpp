#include "compress/data/batches.h"

#include <algorithm>
#include <numeric>

namespace compress::data {

std::vector<std::vector<int64_t>> batches_by_length(const Split& split, int64_t begin, int64_t end,
                                                    int64_t most_rows, int64_t most_tokens) {
  std::vector<int64_t> rows(static_cast<size_t>(end - begin));
  std::iota(rows.begin(), rows.end(), begin);
  std::vector<int64_t> lengths;
  for (int64_t row : rows) lengths.push_back(packed_length(split, row));
  auto length = [&](int64_t row) { return lengths[static_cast<size_t>(row - begin)]; };
  std::stable_sort(rows.begin(), rows.end(),
                   [&](int64_t a, int64_t b) { return length(a) > length(b); });
  std::vector<std::vector<int64_t>> batches;
  int64_t tokens = 0;
  for (int64_t row : rows) {
    const bool full = batches.empty() || tokens + length(row) > most_tokens ||
                      static_cast<int64_t>(batches.back().size()) == most_rows;
    if (full) {
      batches.emplace_back();
      tokens = 0;
    }
    batches.back().push_back(row);
    tokens += length(row);
  }
  return batches;
}

}  // namespace compress::data
