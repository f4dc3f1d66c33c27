#pragma once
// BERT's text normalisation, with the byte range that each output byte came from.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "unicode/sourced.h"

namespace compress::text {

struct NormalizerOptions {
  bool clean_text = true;            // drop control characters, turn white space into spaces
  bool handle_chinese_chars = true;  // spaces around CJK ideographs
  bool strip_accents = true;         // canonical decomposition without non-spacing marks
  bool lowercase = true;
};

class Normalizer {
 public:
  explicit Normalizer(const NormalizerOptions& options);
  const NormalizerOptions& options() const { return options_; }

  // Replaces `out` by the normalised `text`, which starts at byte `base` of the user's text. The
  // result is well-formed UTF-8 whatever the input.
  void normalize(std::string_view text, uint32_t base, bool offsets, Normalized& out) const;

 private:
  // What happens to a code point by itself.
  enum Action : uint32_t { copy, drop, space, surround, replace, reorder };

  struct Tables {
    // ASCII to its result; 0xFF for dropped.
    std::array<uint8_t, 128> ascii;
    // Action in the low 3 bits; for `replace` above them the place in `pool` of a length byte and
    // the replacement. Blocks of 256 code points, equal blocks stored once.
    std::vector<uint32_t> blocks;
    std::vector<uint16_t> index;
    std::string pool;
  };

  // Those of equal options are made once a process: there are a million code points to look at.
  const Tables& tables() const;
  Tables make_tables() const;
  uint32_t action_of(char32_t c, std::string& pool) const;
  template <bool with_offsets>
  bool normalize_fast(std::string_view text, uint32_t base, Normalized& out) const;
  void normalize_exact(std::string_view text, uint32_t base, bool offsets, Normalized& out) const;

  NormalizerOptions options_;
  const Tables& tables_;
};

}  // namespace compress::text
