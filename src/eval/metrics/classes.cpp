// Metrics of predicted classes.

#include <cmath>
#include <map>

#include "compress/base/strings.h"
#include "metrics/checks.h"

namespace compress {

namespace {

using Ids = std::span<const int64_t>;

struct ClassCounts {
  int64_t labelled = 0, predicted = 0, both = 0;

  // 2 tp / (2 tp + fp + fn); the denominator is what was labelled plus what was predicted.
  double f1() const {
    int64_t total = labelled + predicted;
    return total == 0 ? 0.0 : 2.0 * static_cast<double>(both) / static_cast<double>(total);
  }
};

// An ordered map: sums run over the classes in the same order each time.
std::map<int64_t, ClassCounts> count_classes(Ids classes, Ids labels) {
  std::map<int64_t, ClassCounts> counts;
  for (size_t i = 0; i < classes.size(); ++i) {
    ++counts[labels[i]].labelled;
    ClassCounts& predicted = counts[classes[i]];
    ++predicted.predicted;
    if (classes[i] == labels[i]) ++predicted.both;
  }
  return counts;
}

// 1 for a row whose class was found, else 0.
eval::Parts hits(const Predictions& p, int64_t) {
  eval::Parts found;
  for (size_t i = 0; i < p.classes.size(); ++i)
    found.values.push_back(p.classes[i] == p.labels[i] ? 1 : 0);
  return found;
}

}  // namespace

Metric accuracy(Ids classes, Ids labels) {
  check_sizes("accuracy", classes.size(), labels.size());
  int64_t hits = 0;
  for (size_t i = 0; i < classes.size(); ++i) hits += classes[i] == labels[i] ? 1 : 0;
  auto n = static_cast<int64_t>(classes.size());
  return {"accuracy", static_cast<double>(hits) / static_cast<double>(n), n, {}};
}

Metric f1_binary(Ids classes, Ids labels, int64_t positive, const std::string& name) {
  check_sizes("f1", classes.size(), labels.size());
  ClassCounts counts;
  for (size_t i = 0; i < classes.size(); ++i) {
    bool predicted = classes[i] == positive, labelled = labels[i] == positive;
    counts.predicted += predicted ? 1 : 0;
    counts.labelled += labelled ? 1 : 0;
    counts.both += predicted && labelled ? 1 : 0;
  }
  Metric metric{"f1", counts.f1(), static_cast<int64_t>(classes.size()), {}, name};
  if (counts.labelled == 0 && counts.predicted == 0)
    metric.note = str("class ", name.empty() ? str(positive) : name,
                      " occurs neither in the labels nor in the predictions: F1 undefined, "
                      "reported as 0");
  return metric;
}

Metric f1_macro(Ids classes, Ids labels) {
  check_sizes("f1_macro", classes.size(), labels.size());
  std::map<int64_t, ClassCounts> counts = count_classes(classes, labels);
  double sum = 0;
  for (const auto& [id, count] : counts) sum += count.f1();
  return {"f1_macro",
          sum / static_cast<double>(counts.size()),
          static_cast<int64_t>(classes.size()),
          {}};
}

Metric matthews(Ids classes, Ids labels) {
  check_sizes("matthews", classes.size(), labels.size());
  // Sums of products of counts: long double holds them exactly up to 2^32 examples.
  auto n = static_cast<long double>(classes.size());
  long double correct = 0, cross = 0, predicted = 0, labelled = 0;
  for (const auto& [id, count] : count_classes(classes, labels)) {
    auto p = static_cast<long double>(count.predicted);
    auto t = static_cast<long double>(count.labelled);
    correct += static_cast<long double>(count.both);
    cross += p * t;
    predicted += p * p;
    labelled += t * t;
  }
  long double spread_predicted = n * n - predicted, spread_labelled = n * n - labelled;
  Metric metric{"matthews", 0, static_cast<int64_t>(classes.size()), {}};
  if (spread_predicted == 0 || spread_labelled == 0) {
    metric.note = str(constant_side(spread_predicted == 0, spread_labelled == 0),
                      ": Matthews undefined, reported as 0");
    return metric;
  }
  metric.value = static_cast<double>((correct * n - cross) /
                                     (std::sqrt(spread_predicted) * std::sqrt(spread_labelled)));
  return metric;
}

namespace eval {

void add_class_metrics(MetricRegistry& registry) {
  auto add = [&](Metric (*compute)(const Predictions&), auto... story) {
    add_metric(
        registry,
        {Need::classes, true, [compute](const Predictions& p, int64_t) { return compute(p); }},
        story...);
  };
  add_metric(registry,
             {Need::classes, true,
              [](const Predictions& p, int64_t) { return accuracy(p.classes, p.labels); }, hits},
             "accuracy", "share of rows whose class was found", "hits / n");
  add(
      [](const Predictions& p) {
        return f1_binary(p.classes, p.labels, p.positive_class, p.positive_name);
      },
      "f1", "F1 of one class: `positive` of the data set", "2 tp / (2 tp + fp + fn)", "",
      "With other than two classes the data set must name the class. 0 with a note where it occurs "
      "on neither side. As scikit-learn's f1_score with zero_division 0.");
  add_metric(
      registry,
      {Need::classes, true,
       [](const Predictions& p, int64_t) {
         return p.sets.labels > 0 ? f1_macro(p.sets) : f1_macro(p.classes, p.labels);
       },
       nullptr, Need::sets},
      "f1_macro", "mean F1 over the classes that occur among labels or predictions", "mean_c f1_c",
      "",
      "As scikit-learn's macro average with zero_division 0. Multi-label: over all labels, as "
      "there; those that are neither given nor predicted count 0, and a note says how many.");
  add([](const Predictions& p) { return matthews(p.classes, p.labels); }, "matthews",
      "Matthews correlation coefficient; of more than two classes Gorodkin's R_K",
      "(c s - sum_k p_k t_k) / sqrt((s^2 - sum_k p_k^2)(s^2 - sum_k t_k^2))",
      "Gorodkin 2004, Comparing two K-category assignments by a K-category correlation coefficient",
      "0 with a note where all labels or all predictions are one class. As scikit-learn's "
      "matthews_corrcoef.");
}

}  // namespace eval
}  // namespace compress
