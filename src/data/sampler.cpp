#include <algorithm>
#include <numeric>

#include "compress/base/error.h"
#include "compress/base/random.h"
#include "compress/base/strings.h"
#include "compress/data/loader.h"

namespace compress::data {

namespace {

// Fisher and Yates: every order has the same probability.
template <class T>
void permute(std::vector<T>& items, Random& random) {
  for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[random.below(i)]);
}

std::vector<int64_t> all_rows(const Split& split, int64_t batch) {
  if (batch < 1) throw Error(ErrorKind::internal, str("batches of ", batch, " rows"));
  std::vector<int64_t> rows(static_cast<size_t>(std::max<int64_t>(split.rows(), 0)));
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

std::vector<std::vector<int64_t>> cut(const std::vector<int64_t>& rows, int64_t batch) {
  std::vector<std::vector<int64_t>> batches;
  auto left = static_cast<int64_t>(rows.size());
  batches.reserve(static_cast<size_t>(steps_per_epoch(left, batch)));
  for (auto at = rows.begin(); at != rows.end();) {
    auto end = at + std::min(batch, rows.end() - at);
    batches.emplace_back(at, end);
    at = end;
  }
  return batches;
}

}  // namespace

std::vector<std::vector<int64_t>> epoch_batches(const Split& split, const SamplerOptions& options,
                                                int64_t epoch) {
  std::vector<int64_t> rows = all_rows(split, options.batch);
  if (!options.shuffle) return cut(rows, options.batch);
  Random random(stream_seed(options.seed, "data", static_cast<uint64_t>(epoch)));
  permute(rows, random);
  // Windows are whole numbers of batches, so only the epoch's last batch can be partial.
  auto count = static_cast<int64_t>(rows.size());
  int64_t window = options.window > count / options.batch ? count : options.window * options.batch;
  auto shorter = [&split](int64_t a, int64_t b) { return split.length(a) < split.length(b); };
  if (options.window > 1)
    for (auto at = rows.begin(); at != rows.end();) {
      auto end = at + std::min(window, rows.end() - at);
      std::stable_sort(at, end, shorter);
      at = end;
    }
  auto batches = cut(rows, options.batch);
  permute(batches, random);
  return batches;
}

int64_t steps_per_epoch(int64_t rows, int64_t batch) {
  return rows / batch + (rows % batch != 0);
}

std::vector<std::vector<int64_t>> evaluation_batches(const Split& split, int64_t batch) {
  std::vector<int64_t> rows = all_rows(split, batch);
  auto longer = [&split](int64_t a, int64_t b) { return split.length(a) > split.length(b); };
  std::stable_sort(rows.begin(), rows.end(), longer);
  return cut(rows, batch);
}

}  // namespace compress::data
