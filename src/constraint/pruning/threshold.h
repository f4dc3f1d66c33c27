#pragma once
// The exact selection of the smallest weights, in O(n) and independent of the number of threads.

#include <cstdint>
#include <vector>

namespace compress::constraint {

struct Ranked {
  const float* weight = nullptr;
  const uint8_t* before =
      nullptr;              // weights whose entry is 0 stay masked, before all others; may be null
  uint8_t* keep = nullptr;  // out: 0 for the chosen, 1 for the rest; may be `before`
  int64_t count = 0;
};

// Masks exactly `zeros` of all weights in `tensors` (or those of `before`, when they are more): the
// smallest magnitudes; among equal ones those that come first (order of tensors, then row-major
// index). Returns false, with `keep` untouched, when a weight that is ranked is not finite.
bool mask_smallest(const std::vector<Ranked>& tensors, int64_t zeros);

// After mask_smallest() with `before` apart from `keep`: masks all weights that are no larger than
// the largest one of those that are masked now and were not before.
void mask_ties(const std::vector<Ranked>& tensors);

}  // namespace compress::constraint
