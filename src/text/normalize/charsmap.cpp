#include "normalize/charsmap.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <stdexcept>

#include "unicode/unicode.h"
#include "unicode/unicode_tables.h"

namespace compress::text {
namespace {

// A unit of the trie: an offset to its children, the byte that leads to it, and whether a rule ends
// there; or the place of a replacement.
uint32_t offset_of(uint32_t unit) {
  return (unit >> 10) << ((unit & (1U << 9)) >> 6);
}
uint32_t label_of(uint32_t unit) {
  return unit & ((1U << 31) | 0xFF);
}
bool has_leaf(uint32_t unit) {
  return (unit >> 8 & 1) != 0;
}
uint32_t value_of(uint32_t unit) {
  return unit & ~(1U << 31);
}

constexpr size_t short_cluster = 6;

size_t count_characters(std::string_view text) {
  size_t count = 0;
  for (char c : text) count += (static_cast<uint8_t>(c) & 0xC0) != 0x80;
  return count;
}

// Where utf8proc's grapheme clusters (Unicode 15 in version 2.8) differ from the library's
// (Unicode 17): code points that are asked about by another one of the right class. Read off the
// library like the tables of unicode_tables.cpp; tests/interop/test_tokenizer_parts.py asks again.
constexpr char32_t control = 0, extend = 0x300, spacing = 0x903, prepend = 0x600, other = 'a';
struct StandIn {
  char32_t first, last, by;
};
constexpr StandIn stand_ins[] = {
    {0x897, 0x897, extend},      {0xCC0, 0xCC0, extend},      {0xCC7, 0xCC8, extend},
    {0xCCA, 0xCCB, extend},      {0x1715, 0x1715, extend},    {0x1734, 0x1734, extend},
    {0x1ACF, 0x1ADD, extend},    {0x1AE0, 0x1AEB, extend},    {0x1B3B, 0x1B3B, extend},
    {0x1B3D, 0x1B3D, extend},    {0x1B43, 0x1B43, extend},    {0x1BAA, 0x1BAA, extend},
    {0x1BF2, 0x1BF3, extend},    {0x2065, 0x2065, control},   {0xA953, 0xA953, extend},
    {0xFFF0, 0xFFF8, control},   {0x10D69, 0x10D6D, extend},  {0x10EFA, 0x10EFC, extend},
    {0x111C0, 0x111C0, extend},  {0x11235, 0x11235, extend},  {0x1134D, 0x1134D, extend},
    {0x113B8, 0x113B8, extend},  {0x113B9, 0x113BA, spacing}, {0x113BB, 0x113C0, extend},
    {0x113C2, 0x113C2, extend},  {0x113C5, 0x113C5, extend},  {0x113C7, 0x113C9, extend},
    {0x113CA, 0x113CA, spacing}, {0x113CC, 0x113CD, spacing}, {0x113CE, 0x113D0, extend},
    {0x113D1, 0x113D1, prepend}, {0x113D2, 0x113D2, extend},  {0x113E1, 0x113E2, extend},
    {0x116B6, 0x116B6, extend},  {0x1171E, 0x1171E, spacing}, {0x1193D, 0x1193D, extend},
    {0x11A3A, 0x11A3A, other},   {0x11B60, 0x11B60, extend},  {0x11B61, 0x11B61, spacing},
    {0x11B62, 0x11B64, extend},  {0x11B65, 0x11B65, spacing}, {0x11B66, 0x11B66, extend},
    {0x11B67, 0x11B67, spacing}, {0x11F41, 0x11F41, extend},  {0x11F5A, 0x11F5A, extend},
    {0x1611E, 0x16129, extend},  {0x1612A, 0x1612C, spacing}, {0x1612D, 0x1612F, extend},
    {0x16FF0, 0x16FF1, extend},  {0x1D166, 0x1D166, extend},  {0x1D16D, 0x1D16D, extend},
    {0x1E5EE, 0x1E5EF, extend},  {0x1E6E3, 0x1E6E3, extend},  {0x1E6E6, 0x1E6E6, extend},
    {0x1E6EE, 0x1E6EF, extend},  {0x1E6F5, 0x1E6F5, extend},  {0xE0000, 0xE0000, control},
    {0xE0002, 0xE001F, control}, {0xE0080, 0xE00FF, control}, {0xE01F0, 0xE0FFF, control}};

// Rule GB9c, which utf8proc has from version 2.9 on: a consonant stays with one before it that a
// linker (a virama) follows.
constexpr Range consonants[] = {
    {0x915, 0x939},     {0x958, 0x95F},     {0x978, 0x97F},     {0x995, 0x9A8},
    {0x9AA, 0x9B0},     {0x9B2, 0x9B2},     {0x9B6, 0x9B9},     {0x9DC, 0x9DD},
    {0x9DF, 0x9DF},     {0x9F0, 0x9F1},     {0xA95, 0xAA8},     {0xAAA, 0xAB0},
    {0xAB2, 0xAB3},     {0xAB5, 0xAB9},     {0xAF9, 0xAF9},     {0xB15, 0xB28},
    {0xB2A, 0xB30},     {0xB32, 0xB33},     {0xB35, 0xB39},     {0xB5C, 0xB5D},
    {0xB5F, 0xB5F},     {0xB71, 0xB71},     {0xC15, 0xC28},     {0xC2A, 0xC39},
    {0xC58, 0xC5A},     {0xD15, 0xD3A},     {0x1000, 0x102A},   {0x103F, 0x103F},
    {0x1050, 0x1055},   {0x105A, 0x105D},   {0x1061, 0x1061},   {0x1065, 0x1066},
    {0x106E, 0x1070},   {0x1075, 0x1081},   {0x108E, 0x108E},   {0x1780, 0x17B3},
    {0x1A20, 0x1A54},   {0x1B0B, 0x1B0C},   {0x1B13, 0x1B33},   {0x1B45, 0x1B4C},
    {0x1B83, 0x1BA0},   {0x1BAE, 0x1BAF},   {0x1BBB, 0x1BBD},   {0xA989, 0xA98B},
    {0xA98F, 0xA9B2},   {0xA9E0, 0xA9E4},   {0xA9E7, 0xA9EF},   {0xA9FA, 0xA9FE},
    {0xAA60, 0xAA6F},   {0xAA71, 0xAA73},   {0xAA7A, 0xAA7A},   {0xAA7E, 0xAA7F},
    {0xAAE0, 0xAAEA},   {0xABC0, 0xABDA},   {0x10A00, 0x10A00}, {0x10A10, 0x10A13},
    {0x10A15, 0x10A17}, {0x10A19, 0x10A35}, {0x11103, 0x11126}, {0x11144, 0x11144},
    {0x11147, 0x11147}, {0x11380, 0x11389}, {0x1138B, 0x1138B}, {0x1138E, 0x1138E},
    {0x11390, 0x113B5}, {0x11900, 0x11906}, {0x11909, 0x11909}, {0x1190C, 0x11913},
    {0x11915, 0x11916}, {0x11918, 0x1192F}, {0x11A00, 0x11A00}, {0x11A0B, 0x11A32},
    {0x11A50, 0x11A50}, {0x11A5C, 0x11A83}, {0x11F04, 0x11F10}, {0x11F12, 0x11F33}};
constexpr char32_t linkers[] = {0x94D,   0x9CD,   0xACD,   0xB4D,   0xC4D,   0xD4D,  0x1039,
                                0x17D2,  0x1A60,  0x1B44,  0x1BAB,  0xA9C0,  0xAAF6, 0x10A3F,
                                0x11133, 0x113D0, 0x1193E, 0x11A47, 0x11A99, 0x11F42};

// The range that holds `c`, or null.
template <typename R, size_t N>
const R* range_of(const R (&ranges)[N], char32_t c) {
  const R* found =
      std::lower_bound(std::begin(ranges), std::end(ranges), c,
                       [](const R& range, char32_t value) { return range.last < value; });
  return found != std::end(ranges) && found->first <= c ? found : nullptr;
}

utf8proc_int32_t stand_in(char32_t c) {
  const StandIn* found = c < stand_ins[0].first ? nullptr : range_of(stand_ins, c);
  return static_cast<utf8proc_int32_t>(found == nullptr ? c : found->by);
}

// How far a cluster has come on the way of rule GB9c.
enum class Conjunct { absent, consonant, linked };

Conjunct after(Conjunct before, char32_t c) {
  if (c < extend) return Conjunct::absent;
  if (range_of(consonants, c) != nullptr) return Conjunct::consonant;
  if (before == Conjunct::absent) return before;
  if (std::binary_search(std::begin(linkers), std::end(linkers), c)) return Conjunct::linked;
  constexpr char32_t non_joiner = 0x200C;
  const auto kind = utf8proc_get_property(stand_in(c))->boundclass;
  const bool extends = kind == UTF8PROC_BOUNDCLASS_EXTEND || kind == UTF8PROC_BOUNDCLASS_ZWJ;
  return extends && c != non_joiner ? before : Conjunct::absent;
}

// Bytes of the grapheme cluster at the front of `text`, which is not empty.
size_t cluster_length(std::string_view text) {
  Decoded d = decode_utf8(text);
  size_t length = d.length;
  utf8proc_int32_t state = 0;
  Conjunct conjunct = after(Conjunct::absent, d.code_point);
  while (length < text.size()) {
    const Decoded next = decode_utf8(text.substr(length));
    const Conjunct longer = after(conjunct, next.code_point);
    const bool joined = conjunct == Conjunct::linked && longer == Conjunct::consonant;
    if (utf8proc_grapheme_break_stateful(stand_in(d.code_point), stand_in(next.code_point),
                                         &state) &&
        !joined)
      break;
    length += next.length;
    d = next;
    conjunct = longer;
  }
  return length;
}

}  // namespace

Charsmap::Charsmap(std::string_view bytes) {
  uint32_t size = 0;
  if (bytes.size() < sizeof(size)) throw std::invalid_argument("the charsmap is too short");
  std::memcpy(&size, bytes.data(), sizeof(size));
  bytes.remove_prefix(sizeof(size));
  if (size > bytes.size() || size % 4 != 0 || size < 4)
    throw std::invalid_argument("the charsmap's trie does not fit the charsmap");
  units_.resize(size / 4);
  std::memcpy(units_.data(), bytes.data(), size);
  replacements_ = bytes.substr(size);
  if (!valid_utf8(replacements_)) throw std::invalid_argument("the charsmap is not UTF-8");
  for (uint32_t b = 1; b < 256; ++b) {
    const size_t place = offset_of(units_[0]) ^ b;
    starts_[b] = place < units_.size() && label_of(units_[place]) == b;
  }
}

// The shortest rule that `key` starts with.
std::optional<std::string_view> Charsmap::find(std::string_view key) const {
  size_t place = offset_of(units_[0]);
  for (char c : key) {
    if (c == '\0') break;
    place ^= static_cast<uint8_t>(c);
    if (place >= units_.size()) break;
    const uint32_t unit = units_[place];
    if (label_of(unit) != static_cast<uint8_t>(c)) break;
    place ^= offset_of(unit);
    if (place >= units_.size()) break;
    if (!has_leaf(unit)) continue;
    const size_t at = value_of(units_[place]);
    if (at > replacements_.size()) break;
    std::string_view found = std::string_view(replacements_).substr(at);
    found = found.substr(0, found.find('\0'));
    if (!valid_utf8(found)) break;  // a place inside a character
    return found;
  }
  return std::nullopt;
}

// The changes that a rule makes. When it removes characters the last change before takes them
// along, as in the library, wherever that is.
void Charsmap::replace(std::string_view key, std::string_view by, std::vector<Change>& out) const {
  const auto old_count = static_cast<int32_t>(count_characters(key));
  int32_t new_count = 0;
  for (size_t at = 0; at < by.size(); ++new_count) {
    const Decoded d = decode_utf8(by.substr(at));
    out.push_back({d.code_point, 0});
    at += d.length;
  }
  const int32_t more = new_count - old_count;
  for (int32_t i = 0; i < more; ++i) out[out.size() - 1 - static_cast<size_t>(i)].change = 1;
  if (more < 0 && !out.empty()) out.back().change += more;
}

bool Charsmap::normalize(std::string_view text, std::vector<Change>& out) const {
  out.clear();
  bool changed = false;
  auto is_ascii = [&](size_t at) { return static_cast<uint8_t>(text[at]) < 0x80; };
  for (size_t at = 0; at < text.size();) {
    const uint8_t byte = static_cast<uint8_t>(text[at]);
    // A visible ASCII character before another character of ASCII is a cluster by itself.
    if (byte < 0x80 && byte >= 0x20 && !starts_[byte] &&
        (at + 1 == text.size() || is_ascii(at + 1))) {
      out.push_back({byte, 0});
      ++at;
      continue;
    }
    const std::string_view cluster = text.substr(at, cluster_length(text.substr(at)));
    at += cluster.size();
    if (cluster.size() < short_cluster) {
      if (auto by = find(cluster)) {
        changed = true;
        replace(cluster, *by, out);
        continue;
      }
    }
    for (size_t i = 0; i < cluster.size();) {
      const Decoded d = decode_utf8(cluster.substr(i));
      const std::string_view part = cluster.substr(i, d.length);
      if (auto by = find(part)) {
        changed = true;
        replace(part, *by, out);
      } else {
        out.push_back({d.code_point, 0});
      }
      i += d.length;
    }
  }
  return changed;
}

}  // namespace compress::text
