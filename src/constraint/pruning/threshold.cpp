#include "pruning/threshold.h"

#include "compress/data/torch.h"

#include <algorithm>
#include <bit>

namespace compress::constraint {

namespace {

// Magnitudes of finite floats order like their bit patterns without the sign. The free top bit
// marks weights that are masked already.
constexpr uint32_t masked = 0x80000000u;
constexpr uint32_t first_not_finite = 0x7F800000u;
constexpr int64_t bins = 1 << 16;
constexpr int64_t grain = 1 << 15;

inline uint32_t key_of(const float* weight, int64_t i) {
  return std::bit_cast<uint32_t>(weight[i]) & 0x7FFFFFFFu;
}
inline uint32_t key_of(const Ranked& tensor, int64_t i) {
  uint32_t key = key_of(tensor.weight, i);
  return tensor.before != nullptr && tensor.before[i] == 0 ? key | masked : key;
}

// Counts the bins that bin(key) names (negative: none) over all tensors.
template <class Bin>
std::vector<int64_t> histogram(const std::vector<Ranked>& tensors, const Bin& bin) {
  const auto threads = static_cast<size_t>(std::max(1, at::get_num_threads()));
  std::vector<std::vector<uint32_t>> counts(threads);
  std::vector<int64_t> total(bins, 0);
  for (const Ranked& tensor : tensors)
    at::parallel_for(0, tensor.count, grain, [&](int64_t begin, int64_t end) {
      std::vector<uint32_t>& mine = counts.at(static_cast<size_t>(at::get_thread_num()));
      if (mine.empty()) mine.resize(bins, 0);
      for (int64_t i = begin; i < end; ++i) {
        int64_t b = bin(key_of(tensor, i));
        if (b >= 0) ++mine[static_cast<size_t>(b)];
      }
    });
  for (const std::vector<uint32_t>& part : counts)
    for (size_t b = 0; b < part.size(); ++b) total[b] += part[b];
  return total;
}

// The bin that holds the entry number `rank` (from 1); takes the entries of lower bins off `rank`.
int64_t bin_at(const std::vector<int64_t>& counts, int64_t& rank) {
  int64_t b = 0;
  while (rank > counts[static_cast<size_t>(b)]) rank -= counts[static_cast<size_t>(b++)];
  return b;
}

// Keeps keys above `limit`; of those equal to it the first `ties` are masked.
void write_masks(const std::vector<Ranked>& tensors, int64_t limit, int64_t ties, bool all_ties) {
  for (const Ranked& tensor : tensors) {
    if (all_ties) {
      const auto bound = static_cast<int32_t>(limit);
      at::parallel_for(0, tensor.count, grain, [&](int64_t begin, int64_t end) {
        const float* weight = tensor.weight;
        uint8_t* keep = tensor.keep;
        const uint8_t* before = tensor.before;
        auto above = [&](int64_t i) {
          return static_cast<uint8_t>(static_cast<int32_t>(key_of(weight, i)) > bound);
        };
        if (before == nullptr) {
#pragma GCC ivdep
          for (int64_t i = begin; i < end; ++i) keep[i] = above(i);
        } else {
#pragma GCC ivdep
          for (int64_t i = begin; i < end; ++i) keep[i] = above(i) & before[i];
        }
      });
      continue;
    }
    for (int64_t i = 0; i < tensor.count; ++i) {
      uint32_t key = key_of(tensor, i);
      bool tie = static_cast<int64_t>(key) == limit && ties > 0;
      ties -= tie ? 1 : 0;
      tensor.keep[i] = key < masked && static_cast<int64_t>(key) >= limit && !tie;
    }
  }
}

}  // namespace

bool mask_smallest(const std::vector<Ranked>& tensors, int64_t zeros) {
  std::vector<int64_t> high =
      histogram(tensors, [](uint32_t key) { return static_cast<int64_t>(key >> 16); });
  int64_t already = 0, ranked = 0;
  for (int64_t b = 0; b < bins; ++b) {
    int64_t count = high[static_cast<size_t>(b)];
    bool old = b >= (masked >> 16);
    if (!old && b >= (first_not_finite >> 16) && count > 0) return false;
    (old ? already : ranked) += count;
  }
  int64_t rank = std::clamp<int64_t>(zeros - already, 0, ranked);
  if (rank == 0) {
    write_masks(tensors, -1, 0, true);
    return true;
  }
  const int64_t top = bin_at(high, rank);
  std::vector<int64_t> low = histogram(tensors, [top](uint32_t key) {
    return static_cast<int64_t>(key >> 16) == top ? static_cast<int64_t>(key & 0xFFFFu) : -1;
  });
  const int64_t bottom = bin_at(low, rank);
  write_masks(tensors, (top << 16) | bottom, rank, rank == low[static_cast<size_t>(bottom)]);
  return true;
}

void mask_ties(const std::vector<Ranked>& tensors) {
  uint32_t threshold = 0;
  for (const Ranked& tensor : tensors)
    for (int64_t i = 0; i < tensor.count; ++i)
      if (tensor.keep[i] == 0 && (tensor.before == nullptr || tensor.before[i] != 0))
        threshold = std::max(threshold, key_of(tensor.weight, i));
  for (const Ranked& tensor : tensors)
    for (int64_t i = 0; i < tensor.count; ++i)
      tensor.keep[i] = tensor.keep[i] & static_cast<uint8_t>(key_of(tensor.weight, i) > threshold);
}

}  // namespace compress::constraint
