#pragma once
// Byte-pair encoding's training: which pairs of neighbours to join.

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace compress::text {

// A word as ids of its symbols, and how often it was met.
struct CountedWord {
  std::vector<int32_t> symbols;
  int64_t count = 0;
};

struct LearntMerge {
  int32_t left, right, joined;
};

// Joins the most frequent pair of neighbours again and again, among equals the one with the lower
// ids, until `tokens` has `size` entries or the best pair is rarer than `min_frequency`. New tokens
// are appended to `tokens`; the text of one is that of the left and of the right less its first
// `prefix` bytes. Words are changed on the way.
std::vector<LearntMerge> learn_merges(std::vector<CountedWord> words,
                                      std::vector<std::string>& tokens, size_t size,
                                      int64_t min_frequency, size_t prefix);

}  // namespace compress::text
