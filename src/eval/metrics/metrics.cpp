// Metrics by name: the register, what a task gives, and their values.

#include "compress/eval/metrics.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "metrics/checks.h"

namespace compress {

void check_sizes(const char* name, size_t predictions, size_t references) {
  if (predictions != references)
    throw Error(ErrorKind::internal,
                str(name, ": ", predictions, " predictions for ", references, " references"));
  if (predictions == 0)
    throw Error(ErrorKind::data, str(name, ": there are no examples to score"), {},
                "check that the split is not empty and that its rows have labels");
}

void check_reals(const char* name, std::span<const double> values,
                 std::span<const double> targets) {
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

const char* constant_side(bool predictions, bool references) {
  return predictions && references ? "constant predictions and references"
         : predictions             ? "constant predictions"
                                   : "constant references";
}

namespace eval {

const recipe::Options<NoOptions>& NoOptions::options() {
  static const auto description = recipe::Options<NoOptions>("metric");
  return description;
}

void add_metric(MetricRegistry& registry, MetricKind kind, std::string name, std::string summary,
                std::string equation, std::string paper, std::string notes) {
  registry.add(recipe::describe<NoOptions>("metric", std::move(name), std::move(summary),
                                           std::move(equation), std::move(paper), std::move(notes)),
               std::move(kind));
}

const MetricRegistry& metrics() {
  static const auto* registry = [] {
    auto* list = new MetricRegistry("metric");
    add_class_metrics(*list);
    add_score_metrics(*list);
    add_likelihood_metrics(*list);
    add_entity_metrics(*list);
    add_answer_metrics(*list);
    add_ranking_metrics(*list);
    add_set_metrics(*list);
    add_text_metrics(*list);
    add_rouge(*list);
    add_bleu(*list);
    add_chrf(*list);
    add_distinct(*list);
    add_meteor(*list);
    add_group_metrics(*list);
    return list;
  }();
  return *registry;
}

namespace {

// The component behind a name, "precision@k" behind "precision@3"; null where there is none.
const recipe::ComponentInfo* find_info(std::string_view name, int64_t& at) {
  const size_t sign = name.find('@');
  if (sign == std::string_view::npos) return metrics().find(name);
  const std::string_view number = name.substr(sign + 1);
  auto [end, failed] = std::from_chars(number.data(), number.data() + number.size(), at);
  if (failed != std::errc() || end != number.data() + number.size() || at < 1 || number[0] == '0')
    return nullptr;
  return metrics().find(str(name.substr(0, sign), "@k"));
}

}  // namespace

AskedMetric metric_of(std::string_view name) {
  AskedMetric asked{nullptr, 0};
  if (const recipe::ComponentInfo* info = find_info(name, asked.at)) {
    recipe::Component component;
    component.info = info;
    asked.kind = &metrics().maker(component);
    return asked;
  }
  std::string hint = did_you_mean(name, metric_names(), "metrics: " + join(metric_names(), ", "));
  if (metrics().find(str(name.substr(0, name.find('@')), "@k")) != nullptr)
    hint = str("give a number from 1: ", name.substr(0, name.find('@')), "@1");
  throw Error(ErrorKind::recipe, str("there is no metric '", name, "'"), {}, hint);
}

bool is_metric(std::string_view name) {
  int64_t at = 0;
  return find_info(name, at) != nullptr;
}

}  // namespace eval

namespace {

using eval::Need;

const char* input_name(Need need) {
  switch (need) {
    case Need::classes:
      return "class predictions";
    case Need::values:
      return "predicted scores";
    case Need::likelihood:
      return "token likelihoods";
    case Need::entities:
      return "tags of entities (B-..., I-..., O and the like)";
    case Need::answers:
      return "answers in passages";
    case Need::groups:
      return "rows of queries (`group` in the data set) with classes or scores";
    case Need::sets:
      return "sets of labels";
    case Need::texts:
      return "written texts with references";
    case Need::row_groups:
      return "classes of rows of groups (`group` in the data set)";
    case Need::values_of_groups:
      return "scores of rows of groups (`group` in the data set)";
    case Need::above:
      return "tokens in gaps (`task: cloze`)";
    case Need::candidates:
      return "answers that rows of groups propose (`group` and `candidate` in the data set)";
  }
  return "";
}

bool has_input(const Predictions& p, Need need) {
  switch (need) {
    case Need::classes:
      return !p.classes.empty() || !p.labels.empty();
    case Need::values:
      return !p.values.empty() || !p.targets.empty();
    case Need::likelihood:
      return p.tokens != 0;
    case Need::entities:
      return p.entities.has_value();
    case Need::answers:
      return p.answers.questions() != 0;
    case Need::groups:
      return !p.ranked.groups.empty();
    case Need::sets:
      return p.sets.labels != 0;
    case Need::texts:
      return !p.texts.written.empty();
    case Need::row_groups:
      return !p.ranked.groups.empty() && !p.classes.empty();
    case Need::values_of_groups:
      return !p.ranked.groups.empty() && !p.values.empty();
    case Need::above:
      return !p.above.empty();
    case Need::candidates:
      return !p.ranked.candidates.empty();
  }
  return false;
}

// A metric of another kind of task is a slip in the recipe, not an empty split.
[[noreturn]] void refuse_input(std::string_view name, Need wanted, Need given) {
  throw Error(ErrorKind::recipe,
              str("metric '", name, "' needs ", input_name(wanted), ", but this task gives ",
                  input_name(given)),
              {}, "name metrics that fit the head of the model, or none for the defaults");
}

void check_task(const std::string& name, const eval::MetricKind& kind, const Predictions& p) {
  if (has_input(p, kind.need) || (kind.also && has_input(p, *kind.also))) return;
  for (Need other : {Need::classes, Need::values, Need::likelihood, Need::answers, Need::sets,
                     Need::texts, Need::above})
    if (has_input(p, other)) refuse_input(name, kind.need, other);
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

void check_metric(const std::string& name, MetricTask task, bool entities, bool groups,
                  bool candidates) {
  const eval::MetricKind& kind = *eval::metric_of(name).kind;
  std::vector<Need> given = {Need::classes};
  if (task == MetricTask::regression) given = {Need::values};
  if (task == MetricTask::language_model) given = {Need::likelihood};
  if (task == MetricTask::answers) given = {Need::answers};
  if (task == MetricTask::multi_label) given = {Need::sets};
  if (task == MetricTask::written) given = {Need::likelihood, Need::texts};
  if (task == MetricTask::gaps) given = {Need::above};
  if (task == MetricTask::classification && groups) given.push_back(Need::row_groups);
  if (task == MetricTask::classification && groups && candidates) given.push_back(Need::candidates);
  if (task == MetricTask::regression && groups) given.push_back(Need::values_of_groups);
  if (task == MetricTask::tagging && entities) given.push_back(Need::entities);
  const bool ranks = task == MetricTask::classification || task == MetricTask::regression;
  if (ranks && groups) given.push_back(Need::groups);
  auto is_given = [&](Need need) {
    return std::find(given.begin(), given.end(), need) != given.end();
  };
  if (!is_given(kind.need) && !(kind.also && is_given(*kind.also)))
    refuse_input(name, kind.need, given.front());
}

void f1_needs_two(int64_t classes) {
  throw Error(ErrorKind::recipe, str("metric 'f1' needs two classes, this task has ", classes), {},
              "use f1_macro, or name the class that it is about: `positive` in the data set");
}

std::vector<std::string> metric_names() {
  return eval::metrics().names();
}

bool higher_is_better(std::string_view name) {
  return eval::metric_of(name).kind->higher_is_better;
}

std::vector<Metric> compute_metrics(std::span<const std::string> names,
                                    const Predictions& predictions) {
  std::vector<Metric> metrics;
  bool ids_checked = false;
  for (const std::string& name : names) {
    const eval::AskedMetric asked = eval::metric_of(name);
    check_task(name, *asked.kind, predictions);
    if (asked.kind->need == Need::classes && !std::exchange(ids_checked, true))
      check_ids(predictions);
    if (name == "f1" && !predictions.positive_is_given && predictions.num_classes != 2)
      f1_needs_two(predictions.num_classes);
    metrics.push_back(asked.kind->compute(predictions, asked.at));
    metrics.back().name = name;
    if (asked.kind->need == Need::classes && metrics.back().signature.empty())
      metrics.back().signature = predictions.classes_by;
    const bool of_values =
        asked.kind->need == Need::values || asked.kind->need == Need::values_of_groups;
    if (of_values && !predictions.values_by.empty())
      metrics.back().signature = predictions.values_by +
                                 (metrics.back().signature.empty() ? "" : "|") +
                                 metrics.back().signature;
  }
  return metrics;
}

}  // namespace compress
