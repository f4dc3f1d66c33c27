#pragma once
// Named random streams. A draw is a pure function of (seed, stream name, two counters), so that
// turning one method on does not change another's draws and a resumed run needs no generator state.

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "compress/base/hash.h"

namespace compress {

// The seed of stream `name` at counters (a, b): for example ("dropout", step, micro-batch).
constexpr uint64_t stream_seed(uint64_t seed, std::string_view name, uint64_t a = 0,
                               uint64_t b = 0) {
  uint64_t h = mix64(seed);
  for (char c : name) h = mix64(h ^ static_cast<unsigned char>(c));
  return mix64(mix64(h ^ a) ^ (b * 0xD1B54A32D192ED03ull));
}

// Counter-based generator for host code; also usable with <algorithm>.
class Random {
 public:
  using result_type = uint64_t;
  explicit Random(uint64_t seed) : state_(seed) {}
  static constexpr uint64_t min() { return 0; }
  static constexpr uint64_t max() { return ~0ull; }
  uint64_t operator()() { return mix64(state_ += 0x9E3779B97F4A7C15ull); }
  // Uniform in [0, n), n > 0, without modulo bias.
  uint64_t below(uint64_t n) {
    uint64_t limit = max() - max() % n, x;
    do x = (*this)();
    while (x >= limit);
    return x % n;
  }
  // Uniform in [0, 1).
  double uniform() { return static_cast<double>((*this)() >> 11) * 0x1.0p-53; }
  // Fisher and Yates: every order has the same probability.
  template <class T>
  void shuffle(std::vector<T>& items) {
    for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i)]);
  }

 private:
  uint64_t state_;
};

}  // namespace compress
