#pragma once
// Rows whose tokens are tied to the text they came from: tagged words, answers in passages.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "compress/text/tokenizer.h"

namespace compress::data {

// Separates the items of a list in one cell.
inline constexpr char list_separator = '\x1F';
std::vector<std::string_view> list_items(std::string_view cell);

// A text's tokens and, for each, the class of the word that begins with it, else -100.
struct TaggedRow {
  std::vector<int32_t> ids, classes;
  int64_t first_length = 0;
};
TaggedRow tag_tokens(const text::Tokenizer& tokenizer, const std::vector<std::string_view>& words,
                     const std::vector<int32_t>& classes, int64_t max_length);

// A question with a passage, cut into windows that share `stride` tokens of it (as
// DatasetOptions::stride says where there is none).
struct Windows {
  std::vector<int32_t> front, passage, back;  // tokens: before the passage, its own, behind it
  std::vector<text::ByteRange> ranges;        // of the passage's tokens
  std::vector<int64_t> starts;                // of the windows, in the passage's tokens
  int64_t room = 0;                           // tokens of the passage in a window
  int64_t first_length = 0;                   // tokens with segment 0; at most those in `front`,
                                              // or larger than any row: all of them
  std::string problem, hint;                  // why there are none

  int64_t count(size_t window) const {
    return std::min(room, static_cast<int64_t>(passage.size()) - starts[window]);
  }
};
Windows cut_passage(const text::Tokenizer& tokenizer, std::string_view question,
                    std::string_view passage, int64_t max_length, std::optional<int64_t> stride);

// Where an answer lies in its passage, in bytes. `start` counts characters, -1 = where the text is
// found first. Nothing where it is not there.
struct AnswerPlace {
  bool found = false;
  size_t begin = 0, end = 0;
};
AnswerPlace find_answer(std::string_view passage, std::string_view answer, int64_t start);

}  // namespace compress::data
