#pragma once
// Longest known prefix of a byte string, in one pass and without hashing.

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace compress::text {

// Double-array trie (Aoe, 1989) that holds several key sets, each behind its own root.
class Trie {
 public:
  using Keys = std::vector<std::pair<std::string_view, int32_t>>;  // key, value >= 0

  Trie() { build({}); }
  // Keys of one set are not empty and distinct.
  explicit Trie(const std::vector<Keys>& sets) { build(sets); }

  struct Match {
    int32_t value = -1;  // -1: no key is a prefix
    uint32_t length = 0;
  };
  // The longest key of `set` that `text` starts with.
  Match longest(size_t set, std::string_view text) const {
    Match match;
    int32_t node = static_cast<int32_t>(set);
    for (uint32_t i = 0; i < text.size(); ++i) {
      int32_t next = units_[node].base + static_cast<uint8_t>(text[i]);
      if (units_[next].parent != node) break;
      node = next;
      if (units_[node].value >= 0) match = {units_[node].value, i + 1};
    }
    return match;
  }
  // Calls visit(value, length) for every key of `set` that `text` starts with, the shortest first.
  template <class Visit>
  void for_each_prefix(size_t set, std::string_view text, Visit&& visit) const {
    int32_t node = static_cast<int32_t>(set);
    for (uint32_t i = 0; i < text.size(); ++i) {
      int32_t next = units_[node].base + static_cast<uint8_t>(text[i]);
      if (units_[next].parent != node) break;
      node = next;
      if (units_[node].value >= 0) visit(units_[node].value, i + 1);
    }
  }
  // The value of exactly `key` in `set`, or -1.
  int32_t find(size_t set, std::string_view key) const;

 private:
  struct Unit {
    int32_t base = 0;     // children are at base + byte
    int32_t parent = -1;  // -1: free, or a root
    int32_t value = -1;
  };
  struct Span {
    size_t first, last, depth;
    int32_t node;
  };
  void build(std::vector<Keys> sets);
  void place(const Keys& keys, const Span& span, std::vector<Span>& work);
  int32_t find_base(const std::vector<uint8_t>& bytes);
  bool is_free(size_t unit) const { return unit >= used_.size() || !used_[unit]; }

  std::vector<Unit> units_;
  std::vector<bool> used_;   // while building
  size_t first_free_ = 0;    // while building: no free unit before it
  size_t search_start_ = 0;  // while building: where nodes of several children are tried
};

}  // namespace compress::text
