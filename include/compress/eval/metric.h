#pragma once
// A metric as a component: what it needs, its convention and its paper, and how it is computed. One
// kind a file in src/eval/metrics/; `compress explain` and docs/methods.md list them.

#include <cstdint>
#include <functional>
#include <string_view>

#include "compress/eval/metrics.h"
#include "compress/recipe/options.h"

namespace compress::eval {

// What a metric is computed from, of what an evaluator gathers (Predictions).
enum class Need {
  classes,     // predicted and true classes
  values,      // predicted and true scores
  likelihood,  // of tokens
  entities,    // tags of entities
  texts,       // answers, compared with those that were given
  groups       // rows of the same query, with their scores and whether they are relevant
};

struct MetricKind {
  Need need;
  bool higher_is_better;
  // `at` is the number behind @ in its name, 0 for a metric without one. The name that Metric gets
  // is set by the caller.
  std::function<Metric(const Predictions&, int64_t at)> compute;
  // Of a metric that is a mean over rows: each row's part; empty for others, and where the
  // predictions are not of the metric's kind.
  std::vector<double> (*of_rows)(const Predictions&) = nullptr;
};

// A metric whose name ends in "@k" is asked for with a number: precision@1, recall@10.
using MetricRegistry = recipe::RegistryOf<MetricKind>;
const MetricRegistry& metrics();

// A metric that was asked for by name.
struct AskedMetric {
  const MetricKind* kind;
  int64_t at = 0;
};
// Error{recipe} with the nearest name for an unknown one, and for a number that is none.
AskedMetric metric_of(std::string_view name);
bool is_metric(std::string_view name);

}  // namespace compress::eval
