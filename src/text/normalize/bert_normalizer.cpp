#include "normalize/bert_normalizer.h"

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>

#include "unicode/unicode.h"

namespace compress::text {
namespace {

constexpr uint8_t dropped = 0xFF;
constexpr size_t block_size = 256;
constexpr char32_t no_case_from = 0x20000;  // no lower case beyond the first two planes

// A code point on its way through canonical decomposition. `inserted` tells the second and later
// code points of one decomposition.
struct Item {
  char32_t code_point;
  bool inserted;
  int combining;
};

struct Source {
  char32_t code_point;
  uint32_t begin, end;
};

// Canonical ordering: stable sort by combining class of every run without starters.
void order(std::vector<Item>& items) {
  for (auto at = items.begin(); at != items.end();) {
    if (at->combining == 0) {
      ++at;
      continue;
    }
    auto stop = std::find_if(at, items.end(), [](const Item& i) { return i.combining == 0; });
    std::stable_sort(at, stop,
                     [](const Item& a, const Item& b) { return a.combining < b.combining; });
    at = stop;
  }
}

}  // namespace

Normalizer::Normalizer(const NormalizerOptions& options) : options_(options), tables_(tables()) {}

const Normalizer::Tables& Normalizer::tables() const {
  static std::mutex mutex;
  static std::array<std::unique_ptr<const Tables>, 16> all;
  const size_t place = size_t{options_.clean_text} | size_t{options_.handle_chinese_chars} << 1 |
                       size_t{options_.strip_accents} << 2 | size_t{options_.lowercase} << 3;
  const std::lock_guard lock(mutex);
  if (all[place] == nullptr) all[place] = std::make_unique<const Tables>(make_tables());
  return *all[place];
}

Normalizer::Tables Normalizer::make_tables() const {
  Tables made;
  std::map<std::vector<uint32_t>, uint16_t> seen;
  std::vector<uint32_t> block(block_size);
  for (char32_t first = 0; first < code_point_count; first += block_size) {
    for (size_t i = 0; i < block_size; ++i)
      block[i] = action_of(first + static_cast<char32_t>(i), made.pool);
    auto [entry, added] = seen.emplace(block, static_cast<uint16_t>(seen.size()));
    if (added) made.blocks.insert(made.blocks.end(), block.begin(), block.end());
    made.index.push_back(entry->second);
  }
  for (uint32_t c = 0; c < 128; ++c) {
    uint32_t entry = made.blocks[c];  // block 0 is stored first
    Action action = static_cast<Action>(entry & 7);
    made.ascii[c] = static_cast<uint8_t>(action == drop      ? dropped
                                         : action == space   ? ' '
                                         : action == replace ? made.pool[(entry >> 3) + 1]
                                                             : c);
  }
  return made;
}

uint32_t Normalizer::action_of(char32_t c, std::string& pool) const {
  const PropertyTable& table = PropertyTable::get();
  uint8_t properties = table[c];
  if (properties == 0 && c >= no_case_from) return copy;  // most code points
  if (options_.clean_text && properties & Property::removed) return drop;
  if (options_.clean_text && properties & Property::white_space) return space;
  bool chinese = options_.handle_chinese_chars && properties & Property::chinese;
  std::u32string parts, result;
  if (options_.strip_accents) {
    append_decomposed(parts, c);
    for (char32_t p : parts)
      if (!(table[p] & Property::nonspacing_mark) && combining_class(p) != 0) return reorder;
    std::erase_if(parts, [&](char32_t p) { return table[p] & Property::nonspacing_mark; });
  } else {
    parts.push_back(c);
  }
  for (char32_t p : parts) {
    if (options_.lowercase)
      append_lower(result, p);
    else
      result.push_back(p);
  }
  if (result.size() == 1 && result[0] == c) return chinese ? surround : copy;
  if (result.empty() && !chinese) return drop;
  std::string bytes;
  if (chinese) bytes.push_back(' ');
  for (char32_t p : result) append_utf8(bytes, p);
  if (chinese) bytes.push_back(' ');
  uint32_t place = static_cast<uint32_t>(pool.size());
  pool.push_back(static_cast<char>(bytes.size()));
  pool += bytes;
  return place << 3 | replace;
}

void Normalizer::normalize(std::string_view text, uint32_t base, bool offsets,
                           Normalized& out) const {
  out.clear();
  bool done =
      offsets ? normalize_fast<true>(text, base, out) : normalize_fast<false>(text, base, out);
  if (done) return;
  out.clear();
  normalize_exact(text, base, offsets, out);
}

// Every code point by itself. Returns false on meeting one whose place among its neighbours depends
// on canonical ordering and which is not removed afterwards: a few dozen spacing marks.
template <bool with_offsets>
bool Normalizer::normalize_fast(std::string_view text, uint32_t base, Normalized& out) const {
  uint32_t at = 0;
  const uint32_t size = static_cast<uint32_t>(text.size());
  auto range = [&](size_t count, uint32_t length) {
    if constexpr (with_offsets) {
      out.begin.insert(out.begin.end(), count, base + at);
      out.end.insert(out.end.end(), count, base + at + length);
    }
  };
  while (at < size) {
    uint8_t byte = static_cast<uint8_t>(text[at]);
    if (byte < 0x80) {
      uint8_t result = tables_.ascii[byte];
      if (result != dropped) {
        out.text.push_back(static_cast<char>(result));
        range(1, 1);
      }
      ++at;
      continue;
    }
    auto [c, length] = decode_utf8(text.substr(at));
    uint32_t entry = tables_.blocks[size_t{tables_.index[c >> 8]} << 8 | (c & 0xFF)];
    size_t before = out.text.size();
    switch (static_cast<Action>(entry & 7)) {
      case copy:
        append_utf8(out.text, c);
        break;
      case drop:
        break;
      case space:
        out.text.push_back(' ');
        break;
      case surround:
        out.text.push_back(' ');
        append_utf8(out.text, c);
        out.text.push_back(' ');
        break;
      case replace:
        out.text.append(tables_.pool, (entry >> 3) + 1,
                        static_cast<uint8_t>(tables_.pool[entry >> 3]));
        break;
      case reorder:
        return false;
    }
    range(out.text.size() - before, length);
    at += length;
  }
  return true;
}

// The same by the book, stage after stage. Ordering moves characters but not ranges: as in the
// `tokenizers` library the n-th source character's range goes to whatever comes n-th.
void Normalizer::normalize_exact(std::string_view text, uint32_t base, bool offsets,
                                 Normalized& out) const {
  const PropertyTable& table = PropertyTable::get();
  std::vector<Source> sources;
  for (uint32_t at = 0; at < text.size();) {
    auto [c, length] = decode_utf8(text.substr(at));
    Source source{c, base + at, base + at + length};
    at += length;
    if (options_.clean_text && table[c] & Property::removed) continue;
    if (options_.clean_text && table[c] & Property::white_space) source.code_point = ' ';
    bool chinese = options_.handle_chinese_chars && table[c] & Property::chinese;
    if (chinese) sources.push_back({' ', source.begin, source.end});
    sources.push_back(source);
    if (chinese) sources.push_back({' ', source.begin, source.end});
  }
  std::vector<Item> items;
  std::u32string parts;
  for (const Source& source : sources) {
    parts.clear();
    append_decomposed(parts, source.code_point);
    for (size_t i = 0; i < parts.size(); ++i)
      items.push_back({parts[i], i > 0, combining_class(parts[i])});
  }
  order(items);
  size_t taken = 0;
  for (const Item& item : items) {
    if (!item.inserted) ++taken;
    if (table[item.code_point] & Property::nonspacing_mark) continue;
    parts.clear();
    if (options_.lowercase)
      append_lower(parts, item.code_point);
    else
      parts.push_back(item.code_point);
    for (char32_t p : parts) append_utf8(out.text, p);
    if (!offsets) continue;
    const Source& source = sources[taken - 1];
    out.begin.resize(out.text.size(), source.begin);
    out.end.resize(out.text.size(), source.end);
  }
}

}  // namespace compress::text
