// Metrics of predicted numbers.

#include <algorithm>
#include <cmath>
#include <numeric>

#include "compress/base/strings.h"
#include "metrics/checks.h"

namespace compress {

namespace {

using Reals = std::span<const double>;

bool constant(Reals values) {
  return std::all_of(values.begin(), values.end(), [&](double v) { return v == values[0]; });
}

// Differences from the mean, scaled to at most 1 in size: squares neither overflow nor vanish.
std::vector<long double> centred(Reals values) {
  long double mean =
      std::accumulate(values.begin(), values.end(), 0.0L) / static_cast<long double>(values.size());
  std::vector<long double> out(values.size());
  long double largest = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    out[i] = values[i] - mean;
    largest = std::max(largest, std::fabs(out[i]));
  }
  if (largest > 0)
    for (long double& v : out) v /= largest;
  return out;
}

// Correlation of two checked sequences, or 0 with the reason in `note`.
Metric correlate(const char* name, const char* title, Reals values, Reals targets) {
  Metric metric{name, 0, static_cast<int64_t>(values.size()), {}};
  bool constant_values = constant(values), constant_targets = constant(targets);
  if (constant_values || constant_targets) {
    metric.note = str(constant_side(constant_values, constant_targets), ": ", title,
                      " undefined, reported as 0");
    return metric;
  }
  std::vector<long double> x = centred(values), y = centred(targets);
  long double xy = 0, xx = 0, yy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    xy += x[i] * y[i];
    xx += x[i] * x[i];
    yy += y[i] * y[i];
  }
  long double r = xy / (std::sqrt(xx) * std::sqrt(yy));
  metric.value =
      static_cast<double>(std::clamp(r, -1.0L, 1.0L));  // rounding may pass 1 by a little
  return metric;
}

// Ranks 1..n; equal values share the average of the ranks they cover.
std::vector<double> average_ranks(Reals values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    double rank = 0.5 * static_cast<double>(begin + 1 + end);  // mean of begin + 1 .. end
    for (size_t i = begin; i < end; ++i) ranks[order[i]] = rank;
  }
  return ranks;
}

// Each row's squared difference.
eval::Parts squares(const Predictions& p, int64_t) {
  eval::Parts found;
  for (size_t i = 0; i < p.values.size(); ++i)
    found.values.push_back((p.values[i] - p.targets[i]) * (p.values[i] - p.targets[i]));
  return found;
}

}  // namespace

Metric pearson(Reals values, Reals targets) {
  check_reals("pearson", values, targets);
  return correlate("pearson", "Pearson", values, targets);
}

Metric spearman(Reals values, Reals targets) {
  check_reals("spearman", values, targets);
  return correlate("spearman", "Spearman", average_ranks(values), average_ranks(targets));
}

Metric mean_squared_error(Reals values, Reals targets) {
  check_reals("mse", values, targets);
  long double sum = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    long double difference = static_cast<long double>(values[i]) - targets[i];
    sum += difference * difference;
  }
  auto n = static_cast<int64_t>(values.size());
  return {"mse", static_cast<double>(sum / static_cast<long double>(n)), n, {}};
}

namespace eval {

void add_score_metrics(MetricRegistry& registry) {
  auto add = [&](bool higher, Metric (*compute)(std::span<const double>, std::span<const double>),
                 auto... story) {
    // Correlations are no means over rows.
    MetricKind kind{Need::values, higher, [compute](const Predictions& p, int64_t) {
                      return compute(p.values, p.targets);
                    }};
    if (!higher) kind.parts = squares;
    add_metric(registry, std::move(kind), story...);
  };
  add(true, pearson, "pearson", "product-moment correlation of predicted and true scores",
      "cov(x, y) / (sd(x) sd(y))", "", "A constant side leaves it undefined: 0 with a note.");
  add(true, spearman, "spearman", "Pearson correlation of the ranks",
      "pearson(rank(x), rank(y)), ties share their average rank", "",
      "A constant side leaves it undefined: 0 with a note. As scipy's spearmanr.");
  add(false, mean_squared_error, "mse", "mean of the squared differences", "mean (x - y)^2");
}

}  // namespace eval
}  // namespace compress
