#pragma once
// What every metric checks before it counts, and how its kind is registered.

#include <string>
#include <utility>

#include "compress/eval/metric.h"

namespace compress {

// Error{internal} unless there are as many predictions as references, Error{data} without any.
void check_sizes(const char* name, size_t predictions, size_t references);
// The same, and Error{diverged} or Error{data} for the first that is not a finite number.
void check_reals(const char* name, std::span<const double> values, std::span<const double> targets);
// In words: which side has one value alone.
const char* constant_side(bool predictions, bool references);

namespace eval {

struct NoOptions {
  static const recipe::Options<NoOptions>& options();
};

void add_metric(MetricRegistry& registry, MetricKind kind, std::string name, std::string summary,
                std::string equation, std::string paper = {}, std::string notes = {});

// One a file.
void add_class_metrics(MetricRegistry& registry);
void add_score_metrics(MetricRegistry& registry);
void add_likelihood_metrics(MetricRegistry& registry);
void add_entity_metrics(MetricRegistry& registry);
void add_answer_metrics(MetricRegistry& registry);
void add_ranking_metrics(MetricRegistry& registry);
void add_set_metrics(MetricRegistry& registry);
void add_rouge(MetricRegistry& registry);
void add_bleu(MetricRegistry& registry);
void add_chrf(MetricRegistry& registry);
void add_distinct(MetricRegistry& registry);
void add_meteor(MetricRegistry& registry);
void add_group_metrics(MetricRegistry& registry);
void add_text_metrics(MetricRegistry& registry);

}  // namespace eval
}  // namespace compress
