#pragma once
// A hash table from 64-bit keys to small values that is filled once and then only read.

#include <cstdint>
#include <vector>

#include "compress/base/hash.h"

namespace compress::text {

template <class Value>
class FlatMap {
 public:
  explicit FlatMap(size_t most_keys = 0) {
    size_t size = 16;
    while (size < most_keys * 2) size *= 2;
    slots_.resize(size);
    mask_ = size - 1;
  }
  // A key that is there already keeps its place and gets the new value. ~0 is not a key. At most
  // as many keys as the constructor was told.
  void put(uint64_t key, const Value& value) {
    size_t at = mix64(key) & mask_;
    while (slots_[at].key != free_key && slots_[at].key != key) at = (at + 1) & mask_;
    slots_[at] = {key, value};
  }
  const Value* find(uint64_t key) const {
    for (size_t at = mix64(key) & mask_; slots_[at].key != free_key; at = (at + 1) & mask_)
      if (slots_[at].key == key) return &slots_[at].value;
    return nullptr;
  }

 private:
  static constexpr uint64_t free_key = ~uint64_t{0};
  struct Slot {
    uint64_t key = free_key;
    Value value{};
  };
  std::vector<Slot> slots_;
  size_t mask_ = 0;
};

}  // namespace compress::text
