// Metrics of sets of labels: each label of a row is true or not by itself.

#include <cmath>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "metrics/checks.h"

namespace compress {

namespace {

void check_sets(const char* name, const LabelSets& sets) {
  check_sizes(name, sets.chosen.size(), sets.given.size());
  if (sets.labels < 1 || sets.given.size() % static_cast<size_t>(sets.labels) != 0)
    throw Error(ErrorKind::internal,
                str(name, ": ", sets.given.size(), " labels in rows of ", sets.labels));
}

struct LabelCounts {
  int64_t both = 0, all = 0;  // all: given plus chosen
  double f1() const {
    return all == 0 ? 0 : 2 * static_cast<double>(both) / static_cast<double>(all);
  }
};

// Of each label over the rows.
std::vector<LabelCounts> count_labels(const LabelSets& sets) {
  std::vector<LabelCounts> counts(static_cast<size_t>(sets.labels));
  for (size_t i = 0; i < sets.given.size(); ++i) {
    LabelCounts& count = counts[i % counts.size()];
    count.both += sets.given[i] & sets.chosen[i];
    count.all += sets.given[i] + sets.chosen[i];
  }
  return counts;
}

// 1 for a row whose set is the true one, else 0.
eval::Parts equal_sets(const LabelSets& sets) {
  eval::Parts parts;
  const auto width = static_cast<size_t>(sets.labels);
  for (size_t at = 0; width > 0 && at + width <= sets.given.size(); at += width) {
    const auto given = sets.given.begin() + static_cast<ptrdiff_t>(at);
    const auto chosen = sets.chosen.begin() + static_cast<ptrdiff_t>(at);
    parts.values.push_back(std::equal(given, given + sets.labels, chosen) ? 1 : 0);
  }
  return parts;
}

// Of a row: the mean over its true labels of (true labels that score as high) / (labels that do).
double ranking_precision(const LabelSets& sets, size_t row) {
  const auto width = static_cast<size_t>(sets.labels);
  const double* scores = sets.scores.data() + row * width;
  const uint8_t* given = sets.given.data() + row * width;
  double sum = 0;
  int64_t relevant = 0;
  for (size_t mine = 0; mine < width; ++mine) {
    if (given[mine] == 0) continue;
    int64_t above = 0, found = 0;  // with the label itself
    for (size_t other = 0; other < width; ++other) {
      if (scores[other] < scores[mine]) continue;
      ++above;
      found += given[other];
    }
    sum += static_cast<double>(found) / static_cast<double>(above);
    ++relevant;
  }
  return relevant == 0 ? 1 : sum / static_cast<double>(relevant);
}

eval::Parts ranking_precisions(const LabelSets& sets) {
  eval::Parts parts;
  if (sets.scores.size() != sets.given.size()) return parts;
  for (int64_t row = 0; row < sets.rows(); ++row)
    parts.values.push_back(ranking_precision(sets, static_cast<size_t>(row)));
  return parts;
}

double mean(const std::vector<double>& values) {
  long double sum = 0;
  for (double value : values) sum += value;
  return static_cast<double>(sum / static_cast<long double>(values.size()));
}

}  // namespace

Metric f1_micro(const LabelSets& sets) {
  check_sets("f1_micro", sets);
  LabelCounts sum;
  for (const LabelCounts& count : count_labels(sets)) {
    sum.both += count.both;
    sum.all += count.all;
  }
  Metric metric{"f1_micro", sum.f1(), sets.rows(), {}};
  if (sum.all == 0) metric.note = "no label is given or predicted: F1 undefined, reported as 0";
  return metric;
}

Metric f1_macro(const LabelSets& sets) {
  check_sets("f1_macro", sets);
  std::vector<double> values;
  int64_t absent = 0;
  for (const LabelCounts& count : count_labels(sets)) {
    values.push_back(count.f1());
    absent += count.all == 0;
  }
  Metric metric{"f1_macro", mean(values), sets.rows(), {}};
  if (absent > 0)
    metric.note =
        str(absent, " of ", sets.labels, " labels are neither given nor predicted and count as 0");
  return metric;
}

Metric subset_accuracy(const LabelSets& sets) {
  check_sets("subset_accuracy", sets);
  return {"subset_accuracy", mean(equal_sets(sets).values), sets.rows(), {}};
}

Metric label_ranking_average_precision(const LabelSets& sets) {
  check_sets("lrap", sets);
  check_sizes("lrap", sets.scores.size(), sets.given.size());
  for (size_t i = 0; i < sets.scores.size(); ++i)
    if (!std::isfinite(sets.scores[i]))
      throw Error(ErrorKind::diverged, str("lrap: the score ", i, " is ", shortest(sets.scores[i])),
                  {}, "the evaluated model computes non-finite numbers; see how its training went");
  return {"lrap", mean(ranking_precisions(sets).values), sets.rows(), {}};
}

namespace eval {

void add_set_metrics(MetricRegistry& registry) {
  auto add = [&](Metric (*compute)(const LabelSets&), Parts (*parts)(const LabelSets&),
                 auto... story) {
    MetricKind kind{Need::sets, true,
                    [compute](const Predictions& p, int64_t) { return compute(p.sets); }};
    if (parts != nullptr)
      kind.parts = [parts](const Predictions& p, int64_t) { return parts(p.sets); };
    add_metric(registry, std::move(kind), story...);
  };
  add(f1_micro, nullptr, "f1_micro", "F1 over the labels of all rows together (multi-label)",
      "2 tp / (2 tp + fp + fn), counts summed over rows and labels", "",
      "A label is predicted where its probability is above 1/2. 0 with a note where no label is "
      "given "
      "or predicted. As scikit-learn's f1_score with average micro and zero_division 0.");
  add(subset_accuracy, equal_sets, "subset_accuracy",
      "share of rows whose set of labels was found exactly (multi-label)",
      "(rows with predicted set = true set) / n", "",
      "As scikit-learn's accuracy_score of label indicators.");
  add(label_ranking_average_precision, ranking_precisions, "lrap",
      "label ranking average precision (multi-label)",
      "mean over rows of 1 / |Y| sum_{l in Y} |{k in Y: s_k >= s_l}| / |{k: s_k >= s_l}|",
      "Schapire and Singer 2000, BoosTexter: a boosting-based system for text categorization",
      "Labels with equal scores share the worst rank of theirs. A row without true labels, or with "
      "all "
      "of them, counts 1. As scikit-learn's label_ranking_average_precision_score.");
}

}  // namespace eval
}  // namespace compress
