#pragma once
// Batches of rows whose answers come in any order.

#include <cstdint>
#include <vector>

#include "compress/data/dataset.h"

namespace compress::data {

// The rows [begin, end) in batches of at most `most_rows` rows and `most_tokens` tokens (a row that
// is longer is a batch of its own), the longest first and rows of a length in their order.
std::vector<std::vector<int64_t>> batches_by_length(const Split& split, int64_t begin, int64_t end,
                                                    int64_t most_rows, int64_t most_tokens);

}  // namespace compress::data
