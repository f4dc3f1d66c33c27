#pragma once
// Sorted ranges of code points behind unicode.h.

#include <cstdint>
#include <span>

namespace compress::text {

struct Range {
  char32_t first, last;
};

struct LowerRange {
  char32_t first, last;
  int32_t delta;
};

std::span<const Range> removed_ranges();
std::span<const Range> white_space_ranges();
std::span<const Range> chinese_ranges();
std::span<const Range> punctuation_ranges();
std::span<const Range> nonspacing_mark_ranges();
std::span<const Range> decomposes_ranges();
std::span<const Range> combining_ranges();
std::span<const Range> word_extra_ranges();
std::span<const LowerRange> lower_ranges();

}  // namespace compress::text
