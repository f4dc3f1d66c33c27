#include "compress/eval/paired.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "compress/base/error.h"
#include "compress/base/random.h"
#include "compress/base/strings.h"

namespace compress::eval {

namespace {

// The continued fraction of the incomplete beta function, by Lentz's method.
double beta_fraction(double a, double b, double x) {
  constexpr double tiny = 1e-300, enough = 1e-15;
  double c = 1, d = 1 - (a + b) * x / (a + 1);
  d = 1 / (std::abs(d) < tiny ? tiny : d);
  double value = d;
  for (int m = 1; m < 10000; ++m) {
    const double k = m;
    for (const double step : {k * (b - k) * x / ((a + 2 * k - 1) * (a + 2 * k)),
                              -(a + k) * (a + b + k) * x / ((a + 2 * k) * (a + 2 * k + 1))}) {
      d = 1 + step * d;
      c = 1 + step / c;
      d = 1 / (std::abs(d) < tiny ? tiny : d);
      c = std::abs(c) < tiny ? tiny : c;
      value *= d * c;
    }
    if (std::abs(d * c - 1) < enough) break;
  }
  return value;
}

// The regularised incomplete beta function I_x(a, b).
double incomplete_beta(double a, double b, double x) {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  const double front = std::exp(std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) +
                                a * std::log(x) + b * std::log1p(-x));
  return x < (a + 1) / (a + b + 2) ? front * beta_fraction(a, b, x) / a
                                   : 1 - front * beta_fraction(b, a, 1 - x) / b;
}

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  for (double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

// Of a sample: divided by n - 1.
double variance_of(const std::vector<double>& values) {
  const double mean = mean_of(values);
  double sum = 0;
  for (double value : values) sum += (value - mean) * (value - mean);
  return values.size() < 2 ? 0 : sum / static_cast<double>(values.size() - 1);
}

struct Means {
  std::vector<double> of_seeds, of_examples;
};

Means means_of(const Differences& differences) {
  if (differences.empty() || differences.front().size() < 2)
    throw Error(ErrorKind::data, "a comparison needs two examples or more");
  const size_t count = differences.front().size();
  Means means{{}, std::vector<double>(count, 0)};
  for (const std::vector<double>& of_seed : differences) {
    if (of_seed.size() != count)
      throw Error(ErrorKind::data, str("seeds were scored on different numbers of examples: ",
                                       count, " and ", of_seed.size()));
    means.of_seeds.push_back(mean_of(of_seed));
    for (size_t i = 0; i < count; ++i)
      means.of_examples[i] += of_seed[i] / static_cast<double>(differences.size());
  }
  return means;
}

}  // namespace

double t_below(double t, double degrees) {
  if (std::isinf(degrees)) return 0.5 * std::erfc(-t / std::sqrt(2.0));
  const double tail = 0.5 * incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t));
  return t > 0 ? 1 - tail : tail;
}

double t_quantile(double probability, double degrees) {
  if (probability == 0.5) return 0;
  if (probability < 0.5) return -t_quantile(1 - probability, degrees);
  double low = 0, high = 1;
  while (t_below(high, degrees) < probability && high < 1e300) high *= 2;
  while (true) {  // the halves of an interval end where doubles do
    const double middle = low + (high - low) / 2;
    if (middle <= low || middle >= high) return middle;
    (t_below(middle, degrees) < probability ? low : high) = middle;
  }
}

PairedTest paired_test(const Differences& differences, double p) {
  const Means means = means_of(differences);
  PairedTest test;
  test.seeds = static_cast<int64_t>(differences.size());
  test.examples = static_cast<int64_t>(means.of_examples.size());
  test.difference = mean_of(means.of_examples);
  const auto seeds = static_cast<double>(test.seeds), examples = static_cast<double>(test.examples),
             all = seeds * examples;
  // Mean squares over the number of differences: parts of the variance of d.
  const double of_examples = variance_of(means.of_examples) / examples;
  double of_seeds = 0, of_rest = 0;
  if (test.seeds > 1) {
    of_seeds = variance_of(means.of_seeds) / seeds;
    double squares = 0;
    for (size_t s = 0; s < differences.size(); ++s)
      for (size_t i = 0; i < means.of_examples.size(); ++i) {
        const double rest =
            differences[s][i] - means.of_seeds[s] - means.of_examples[i] + test.difference;
        squares += rest * rest;
      }
    of_rest = squares / ((seeds - 1) * (examples - 1)) / all;
  }
  const bool differ = of_seeds > of_rest;  // seeds, by more than the rest makes them
  const double variance = of_examples + (differ ? of_seeds - of_rest : 0);
  test.error = std::sqrt(variance);
  test.degrees = examples - 1;
  if (differ)
    test.degrees = variance * variance /
                   (of_examples * of_examples / (examples - 1) + of_seeds * of_seeds / (seeds - 1) +
                    of_rest * of_rest / ((seeds - 1) * (examples - 1)));
  const double quantile = t_quantile(1 - p / 2, test.degrees);
  test.low = test.difference - quantile * test.error;
  test.high = test.difference + quantile * test.error;
  test.visible = (quantile + t_quantile(0.8, test.degrees)) * test.error;
  return test;
}

const char* verdict_name(Verdict verdict) {
  switch (verdict) {
    case Verdict::held:
      return "held";
    case Verdict::missed:
      return "MISSED";
    default:
      return "undecided";
  }
}

Verdict above(const PairedTest& test, double bound) {
  if (test.low > bound) return Verdict::held;
  return test.high < bound ? Verdict::missed : Verdict::undecided;
}

std::string text_of(const PairedTest& test) {
  auto signed_text = [](double x) { return (x < 0 ? "" : "+") + fixed(x, 4); };
  return str(signed_text(test.difference), " [", signed_text(test.low), ", ",
             signed_text(test.high), "], ", test.seeds, test.seeds == 1 ? " seed" : " seeds",
             ", n ", with_commas(test.examples), ", smallest visible ", fixed(test.visible, 4));
}

double mcnemar(int64_t only_first, int64_t only_second) {
  const int64_t all = only_first + only_second, fewer = std::min(only_first, only_second);
  const auto n = static_cast<double>(all);
  double tail = 0;
  for (int64_t k = 0; k <= fewer; ++k) {
    const auto x = static_cast<double>(k);
    tail += std::exp(std::lgamma(n + 1) - std::lgamma(x + 1) - std::lgamma(n - x + 1) -
                     n * std::log(2.0));
  }
  return std::min(1.0, 2 * tail);
}

std::pair<double, double> bootstrap(const Differences& differences, double p, int64_t draws,
                                    uint64_t seed) {
  means_of(differences);  // checks
  const size_t seeds = differences.size(), examples = differences.front().size();
  std::vector<double> means;
  for (int64_t draw = 0; draw < draws; ++draw) {
    Random random(stream_seed(seed, "bootstrap", static_cast<uint64_t>(draw)));
    std::vector<double> weights(seeds, 0);
    for (size_t s = 0; s < seeds; ++s) weights[random.below(seeds)] += 1;
    double sum = 0;
    for (size_t i = 0; i < examples; ++i) {
      const size_t at = random.below(examples);
      for (size_t s = 0; s < seeds; ++s)
        if (weights[s] > 0) sum += weights[s] * differences[s][at];
    }
    means.push_back(sum / static_cast<double>(seeds * examples));
  }
  std::sort(means.begin(), means.end());
  auto at = [&](double share) {
    return means[static_cast<size_t>(share * static_cast<double>(means.size() - 1) + 0.5)];
  };
  return {at(p / 2), at(1 - p / 2)};
}

}  // namespace compress::eval
