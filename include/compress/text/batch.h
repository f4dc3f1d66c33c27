#pragma once
// Many texts at once, into one contiguous array.

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "compress/text/tokenizer.h"

namespace compress::text {

// N texts (or pairs) back to back.
struct PackedIds {
  std::vector<int32_t> ids;      // [T]
  std::vector<int64_t> offsets;  // [N + 1]: text i is ids[offsets[i] .. offsets[i + 1])
  // [N]: segment ids of text i are 0 for its first first_lengths[i] tokens and 1 after.
  std::vector<int64_t> first_lengths;

  int64_t count() const { return static_cast<int64_t>(first_lengths.size()); }
  std::span<const int32_t> text(int64_t i) const {
    return {ids.data() + offsets[i], static_cast<size_t>(offsets[i + 1] - offsets[i])};
  }
};

// Encodes texts[i], with pairs[i] as the second text unless `pairs` is empty, on `threads` threads
// (0 = one for each processor). The result does not depend on the number of threads.
// EncodeOptions::offsets is ignored. Throws Error{data} when `pairs` has another length than
// `texts`, and the error of the first text that cannot be encoded, naming its index.
PackedIds encode_all(const Tokenizer& tokenizer, std::span<const std::string_view> texts,
                     std::span<const std::string_view> pairs, const EncodeOptions& options,
                     int threads = 0);

}  // namespace compress::text
