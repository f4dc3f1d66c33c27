#include "compress/data/mixture.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "compress/base/error.h"
#include "compress/base/hash.h"
#include "compress/base/random.h"
#include "compress/base/strings.h"
#include "compress/data/classes.h"

namespace compress::data {

namespace {

// The order in which pass `pass` deals out the `count` rows of source `source`.
std::vector<uint32_t> order_of_pass(int64_t count, bool shuffle, uint64_t seed, int64_t pass,
                                    size_t source) {
  std::vector<uint32_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), 0u);
  if (!shuffle) return order;
  Random random(stream_seed(seed, "mixture", static_cast<uint64_t>(pass), source));
  random.shuffle(order);
  return order;
}

void check_alike(const Mixture::Source& first, const Mixture::Source& other) {
  auto refuse = [&](const std::string& what, const std::string& hint) {
    throw Error(ErrorKind::recipe,
                str("the data sets '", first.name, "' and '", other.name, "' of a mixture ", what),
                {}, hint);
  };
  const Split &a = *first.split, &b = *other.split;
  if (a.task != b.task) refuse("have different tasks", "one head is trained on all rows");
  if (a.labels != b.labels)
    refuse(str("have different classes: {", class_list(a.labels), "} and {", class_list(b.labels),
               "}"),
           "one head is trained on all rows: classes are matched by name");
  if (a.choices != b.choices) refuse("have different numbers of choices", "");
  if ((a.soft.empty() && a.classes.empty()) != (b.soft.empty() && b.classes.empty()))
    refuse("do not both have labels", "");
}

}  // namespace

std::vector<int64_t> mixed_counts(const std::vector<std::string>& names,
                                  const std::vector<int64_t>& sizes, const MixtureShares& shares) {
  if (sizes.size() != shares.weights.size() || sizes.size() != names.size() || sizes.empty())
    throw Error(ErrorKind::internal, str(shares.weights.size(), " weights for ", sizes.size(),
                                         " data sets of a mixture"));
  std::vector<double> parts;
  for (size_t i = 0; i < sizes.size(); ++i) {
    const int64_t size = std::min(sizes[i], shares.cap.value_or(sizes[i]));
    const bool counts = shares.temperature || shares.cap;
    parts.push_back(
        shares.weights[i] *
        (counts ? std::pow(static_cast<double>(size), 1 / shares.temperature.value_or(1)) : 1));
  }
  const double sum = std::accumulate(parts.begin(), parts.end(), 0.0);
  const int64_t epoch =
      shares.epoch.value_or(std::accumulate(sizes.begin(), sizes.end(), int64_t{0}));
  std::vector<int64_t> counts;
  std::vector<std::pair<double, size_t>> remainders;  // negative: the largest come first
  int64_t missing = epoch;
  for (size_t i = 0; i < parts.size(); ++i) {
    const double exact = static_cast<double>(epoch) * (parts[i] / sum);
    counts.push_back(std::min(static_cast<int64_t>(std::floor(exact)), missing));
    missing -= counts.back();
    remainders.emplace_back(static_cast<double>(counts.back()) - exact, i);
  }
  std::sort(remainders.begin(), remainders.end());
  for (size_t i = 0; missing > 0; ++i, --missing) ++counts[remainders[i % counts.size()].second];
  for (size_t i = 0; i < counts.size(); ++i)
    if (counts[i] < 1)
      throw Error(ErrorKind::recipe,
                  str("an epoch of ", with_commas(epoch), " rows has none of the data set '",
                      names[i], "' of the mixture"),
                  {}, "give it more weight, or raise `epoch`");
  return counts;
}

Mixture::Place Mixture::at(int64_t row) const {
  if (row < 0 || row >= rows)
    throw Error(ErrorKind::internal, str("row ", row, " of a mixture of ", rows, " rows"));
  const auto next = std::upper_bound(sources.begin(), sources.end(), row,
                                     [](int64_t at, const Source& s) { return at < s.first; });
  const auto source = static_cast<size_t>(next - sources.begin()) - 1;
  return {source, row - sources[source].first};
}

Split mix(std::vector<Mixture::Source> sources, const MixtureShares& shares) {
  std::vector<std::string> names;
  std::vector<int64_t> sizes;
  for (const Mixture::Source& source : sources) {
    check_alike(sources[0], source);
    names.push_back(source.name);
    sizes.push_back(source.split->rows());
  }
  const std::vector<int64_t> counts = mixed_counts(names, sizes, shares);
  auto mixture = std::make_shared<Mixture>();
  Sha256 hash;
  for (size_t i = 0; i < sources.size(); ++i) {
    sources[i].first = mixture->rows;
    sources[i].epoch_rows = counts[i];
    mixture->rows += sizes[i];
    hash.update(sources[i].split->content_hash + " ");
  }
  Split split;
  const Split& first = *sources[0].split;
  split.name = first.name;
  split.file = first.file;
  split.task = first.task;
  split.labels = first.labels;
  split.positive = first.positive;
  split.choices = first.choices;
  for (const Mixture::Source& source : sources) split.skipped += source.split->skipped;
  split.content_hash = hash.hex();
  std::vector<int64_t>& offsets = split.offsets.edit();
  offsets.reserve(static_cast<size_t>(mixture->rows * split.choices) + 1);
  offsets.push_back(0);
  for (const Mixture::Source& source : sources) {
    const int64_t before = offsets.back();
    for (int64_t text = 1; text <= source.split->texts(); ++text)
      offsets.push_back(before + source.split->offsets[static_cast<size_t>(text)]);
  }
  mixture->sources = std::move(sources);
  split.mixture = std::move(mixture);
  return split;
}

std::vector<uint32_t> mixed_rows(const Mixture& mixture, uint64_t seed, bool shuffle,
                                 int64_t epoch) {
  std::vector<uint32_t> rows;
  for (size_t index = 0; index < mixture.sources.size(); ++index) {
    const Mixture::Source& source = mixture.sources[index];
    const int64_t count = source.split->rows();
    for (int64_t at = epoch * source.epoch_rows, end = at + source.epoch_rows; at < end;) {
      const int64_t pass = at / count, until = std::min(end, (pass + 1) * count);
      const std::vector<uint32_t> order = order_of_pass(count, shuffle, seed, pass, index);
      for (; at < until; ++at)
        rows.push_back(static_cast<uint32_t>(source.first) +
                       order[static_cast<size_t>(at - pass * count)]);
    }
  }
  return rows;
}

int64_t Split::epoch_rows() const {
  if (mixture == nullptr) return rows();
  int64_t rows = 0;
  for (const Mixture::Source& source : mixture->sources) rows += source.epoch_rows;
  return rows;
}

}  // namespace compress::data
