#include "compress/text/python.h"

#include <utf8proc.h>

#include <algorithm>

#include "unicode/unicode.h"

namespace compress::text {
namespace {

utf8proc_category_t category(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

struct Between {
  char32_t first, last;
};

template <size_t N>
bool is_in(const Between (&ranges)[N], char32_t c) {
  return std::any_of(std::begin(ranges), std::end(ranges),
                     [c](const Between& range) { return c >= range.first && c <= range.last; });
}

// The property Case_Ignorable (Unicode, definition D136).
bool is_case_ignorable(char32_t c) {
  constexpr Between in_words[] = {
      {U'\'', U'\''},   {U'.', U'.'},     {U':', U':'},     {0x00B7, 0x00B7},
      {0x0387, 0x0387}, {0x055F, 0x055F}, {0x05F4, 0x05F4}, {0x2018, 0x2019},
      {0x2024, 0x2024}, {0x2027, 0x2027}, {0xFE13, 0xFE13}, {0xFE52, 0xFE52},
      {0xFE55, 0xFE55}, {0xFF07, 0xFF07}, {0xFF0E, 0xFF0E}, {0xFF1A, 0xFF1A}};
  switch (category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
      return true;
    default:
      return is_in(in_words, c);
  }
}

// The property Cased (D135) of characters that are not Case_Ignorable.
bool is_cased(char32_t c) {
  constexpr Between others[] = {{0x00AA, 0x00AA},  {0x00BA, 0x00BA},   {0x2160, 0x217F},
                                {0x24B6, 0x24E9},  {0x1F130, 0x1F149}, {0x1F150, 0x1F169},
                                {0x1F170, 0x1F189}};
  switch (category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
      return true;
    default:
      return is_in(others, c);
  }
}

// Whether the sigma at `at` ends a word: a cased letter stands before it and none behind, whatever
// ignorable ones lie between.
bool is_final_sigma(std::u32string_view text, size_t at) {
  size_t before = at, behind = at + 1;
  while (before > 0 && is_case_ignorable(text[before - 1])) --before;
  if (before == 0 || !is_cased(text[before - 1])) return false;
  while (behind < text.size() && is_case_ignorable(text[behind])) ++behind;
  return behind == text.size() || !is_cased(text[behind]);
}

}  // namespace

std::u32string code_points(std::string_view text) {
  std::u32string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Decoded next = decode_utf8(text);
    out.push_back(next.code_point);
    text.remove_prefix(next.length);
  }
  return out;
}

std::u32string lower(std::u32string_view text) {
  constexpr char32_t sigma = 0x3A3, final_sigma = 0x3C2;
  std::u32string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] == sigma && is_final_sigma(text, at))
      out.push_back(final_sigma);
    else
      append_lower(out, text[at]);
  }
  return out;
}

bool is_space(char32_t c) {
  constexpr Between spaces[] = {
      {0x09, 0x0D},     {0x1C, 0x20},     {0x85, 0x85},     {0xA0, 0xA0},     {0x1680, 0x1680},
      {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}};
  return is_in(spaces, c);
}

bool is_word_character(char32_t c) {
  switch (category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return true;
    default:
      return c == U'_';
  }
}

bool is_blank(std::string_view text) {
  while (!text.empty()) {
    const Decoded next = decode_utf8(text);
    if (!is_space(next.code_point)) return false;
    text.remove_prefix(next.length);
  }
  return true;
}

}  // namespace compress::text
