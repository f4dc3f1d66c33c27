#include "unicode/char_table.h"

#include <utf8proc.h>

#include <string>

namespace compress::text {
namespace {

bool has_compatible_decomposition(char32_t c) {
  const utf8proc_property_t* property = utf8proc_get_property(static_cast<utf8proc_int32_t>(c));
  return property->decomp_type != 0 && property->decomp_seqindex != UINT16_MAX;
}

uint8_t properties_of(char32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return CharProperty::letter;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
      return CharProperty::mark;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return CharProperty::number | CharProperty::numeric;
    default:
      return 0;
  }
}

// Code points that compose with a preceding one: second places of canonical pairs.
void mark_second_places(std::string& all) {
  std::u32string parts;
  for (char32_t c = 0; c < code_point_count; ++c) {
    if (!(PropertyTable::get()[c] & Property::decomposes)) continue;
    parts.clear();
    append_decomposed(parts, c);
    for (size_t i = 1; i < parts.size(); ++i)
      all[parts[i]] = static_cast<char>(all[parts[i]] | CharProperty::composes);
  }
}

std::string mapped_properties() {
  std::string all(code_point_count, '\0');
  for (char32_t c = 0; c < code_point_count; ++c) {
    uint8_t bits = properties_of(c);
    if (is_word(c)) bits |= CharProperty::word;
    if (has_compatible_decomposition(c)) bits |= CharProperty::compatible;
    if (combining_class(c) != 0) bits |= CharProperty::composes;
    all[c] = static_cast<char>(bits);
  }
  auto change = [&](std::span<const Range> ranges, uint8_t bit, bool on) {
    for (const Range& r : ranges)
      for (char32_t c = r.first; c <= r.last; ++c)
        all[c] = static_cast<char>(on ? all[c] | bit : all[c] & ~bit);
  };
  change(new_letter_ranges(), CharProperty::letter, true);
  change(new_number_ranges(), CharProperty::number, true);
  change(new_numeric_ranges(), CharProperty::numeric, true);
  change(kept_mark_ranges(), CharProperty::mark, false);
  change(removed_other_ranges(), CharProperty::mark, true);
  change(new_decomposition_ranges(), CharProperty::compatible, false);
  for (const NewerRange& r : newer_ranges()) {
    const Range range[] = {{r.first, r.last}};
    change(range, CharProperty::newer, true);
  }
  mark_second_places(all);
  return all;
}

}  // namespace

CharTable::CharTable() : BlockTable(mapped_properties()) {}

const CharTable& CharTable::get() {
  static const CharTable table;
  return table;
}

}  // namespace compress::text
