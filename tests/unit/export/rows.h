#pragma once
// Rows that exports are compared on.

#include "compress/data/dataset.h"

namespace compress {

// Rows of tokens, of uneven length, with both classes; `pairs`: every other one of two texts.
inline data::Split split_of(int64_t rows, bool pairs) {
  data::Split out;
  out.name = "test";
  out.file = "made up";
  out.labels = {"negative", "positive"};
  out.offsets = {0};
  for (int64_t row = 0; row < rows; ++row) {
    int64_t length = 3 + row % 5;
    for (int64_t i = 0; i < length; ++i)
      out.ids.push_back(static_cast<int32_t>((row * 7 + i * 11) % 40));
    out.offsets.push_back(out.offsets.back() + length);
    out.first_lengths.push_back(static_cast<int32_t>(pairs ? length - row % 2 : length));
    out.classes.push_back(static_cast<int32_t>(row % 2));
    out.lines.push_back(row + 1);
  }
  return out;
}

}  // namespace compress
