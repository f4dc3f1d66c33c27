#include <algorithm>
#include <limits>
#include <numeric>
#include <span>

#include "compress/base/error.h"
#include "compress/base/random.h"
#include "compress/base/strings.h"
#include "compress/data/loader.h"
#include "compress/data/mixture.h"

namespace compress::data {

namespace {

std::vector<uint32_t> first_numbers(int64_t count) {
  std::vector<uint32_t> numbers(static_cast<size_t>(std::max<int64_t>(count, 0)));
  std::iota(numbers.begin(), numbers.end(), 0u);
  return numbers;
}

void check_numbers(const Split& split, int64_t batch) {
  if (batch < 1) throw Error(ErrorKind::internal, str("batches of ", batch, " rows"));
  if (split.rows() > std::numeric_limits<uint32_t>::max())
    throw Error(ErrorKind::data, str("a split of ", with_commas(split.rows()), " rows"),
                split.file.string(), "divide the file over several data sets");
}

std::vector<uint32_t> all_rows(const Split& split, int64_t batch) {
  check_numbers(split, batch);
  return first_numbers(split.rows());
}

std::vector<uint32_t> rows_of_epoch(const Split& split, const SamplerOptions& options,
                                    int64_t epoch) {
  check_numbers(split, options.batch);
  return mixed_rows(*split.mixture, options.seed, options.shuffle, epoch);
}

// Sorts rows by length in units of `width` tokens, equal ones as they stand. A length is looked up
// once: rows lie anywhere in the file.
void sort_by_length(const Split& split, std::span<uint32_t> rows, bool longest_first,
                    int64_t width = 1) {
  std::vector<uint64_t> keys(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto length = static_cast<uint32_t>(split.length(rows[i]) / width);
    keys[i] = uint64_t{longest_first ? ~length : length} << 32 | i;
  }
  std::sort(keys.begin(), keys.end());
  const std::vector<uint32_t> before(rows.begin(), rows.end());
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = before[static_cast<uint32_t>(keys[i])];
}

}  // namespace

Batches::Batches(std::vector<uint32_t> rows, int64_t batch, std::vector<uint32_t> order)
    : rows_(std::move(rows)),
      order_(std::move(order)),
      batch_(static_cast<size_t>(batch)),
      count_(static_cast<size_t>(steps_per_epoch(static_cast<int64_t>(rows_.size()), batch))) {
  if (!order_.empty() && order_.size() != count_)
    throw Error(ErrorKind::internal,
                str("an order of ", order_.size(), " for ", count_, " batches"));
}

std::vector<int64_t> Batches::operator[](size_t i) const {
  size_t begin = (order_.empty() ? i : order_[i]) * batch_;
  size_t end = std::min(begin + batch_, rows_.size());
  return {rows_.begin() + static_cast<std::ptrdiff_t>(begin),
          rows_.begin() + static_cast<std::ptrdiff_t>(end)};
}

Batches epoch_batches(const Split& split, const SamplerOptions& options, int64_t epoch) {
  std::vector<uint32_t> rows = split.mixture == nullptr ? all_rows(split, options.batch)
                                                        : rows_of_epoch(split, options, epoch);
  if (!options.shuffle) return Batches(std::move(rows), options.batch);
  Random random(stream_seed(options.seed, "data", static_cast<uint64_t>(epoch)));
  random.shuffle(rows);
  // Windows are whole numbers of batches, so only the epoch's last batch can be partial.
  auto count = static_cast<int64_t>(rows.size());
  int64_t window = options.window > count / options.batch ? count : options.window * options.batch;
  if (options.window > 1)
    for (int64_t at = 0; at < count; at += window)
      sort_by_length(split,
                     std::span(rows).subspan(static_cast<size_t>(at),
                                             static_cast<size_t>(std::min(window, count - at))),
                     /*longest_first=*/false, options.width);
  std::vector<uint32_t> order = first_numbers(steps_per_epoch(count, options.batch));
  random.shuffle(order);
  return Batches(std::move(rows), options.batch, std::move(order));
}

int64_t steps_per_epoch(int64_t rows, int64_t batch) {
  return rows / batch + (rows % batch != 0);
}

Batches evaluation_batches(const Split& split, int64_t batch, int64_t limit) {
  std::vector<uint32_t> rows = all_rows(split, batch);
  if (limit > 0 && limit < split.rows()) {
    rows.resize(static_cast<size_t>(limit));
    return Batches(std::move(rows), batch);
  }
  sort_by_length(split, rows, /*longest_first=*/true);
  return Batches(std::move(rows), batch);
}

}  // namespace compress::data
