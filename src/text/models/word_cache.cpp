#include "models/word_cache.h"

#include <atomic>

namespace compress::text {
namespace {

constexpr size_t kept_models = 4;

struct Slot {
  uint64_t serial = 0;
  std::unique_ptr<WordCache> cache;
};

struct Slots {
  Slot slots[kept_models];
  size_t next = 0;  // the slot that goes when another model comes
};

}  // namespace

WordCache& WordCache::of(uint64_t serial) {
  thread_local Slots mine;
  for (Slot& slot : mine.slots)
    if (slot.serial == serial) return *slot.cache;
  Slot& slot = mine.slots[mine.next];
  mine.next = (mine.next + 1) % kept_models;
  slot.serial = serial;
  slot.cache = std::make_unique<WordCache>();
  return *slot.cache;
}

uint64_t WordCache::next_serial() {
  static std::atomic<uint64_t> last{0};
  return ++last;
}

}  // namespace compress::text
