#include "unicode/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <map>
#include <span>

#include "compress/base/utf8.h"
#include "unicode/unicode_tables.h"

namespace compress::text {
namespace {

bool contains(std::span<const Range> ranges, char32_t c) {
  auto after = std::upper_bound(ranges.begin(), ranges.end(), c,
                                [](char32_t x, const Range& r) { return x < r.first; });
  return after != ranges.begin() && c <= (after - 1)->last;
}

constexpr char32_t hangul_first = 0xAC00, hangul_last = 0xD7A3;

}  // namespace

Decoded decode_utf8(std::string_view text) {
  auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  uint8_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xC2 || lead > 0xF4) return {replacement_character, 1};
  uint32_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  // The second byte's range excludes overlong forms, surrogates and values beyond U+10FFFF.
  uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  char32_t c = lead & (0x7Fu >> length);
  for (uint32_t i = 1; i < length; ++i) {
    if (i >= text.size() || byte(i) < low || byte(i) > high) return {replacement_character, i};
    c = c << 6 | (byte(i) & 0x3F);
    low = 0x80;
    high = 0xBF;
  }
  return {c, length};
}

void append_utf8(std::string& out, char32_t c) {
  auto put = [&](char32_t byte) { out.push_back(static_cast<char>(static_cast<uint8_t>(byte))); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6);
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3F));
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

bool valid_utf8(std::string_view text) {
  return invalid_utf8(text) == std::string_view::npos;
}

BlockTable::BlockTable(std::string_view all) {
  std::map<std::string_view, uint16_t> seen;
  for (size_t at = 0; at < all.size(); at += 256) {
    std::string_view block = all.substr(at, 256);
    auto [entry, added] = seen.emplace(block, static_cast<uint16_t>(seen.size()));
    if (added) blocks_.insert(blocks_.end(), block.begin(), block.end());
    index_.push_back(entry->second);
  }
}

namespace {

std::string all_properties() {
  std::string all(code_point_count, '\0');
  auto mark = [&](std::span<const Range> ranges, uint8_t bit) {
    for (const Range& r : ranges)
      for (char32_t c = r.first; c <= r.last; ++c) all[c] = static_cast<char>(all[c] | bit);
  };
  mark(removed_ranges(), Property::removed);
  mark(white_space_ranges(), Property::white_space);
  mark(chinese_ranges(), Property::chinese);
  mark(punctuation_ranges(), Property::punctuation);
  mark(nonspacing_mark_ranges(), Property::nonspacing_mark);
  mark(decomposes_ranges(), Property::decomposes);
  mark(combining_ranges(), Property::combining);
  const Range hangul[] = {{hangul_first, hangul_last}};
  mark(hangul, Property::decomposes);
  return all;
}

}  // namespace

PropertyTable::PropertyTable() : BlockTable(all_properties()) {}

const PropertyTable& PropertyTable::get() {
  static const PropertyTable table;
  return table;
}

bool is_white_space(char32_t c) {
  return PropertyTable::get()[c] & Property::white_space;
}

bool is_word(char32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return contains(word_extra_ranges(), c);
  }
}

// Decompositions and combining classes never change once assigned, so utf8proc's values hold for
// every version; only which code points have one is pinned.
int combining_class(char32_t c) {
  if (!(PropertyTable::get()[c] & Property::combining)) return 0;
  return utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->combining_class;
}

void append_decomposed(std::u32string& out, char32_t c) {
  if (!(PropertyTable::get()[c] & Property::decomposes)) {
    out.push_back(c);
    return;
  }
  utf8proc_int32_t buffer[16];
  int last_boundary_class = 0;
  auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), buffer, 16,
                                       UTF8PROC_DECOMPOSE, &last_boundary_class);
  for (utf8proc_ssize_t i = 0; i < count; ++i) out.push_back(static_cast<char32_t>(buffer[i]));
}

void append_lower(std::u32string& out, char32_t c) {
  if (c == 0x130) {
    out += U"i\u0307";
    return;
  }
  for (const LowerRange& r : lower_ranges()) {
    if (c < r.first) break;
    if (c <= r.last) {
      out.push_back(static_cast<char32_t>(static_cast<int32_t>(c) + r.delta));
      return;
    }
  }
  out.push_back(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
}

}  // namespace compress::text
