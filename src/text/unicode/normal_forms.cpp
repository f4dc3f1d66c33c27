#include "unicode/normal_forms.h"

#include <utf8proc.h>

#include <algorithm>
#include <map>
#include <string>
#include <unordered_map>

#include "unicode/char_table.h"
#include "unicode/unicode.h"

namespace compress::text {
namespace {

constexpr char32_t l_base = 0x1100, v_base = 0x1161, t_base = 0x11A7, s_base = 0xAC00;
constexpr char32_t l_count = 19, v_count = 21, t_count = 28, s_count = 11172;
constexpr char32_t first_composing = 0x300;

// Pairs of characters and what they compose to.
class Compositions {
 public:
  Compositions() {
    std::map<std::u32string, char32_t> whole;
    std::u32string parts;
    auto for_each = [&](auto&& visit) {
      for (char32_t c = 0; c < s_base; ++c) visit(c);
      for (char32_t c = s_base + s_count; c < code_point_count; ++c) visit(c);
    };
    auto decompose = [&](char32_t c) {
      if (!(PropertyTable::get()[c] & Property::decomposes)) return false;
      if (utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->comp_exclusion) return false;
      parts.clear();
      append_decomposed(parts, c);
      return parts.size() > 1;
    };
    for_each([&](char32_t c) {
      if (decompose(c)) whole.emplace(parts, c);
    });
    for_each([&](char32_t c) {
      if (!decompose(c)) return;
      const char32_t second = parts.back();
      parts.pop_back();
      char32_t first = parts[0];
      if (parts.size() > 1) {
        auto found = whole.find(parts);
        if (found == whole.end()) return;
        first = found->second;
      }
      pairs_.emplace(key(first, second), c);
    });
  }

  // 0 where the two do not compose.
  char32_t find(char32_t first, char32_t second) const {
    if (first - l_base < l_count && second - v_base < v_count)
      return s_base + ((first - l_base) * v_count + (second - v_base)) * t_count;
    if (first - s_base < s_count && (first - s_base) % t_count == 0 && second > t_base &&
        second < t_base + t_count)
      return first + (second - t_base);
    auto found = pairs_.find(key(first, second));
    return found == pairs_.end() ? 0 : found->second;
  }

  static const Compositions& get() {
    static const Compositions table;
    return table;
  }

 private:
  static uint64_t key(char32_t first, char32_t second) { return uint64_t{first} << 32 | second; }
  std::unordered_map<uint64_t, char32_t> pairs_;
};

bool is_compatible(NormalForm form) {
  return form == NormalForm::nfkc || form == NormalForm::nfkd;
}

void append_compatible(std::u32string& out, char32_t c) {
  const CharTable& table = CharTable::get();
  if (table[c] & CharProperty::compatible) {
    utf8proc_int32_t buffer[32];
    int boundary = 0;
    const auto options = static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT);
    auto count =
        utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), buffer, 32, options, &boundary);
    for (utf8proc_ssize_t i = 0; i < count; ++i) out.push_back(static_cast<char32_t>(buffer[i]));
    return;
  }
  // A canonical decomposition may hold a character that has a compatibility decomposition.
  const size_t first = out.size();
  append_decomposed(out, c);
  for (size_t i = first; i < out.size(); ++i) {
    if (out[i] == c || !(table[out[i]] & CharProperty::compatible)) continue;
    std::u32string part;
    append_compatible(part, out[i]);
    out.replace(i, 1, part);
  }
}

// Decomposed characters in canonical order; a character's change travels with it.
void decompose(std::string_view text, NormalForm form, std::vector<Change>& out) {
  std::u32string parts;
  size_t run = 0;  // where characters that are not starters begin
  auto by_class = [](const Change& a, const Change& b) {
    return combining_class(a.code_point) < combining_class(b.code_point);
  };
  auto sort_run = [&] {
    if (out.size() - run > 1)
      std::stable_sort(out.begin() + static_cast<std::ptrdiff_t>(run), out.end(), by_class);
  };
  for (size_t at = 0; at < text.size();) {
    const Decoded d = decode_utf8(text.substr(at));
    at += d.length;
    parts.clear();
    if (is_compatible(form))
      append_compatible(parts, d.code_point);
    else
      append_decomposed(parts, d.code_point);
    for (size_t i = 0; i < parts.size(); ++i) {
      const bool starter = combining_class(parts[i]) == 0;
      if (starter) sort_run();
      out.push_back({parts[i], i > 0});
      if (starter) run = out.size();
    }
  }
  sort_run();
}

// Composes in place, as UAX 15 says; the characters that are joined become one that removes.
void compose(std::vector<Change>& list) {
  const Compositions& table = Compositions::get();
  size_t kept = 0;
  std::ptrdiff_t starter = -1;  // its place among those kept
  int last_class = -1;          // of the last character after the starter; -1: none stands between
  for (size_t i = 0; i < list.size(); ++i) {
    const Change next = list[i];
    const int next_class = combining_class(next.code_point);
    if (starter >= 0 && last_class < next_class) {
      Change& first = list[static_cast<size_t>(starter)];
      if (char32_t joined = table.find(first.code_point, next.code_point)) {
        first = {joined, first.change + next.change - 1};
        continue;
      }
    }
    list[kept] = next;
    if (next_class == 0) {
      starter = static_cast<std::ptrdiff_t>(kept);
      last_class = -1;
    } else {
      last_class = next_class;
    }
    ++kept;
  }
  list.resize(kept);
}

}  // namespace

bool surely_normal(std::string_view text, NormalForm form) {
  const CharTable& table = CharTable::get();
  const PropertyTable& properties = PropertyTable::get();
  const bool composed = form == NormalForm::nfc || form == NormalForm::nfkc;
  for (size_t at = 0; at < text.size();) {
    if (static_cast<uint8_t>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    const Decoded d = decode_utf8(text.substr(at));
    at += d.length;
    const char32_t c = d.code_point;
    if (is_compatible(form) && table[c] & CharProperty::compatible) return false;
    // In composed forms a character that decomposes may come back as it was, or not: singletons.
    if (properties[c] & Property::decomposes && (!composed || c >= first_composing) &&
        !(composed && c - s_base < s_count))
      return false;
    if (c >= first_composing && table[c] & CharProperty::composes) return false;
  }
  return true;
}

void normal_form(std::string_view text, NormalForm form, std::vector<Change>& out) {
  out.clear();
  decompose(text, form, out);
  if (form == NormalForm::nfc || form == NormalForm::nfkc) compose(out);
}

}  // namespace compress::text
