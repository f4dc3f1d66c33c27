#pragma once
// The texts behind the rows of a split, for scoring what a model answers or writes.

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "compress/data/dataset.h"

namespace compress::data {

struct Passages {
  struct Example {
    std::string id;                       // of the question: SQuAD's, else the line in the file
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

// What a split was read from, and its passages once they were asked for.
struct PassageSource {
  PassageSource(DatasetOptions from, std::string hash)
      : options(std::move(from)), sha256(std::move(hash)) {}
  const DatasetOptions options;
  const std::string sha256;  // of the file
  std::once_flag once;
  Passages passages;
};

// The text to be written for each row of a sequence-to-sequence split, or of a language model's
// whose rows have a target, as the file has it: not cut, not tokenised. A list has all accepted
// texts. Reads the split's file again. Error{data} where it is no longer what it was.
std::vector<std::vector<std::string>> references_of(const Split& split);

// The answer that each row of a split proposes (DatasetOptions::candidate), and whether its rows
// do. Reads the split's file again. Error{data} where it is no longer what it was.
std::vector<std::string> candidates_of(const Split& split);
bool has_candidates(const Split& split);

// The passages of a split, which live as long as it. The first call reads and tokenises the split's
// file again, with the tokenizer that the split was read with. Error{data} where the file is no
// longer what it was.
const Passages& passages_of(const Split& split, const text::Tokenizer& tokenizer);

}  // namespace compress::data
