#pragma once
// Properties of code points as the `tokenizers` library sees them, and UTF-8.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace compress::text {

inline constexpr char32_t replacement_character = 0xFFFD;
inline constexpr char32_t code_point_count = 0x110000;

struct Decoded {
  char32_t code_point;
  uint32_t length;  // bytes consumed, at least 1
};

// The code point at the front of `text` (not empty). An ill-formed sequence is U+FFFD, as long as
// its maximal well-formed start (Unicode 15, section 3.9, "maximal subpart").
Decoded decode_utf8(std::string_view text);
void append_utf8(std::string& out, char32_t code_point);
bool valid_utf8(std::string_view text);

// One bit a property.
struct Property {
  enum Bit : uint8_t {
    removed = 1,
    white_space = 2,
    chinese = 4,
    punctuation = 8,
    nonspacing_mark = 16,
    decomposes = 32,
    combining = 64,
  };
};

// A byte for each code point, in blocks of 256 of which equal ones are stored once.
class BlockTable {
 public:
  // `all` holds a byte for each code point.
  explicit BlockTable(std::string_view all);
  uint8_t operator[](char32_t c) const { return blocks_[index_[c >> 8] << 8 | (c & 0xFF)]; }

 private:
  std::vector<uint16_t> index_;
  std::vector<uint8_t> blocks_;
};

// The properties of all code points.
class PropertyTable : public BlockTable {
 public:
  static const PropertyTable& get();

 private:
  PropertyTable();
};

bool is_white_space(char32_t c);
// The regular expression class \w.
bool is_word(char32_t c);
// Canonical combining class.
int combining_class(char32_t c);

// Appends the full canonical decomposition of `c`.
void append_decomposed(std::u32string& out, char32_t c);
// Appends the lower case of `c`: one code point, two for U+0130.
void append_lower(std::u32string& out, char32_t c);

}  // namespace compress::text
