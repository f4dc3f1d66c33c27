#pragma once
// The texts behind the rows of a span split, for scoring what a model answers.

#include <cstdint>
#include <string>
#include <vector>

#include "compress/data/dataset.h"

namespace compress::data {

struct Passages {
  struct Example {
    std::string text;                     // the passage
    std::vector<std::string> answers;     // empty: it has none
    std::vector<text::ByteRange> tokens;  // of the passage
  };
  // What a row of the split holds of its passage.
  struct Window {
    int64_t example = 0;
    int64_t begin = 0;              // place in the row of the first of them
    int64_t first = 0, tokens = 0;  // which tokens of the passage
  };
  std::vector<Example> examples;
  std::vector<Window> windows;  // one a row

  // The text from token `first` to `last` of a row, which lie in its window.
  std::string text_of(int64_t row, int64_t first, int64_t last) const;
};

// Reads the split's file again. Error{data} where its rows are no longer those of the split.
Passages read_passages(const Split& split, const text::Tokenizer& tokenizer);

}  // namespace compress::data
