#include "models/trie.h"

#include <algorithm>

namespace compress::text {
namespace {

// How many places are looked at for a node's children before they go to the end: bounds the time
// that a vocabulary can cost, at the price of some unused units.
constexpr int most_places = 256;
constexpr size_t byte_values = 256;

}  // namespace

void Trie::build(std::vector<Keys> sets) {
  size_t roots = std::max<size_t>(sets.size(), 1);
  used_.assign(roots, true);
  units_.assign(roots + byte_values, Unit{});
  first_free_ = search_start_ = roots;
  for (size_t set = 0; set < roots; ++set) units_[set].base = static_cast<int32_t>(roots);
  for (size_t set = 0; set < sets.size(); ++set) {
    Keys& keys = sets[set];
    std::sort(keys.begin(), keys.end());
    std::vector<Span> work{{0, keys.size(), 0, static_cast<int32_t>(set)}};
    while (!work.empty()) {
      Span span = work.back();
      work.pop_back();
      place(keys, span, work);
    }
  }
  // Every base + byte stays inside, so that looking a byte up needs no check.
  units_.resize(used_.size() + byte_values);
  units_.shrink_to_fit();
  used_ = {};
}

// Gives the node its value and its children their units; the children's own spans go to `work`.
void Trie::place(const Keys& keys, const Span& span, std::vector<Span>& work) {
  size_t first = span.first;
  if (first < span.last && keys[first].first.size() == span.depth)
    units_[span.node].value = keys[first++].second;
  std::vector<uint8_t> bytes;
  std::vector<size_t> starts;
  for (size_t i = first; i < span.last; ++i) {
    uint8_t byte = static_cast<uint8_t>(keys[i].first[span.depth]);
    if (!bytes.empty() && bytes.back() == byte) continue;
    bytes.push_back(byte);
    starts.push_back(i);
  }
  if (bytes.empty()) return;
  starts.push_back(span.last);
  int32_t base = find_base(bytes);
  units_[span.node].base = base;
  size_t need = static_cast<size_t>(base) + byte_values;
  if (units_.size() < need) units_.resize(std::max(need, units_.size() * 3 / 2));
  size_t top = static_cast<size_t>(base) + bytes.back() + 1;
  if (used_.size() < top) used_.resize(top, false);
  for (size_t i = 0; i < bytes.size(); ++i) {
    int32_t child = base + bytes[i];
    used_[static_cast<size_t>(child)] = true;
    units_[static_cast<size_t>(child)].parent = span.node;
    work.push_back({starts[i], starts[i + 1], span.depth + 1, child});
  }
  while (!is_free(first_free_)) ++first_free_;
}

int32_t Trie::find_base(const std::vector<uint8_t>& bytes) {
  size_t lowest = bytes.front();
  size_t unit = std::max(first_free_, lowest);
  if (bytes.size() > 1) unit = std::max(unit, search_start_);
  for (int places = 0; places < most_places; ++places, ++unit) {
    if (!is_free(unit)) continue;
    size_t base = unit - lowest;
    if (std::all_of(bytes.begin(), bytes.end(), [&](uint8_t b) { return is_free(base + b); }))
      return static_cast<int32_t>(base);
  }
  search_start_ = unit;
  return static_cast<int32_t>(std::max(used_.size(), lowest) - lowest);
}

int32_t Trie::find(size_t set, std::string_view key) const {
  int32_t node = static_cast<int32_t>(set);
  for (char c : key) {
    int32_t next = units_[node].base + static_cast<uint8_t>(c);
    if (units_[next].parent != node) return -1;
    node = next;
  }
  return units_[node].value;
}

}  // namespace compress::text
