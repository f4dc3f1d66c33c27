#include "compress/eval/metrics.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <utility>

#include "compress/base/error.h"
#include "compress/base/strings.h"

namespace compress {

namespace {

using Ids = std::span<const int64_t>;
using Reals = std::span<const double>;

void check_sizes(const char* name, size_t predictions, size_t references) {
  if (predictions != references)
    throw Error(ErrorKind::internal,
                str(name, ": ", predictions, " predictions for ", references, " references"));
  if (predictions == 0)
    throw Error(ErrorKind::data, str(name, ": there are no examples to score"), {},
                "check that the split is not empty and that its rows have labels");
}

void check_reals(const char* name, Reals values, Reals targets) {
  check_sizes(name, values.size(), targets.size());
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i]))
      throw Error(ErrorKind::diverged, str(name, ": prediction ", i, " is ", shortest(values[i])),
                  {}, "the evaluated model computes non-finite numbers; see how its training went");
    if (!std::isfinite(targets[i]))
      throw Error(ErrorKind::data, str(name, ": target ", i, " is ", shortest(targets[i])), {},
                  "every target must be a finite number");
  }
}

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

const char* constant_side(bool predictions, bool references) {
  return predictions && references ? "constant predictions and references"
         : predictions             ? "constant predictions"
                                   : "constant references";
}

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

Metric perplexity(double nll_sum, int64_t tokens) {
  check_sizes("perplexity", static_cast<size_t>(std::max<int64_t>(tokens, 0)),
              static_cast<size_t>(std::max<int64_t>(tokens, 0)));
  if (!std::isfinite(nll_sum))
    throw Error(ErrorKind::diverged,
                str("perplexity: the summed log-likelihood is ", shortest(nll_sum)), {},
                "the evaluated model computes non-finite numbers; see how its training went");
  double mean = nll_sum / static_cast<double>(tokens);
  Metric metric{"perplexity", std::exp(mean), tokens, {}};
  if (!std::isfinite(metric.value))
    metric.note =
        str("a mean loss of ", fixed(mean, 1), " nats is too large: perplexity overflows");
  return metric;
}

namespace {

enum class Input { ids, reals, likelihood, entities, answers };

struct Spec {
  const char* name;
  bool higher_is_better;
  Input input;
  Metric (*compute)(const Predictions&);
};

Metric answer_mean(const char* name, double sum, const AnswerSums& answers) {
  return {name, sum / static_cast<double>(answers.questions), answers.questions, {}};
}

constexpr Spec specs[] = {
    {"accuracy", true, Input::ids,
     [](const Predictions& p) { return accuracy(p.classes, p.labels); }},
    {"f1", true, Input::ids,
     [](const Predictions& p) {
       return f1_binary(p.classes, p.labels, p.positive_class, p.positive_name);
     }},
    {"f1_macro", true, Input::ids,
     [](const Predictions& p) { return f1_macro(p.classes, p.labels); }},
    {"matthews", true, Input::ids,
     [](const Predictions& p) { return matthews(p.classes, p.labels); }},
    {"pearson", true, Input::reals,
     [](const Predictions& p) { return pearson(p.values, p.targets); }},
    {"spearman", true, Input::reals,
     [](const Predictions& p) { return spearman(p.values, p.targets); }},
    {"mse", false, Input::reals,
     [](const Predictions& p) { return mean_squared_error(p.values, p.targets); }},
    {"perplexity", false, Input::likelihood,
     [](const Predictions& p) { return perplexity(p.nll_sum, p.tokens); }},
    {"entity_f1", true, Input::entities,
     [](const Predictions& p) { return entity_score(EntityScore::f1, *p.entities); }},
    {"entity_precision", true, Input::entities,
     [](const Predictions& p) { return entity_score(EntityScore::precision, *p.entities); }},
    {"entity_recall", true, Input::entities,
     [](const Predictions& p) { return entity_score(EntityScore::recall, *p.entities); }},
    {"exact_match", true, Input::answers,
     [](const Predictions& p) { return answer_mean("exact_match", p.answers.exact, p.answers); }},
    {"answer_f1", true, Input::answers,
     [](const Predictions& p) { return answer_mean("answer_f1", p.answers.f1, p.answers); }},
};

const Spec& find_spec(std::string_view name) {
  for (const Spec& spec : specs)
    if (spec.name == name) return spec;
  std::string near = nearest(name, metric_names());
  throw Error(
      ErrorKind::recipe, str("there is no metric '", name, "'"), {},
      near.empty() ? "metrics: " + join(metric_names(), ", ") : str("did you mean '", near, "'?"));
}

const char* input_name(Input input) {
  switch (input) {
    case Input::ids:
      return "class predictions";
    case Input::reals:
      return "predicted scores";
    case Input::likelihood:
      return "token likelihoods";
    case Input::entities:
      return "tags of entities (B-..., I-..., O and the like)";
    case Input::answers:
      return "answers in passages";
  }
  return "";
}

bool has_input(const Predictions& p, Input input) {
  switch (input) {
    case Input::ids:
      return !p.classes.empty() || !p.labels.empty();
    case Input::reals:
      return !p.values.empty() || !p.targets.empty();
    case Input::likelihood:
      return p.tokens != 0;
    case Input::entities:
      return p.entities.has_value();
    case Input::answers:
      return p.answers.questions != 0;
  }
  return false;
}

// A metric of another kind of task is a slip in the recipe, not an empty split.
[[noreturn]] void refuse_input(const Spec& spec, Input given) {
  throw Error(ErrorKind::recipe,
              str("metric '", spec.name, "' needs ", input_name(spec.input),
                  ", but this task gives ", input_name(given)),
              {}, "name metrics that fit the head of the model, or none for the defaults");
}

void check_task(const Spec& spec, const Predictions& p) {
  if (has_input(p, spec.input)) return;
  for (Input other : {Input::ids, Input::reals, Input::likelihood, Input::answers})
    if (has_input(p, other)) refuse_input(spec, other);
}

void check_ids(const Predictions& p) {
  auto check = [&](const std::vector<int64_t>& ids, const char* what, const char* hint) {
    for (size_t i = 0; i < ids.size(); ++i)
      if (ids[i] < 0 || ids[i] >= p.num_classes)
        throw Error(ErrorKind::data,
                    str(what, " ", i, " is class ", ids[i], ", outside 0 .. ", p.num_classes - 1),
                    {}, hint);
  };
  check(p.labels, "label", "score a split whose rows all have labels that the model knows");
  check(p.classes, "prediction", "the head of the model and the labels of the data differ");
}

}  // namespace

std::string title(const Metric& metric) {
  return metric.of.empty() ? metric.name : str(metric.name, " of ", metric.of);
}

void check_metric(const std::string& name, MetricTask task, bool entities) {
  const Spec& spec = find_spec(name);
  Input given = Input::ids;
  if (task == MetricTask::regression) given = Input::reals;
  if (task == MetricTask::language_model) given = Input::likelihood;
  if (task == MetricTask::answers) given = Input::answers;
  const bool also = task == MetricTask::tagging && entities && spec.input == Input::entities;
  if (spec.input != given && !also) refuse_input(spec, given);
}

void f1_needs_two(int64_t classes) {
  throw Error(ErrorKind::recipe, str("metric 'f1' needs two classes, this task has ", classes), {},
              "use f1_macro, or name the class that it is about: `positive` in the data set");
}

std::vector<std::string> metric_names() {
  std::vector<std::string> names;
  for (const Spec& spec : specs) names.emplace_back(spec.name);
  return names;
}

std::vector<std::string> default_metric_names(MetricTask task, int64_t num_classes, bool entities) {
  switch (task) {
    case MetricTask::classification:
      if (num_classes == 2) return {"accuracy", "f1_macro", "f1", "matthews"};
      return {"accuracy", "f1_macro"};
    case MetricTask::regression:
      return {"pearson", "spearman", "mse"};
    case MetricTask::language_model:
      return {"perplexity"};
    case MetricTask::tagging:
      if (entities) return {"entity_f1", "entity_precision", "entity_recall", "accuracy"};
      return {"accuracy", "f1_macro"};
    case MetricTask::answers:
      return {"answer_f1", "exact_match"};
  }
  return {};
}

bool higher_is_better(std::string_view name) {
  return find_spec(name).higher_is_better;
}

std::vector<Metric> compute_metrics(std::span<const std::string> names,
                                    const Predictions& predictions) {
  std::vector<Metric> metrics;
  bool ids_checked = false;
  for (const std::string& name : names) {
    const Spec& spec = find_spec(name);
    check_task(spec, predictions);
    if (spec.input == Input::ids && !std::exchange(ids_checked, true)) check_ids(predictions);
    if (name == "f1" && !predictions.positive_is_given && predictions.num_classes != 2)
      f1_needs_two(predictions.num_classes);
    metrics.push_back(spec.compute(predictions));
  }
  return metrics;
}

}  // namespace compress
