#pragma once
// Further properties of code points, for tokenizers other than BERT's.

#include <cstdint>
#include <span>

#include "unicode/unicode.h"
#include "unicode/unicode_tables.h"

namespace compress::text {

// One bit a property.
struct CharProperty {
  enum Bit : uint8_t {
    word = 1,         // the regular expression class \w
    numeric = 2,      // char::is_numeric of Rust
    mark = 4,         // what StripAccents removes
    letter = 8,       // \p{L} of Oniguruma
    number = 16,      // \p{N} of Oniguruma
    newer = 32,       // PCRE2 does not know its category
    compatible = 64,  // has a compatibility decomposition
    composes = 128,   // NFC may join it to what precedes, or move it
  };
};

// The properties of all code points.
class CharTable : public BlockTable {
 public:
  static const CharTable& get();

 private:
  CharTable();
};

// A range of code points with its general category, for instance "Lu".
struct NewerRange {
  char32_t first, last;
  char category[3];
};

std::span<const Range> new_letter_ranges();
std::span<const Range> new_number_ranges();
std::span<const Range> new_numeric_ranges();
std::span<const Range> kept_mark_ranges();
std::span<const Range> removed_other_ranges();
std::span<const Range> new_decomposition_ranges();
std::span<const NewerRange> newer_ranges();

}  // namespace compress::text
