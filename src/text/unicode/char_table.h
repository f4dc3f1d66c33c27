#pragma once
// Further properties of code points, for tokenizers other than BERT's.

#include <cstdint>
#include <span>

#include "unicode/unicode.h"
#include "unicode/unicode_tables.h"

namespace compress::text {

// One bit a property.
enum CharProperty : uint8_t {
  kWord = 1,         // the regular expression class \w
  kNumeric = 2,      // char::is_numeric of Rust
  kMark = 4,         // what StripAccents removes
  kLetter = 8,       // \p{L} of Oniguruma
  kNumber = 16,      // \p{N} of Oniguruma
  kNewer = 32,       // PCRE2 does not know its category
  kCompatible = 64,  // has a compatibility decomposition
  kComposes = 128,   // NFC may join it to what precedes, or move it
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
