#pragma once
// A metric as a component: what it needs, its convention and its paper, and how it is computed. One
// kind a file in src/eval/metrics/; `compress explain` and docs/methods.md list them.

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "compress/eval/metrics.h"
#include "compress/recipe/options.h"

namespace compress::eval {

// What a metric is computed from, of what an evaluator gathers (Predictions).
enum class Need {
  classes,           // predicted and true classes
  values,            // predicted and true scores
  likelihood,        // of tokens
  entities,          // tags of entities
  answers,           // to questions, compared with those that were given
  groups,            // rows of the same query, with their scores and whether they are relevant
  sets,              // predicted and true sets of labels, with their scores
  texts,             // that were written, with their references
  row_groups,        // predicted and true classes of rows of queries
  values_of_groups,  // predicted and true scores of rows of groups
  above,             // ranks of the right tokens in a vocabulary
  candidates         // rows of queries with the answers that they propose
};

// The parts of a metric that is a mean: what each row, question or query counts, under a number
// that is the same for all models that are scored on the same data.
struct Parts {
  std::vector<int64_t> ids;  // empty: the rows in their order
  std::vector<double> values;
};

struct MetricKind {
  Need need;
  bool higher_is_better;
  // `at` is the number behind @ in its name, 0 for a metric without one. The name that Metric gets
  // is set by the caller.
  std::function<Metric(const Predictions&, int64_t at)> compute;
  // Of a metric that is a mean: what it is a mean of. No values where the predictions are not of
  // the metric's kind.
  std::function<Parts(const Predictions&, int64_t at)> parts = nullptr;
  std::optional<Need> also = std::nullopt;  // what it is computed from in another task
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
