#include "compress/eval/evaluate.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

#include "compress/base/clock.h"
#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/data/classes.h"
#include "compress/data/compose.h"
#include "compress/data/mixture.h"
#include "compress/data/passages.h"
#include "compress/data/task.h"
#include "compress/eval/metric.h"
#include "compress/nn/architecture.h"
#include "compress/nn/packed.h"
#include "scorers.h"

namespace compress::eval {

namespace {

using nn::HeadKind;
using torch::Tensor;

// Logits of `rows` on the CPU; `seconds`, unless null, receives how long the forward pass took.
Tensor logits_of(const Scoring& s, const std::vector<int64_t>& rows, std::vector<double>* seconds) {
  const data::Batch batch = data::pack(s.split, rows).to(s.model.device());
  const auto begin = std::chrono::steady_clock::now();
  Tensor logits = s.outputs(batch).logits.cpu();
  if (batch.choices > 1) logits = logits.view({-1, batch.choices});
  if (seconds != nullptr) seconds->push_back(seconds_since(begin));
  return logits;
}

void check_fit(const nn::ModelConfig& config, const data::Split& split,
               const text::Tokenizer* tokenizer) {
  check_task(config, split.file.string());
  if (!can_score(config.head, split.task))
    throw Error(ErrorKind::data,
                str("a model with the head '", nn::head_name(config.head),
                    "' cannot be scored on this data"),
                split.file.string(), "the data set's `task` and the model's `head` must agree");
  check_rows(split, config, tokenizer);
}

// Runs some batches, and says how long that took.
std::chrono::steady_clock::duration warm_up(const Scoring& s) {
  const auto begin = std::chrono::steady_clock::now();
  const auto count = static_cast<int64_t>(s.batches.size()),
             times = std::min(count, s.options.warm_up);
  for (int64_t i = 0; i < times; ++i) {
    check_stop(s.options);
    logits_of(s, s.batches[static_cast<size_t>(i * count / times)], nullptr);
  }
  return std::chrono::steady_clock::now() - begin;
}

// Column of the logits for each class.
std::vector<int64_t> columns_of(const nn::ModelConfig& config, const data::Split& split) {
  if (nn::has_classes(config.head)) return match_labels(config, split);
  std::vector<int64_t> columns(static_cast<size_t>(split.choices));
  std::iota(columns.begin(), columns.end(), 0);
  return columns;
}

void judge_classes(const data::Split& split, Evaluation& result, Predictions& predictions) {
  const int64_t count = result.rows;
  if (split.classes.empty())
    throw Error(ErrorKind::data, "the data has no labels to score against", split.file.string());
  Tensor labels = torch::empty({count}, torch::kInt64);
  for (int64_t row = 0; row < count; ++row)
    labels.mutable_data_ptr<int64_t>()[row] = split.classes[row * split.choices];
  Tensor chosen = result.logits.argmax(1);
  predictions.num_classes = result.logits.size(1);
  predictions.labels.assign(labels.const_data_ptr<int64_t>(),
                            labels.const_data_ptr<int64_t>() + count);
  predictions.classes.assign(chosen.const_data_ptr<int64_t>(),
                             chosen.const_data_ptr<int64_t>() + count);
  result.loss = at::cross_entropy_loss(result.logits, labels).item<double>();
}

// Labels that are true or not by themselves: predicted where the probability is above 1/2.
void judge_sets(const data::Split& split, Evaluation& result, LabelSets& sets) {
  sets.labels = result.logits.size(1);
  const int64_t count = result.rows * sets.labels;
  const auto* logits = result.logits.const_data_ptr<float>();
  Tensor given = torch::empty({result.rows, sets.labels});
  auto* target = given.mutable_data_ptr<float>();
  for (int64_t i = 0; i < count; ++i) {
    const float label = split.soft[static_cast<size_t>(i)];
    if (label != 0 && label != 1)
      throw Error(ErrorKind::data, "probabilities cannot be scored against",
                  split.place(i / sets.labels), "a part that is scored has labels of 0 and 1");
    target[i] = label;
    sets.scores.push_back(logits[i]);
    sets.chosen.push_back(logits[i] > 0);
    sets.given.push_back(label > 0);
  }
  result.loss = at::binary_cross_entropy_with_logits(result.logits, given).item<double>();
}

// The rows of queries: a classifier's by the log-odds of the positive class, which order as its
// probability and stay apart where that is 1, a regressor's by their scores.
void rank_rows(const Scoring& s, const Evaluation& result, RankedRows& ranked) {
  if (s.split.groups.empty() || s.split.choices > 1) return;
  const int64_t count = result.rows, classes = result.logits.size(1);
  ranked.groups.assign(s.split.groups.begin(), s.split.groups.begin() + count);
  if (s.config.head == HeadKind::regression) {
    ranked.scores = s.predictions.values;
    ranked.relevance = s.predictions.targets;
    return;
  }
  const Tensor logits = result.logits.to(torch::kFloat64);
  const int64_t positive = s.predictions.positive_class;
  std::vector<int64_t> others;
  for (int64_t c = 0; c < classes; ++c)
    if (c != positive) others.push_back(c);
  const Tensor odds = (logits.select(1, positive) -
                       at::logsumexp(logits.index_select(1, torch::tensor(others)), {1}))
                          .contiguous();
  ranked.scores.assign(odds.const_data_ptr<double>(), odds.const_data_ptr<double>() + count);
  for (int64_t label : s.predictions.labels) ranked.relevance.push_back(label == positive);
}

// Logits of the mean probabilities, or the mean score, of `logits` [heads, rows, outputs].
Tensor mean_answer(HeadKind head, const Tensor& logits) {
  if (head == HeadKind::regression) return logits.mean(0);
  if (head == HeadKind::multi_label) return at::sigmoid(logits).mean(0).logit(1e-7);
  return at::log_softmax(logits, 2).logsumexp({0}) - std::log(static_cast<double>(logits.size(0)));
}

// Classes, choices and scores of rows. Says how long the warm-up took.
std::chrono::steady_clock::duration score_rows(const Scoring& s, Evaluation& result) {
  const std::vector<int64_t> columns = columns_of(s.config, s.split);
  const int64_t count = result.rows;
  result.logits = torch::zeros({count, static_cast<int64_t>(columns.size())});
  const Tensor order = torch::tensor(columns);
  const auto warming = warm_up(s);
  s.batches.each([&](const std::vector<int64_t>& rows) {
    check_stop(s.options);
    const bool whole = static_cast<int64_t>(rows.size()) == std::min(s.options.batch, count);
    const Tensor logits = logits_of(s, rows, whole ? &result.forward_seconds : nullptr);
    result.logits.index_copy_(0, torch::tensor(rows), logits.index_select(1, order));
  });
  if (s.options.processes != nullptr) s.options.processes->sum(result.logits);  // others hold zeros
  s.check_finite(result.logits);
  if (s.config.head == HeadKind::multi_label) {
    judge_sets(s.split, result, s.predictions.sets);
    return warming;
  }
  if (s.config.head != HeadKind::regression) {
    judge_classes(s.split, result, s.predictions);
    rank_rows(s, result, s.predictions.ranked);
    if (!s.predictions.ranked.groups.empty() && data::has_candidates(s.split)) {
      std::vector<std::string> all = data::candidates_of(s.split);
      all.resize(static_cast<size_t>(count));
      s.predictions.ranked.candidates = std::move(all);
    }
    return warming;
  }
  for (int64_t row = 0; row < count; ++row) {
    s.predictions.values.push_back(result.logits.const_data_ptr<float>()[row]);
    s.predictions.targets.push_back(s.split.values[static_cast<size_t>(row)]);
  }
  result.loss = mean_squared_error(s.predictions.values, s.predictions.targets).value;
  rank_rows(s, result, s.predictions.ranked);
  return warming;
}

}  // namespace

nn::HeadOutputs Scoring::outputs(const data::Batch& batch) const {
  const nn::Pass pass{false, 0, options.precision};
  if (options.head.empty()) return model.forward(batch, {}, pass);
  const std::vector<std::string> heads = nn::answering_heads(model.config(), options.head);
  nn::Capture capture;
  capture.heads.insert(heads.begin(), heads.end());
  capture.heads.erase("");
  const nn::Outputs said = model.forward(batch, capture, pass);
  if (heads.size() == 1) return said.of(heads.front());
  std::vector<Tensor> answers;
  for (const std::string& head : heads) answers.push_back(said.of(head).logits);
  nn::HeadOutputs mean = said.of(heads.front());
  mean.logits = mean_answer(config.head, torch::stack(answers).to(torch::kFloat32));
  return mean;
}

void Scoring::check_finite(const Tensor& said) const {
  if (torch::isfinite(said).all().item<bool>()) return;
  std::string why;
  for (const nn::Parameter& parameter : model.params().list()) {
    const int64_t bad = parameter.numel() - torch::isfinite(parameter.latent).sum().item<int64_t>();
    if (bad == 0) continue;
    why = str(": ", bad, " of the ", with_commas(parameter.numel()), " values of ", parameter.name,
              " are not");
    break;
  }
  throw Error(ErrorKind::diverged, "the model's outputs are not finite" + why, split.file.string(),
              "look at the model's weights and its config.json; in training, lower the rate");
}

bool can_score(HeadKind head, data::Task task) {
  const data::TaskFacts& facts = data::facts_of(task);
  const std::string_view name = nn::head_name(head);
  // A model without a head has states to pool.
  if (task == data::Task::similarity) return head == HeadKind::none || name == facts.head;
  return head == HeadKind::masked_lm || name == facts.head || name == facts.further_head;
}

void check_task(const nn::ModelConfig& config, const std::string& place) {
  if (config.head != HeadKind::regression || config.outputs() <= 1) return;
  throw Error(ErrorKind::model,
              str("the model's problem_type is \"regression\" with ", config.outputs(),
                  " outputs, which no task trains or scores yet"),
              place, "of regressions, those with one output can be trained and scored");
}

void check_rows(const data::Split& split, const nn::ModelConfig& config,
                const text::Tokenizer* tokenizer) {
  if (split.mixture != nullptr) {
    for (const data::Mixture::Source& source : split.mixture->sources)
      check_rows(*source.split, config, tokenizer);
    return;
  }
  if (split.composer != nullptr && split.composer->source() != nullptr)
    check_rows(*split.composer->source(), config, tokenizer);
  if (const auto places = nn::learned_places(config)) data::check_longest(split, *places);
  // Only a tokenizer with more tokens can have written such an id; large files are not read for it.
  if (tokenizer != nullptr && tokenizer->vocabulary_size() <= config.vocab_size) return;
  const auto unknown = std::find_if(split.ids.begin(), split.ids.end(),
                                    [&](int32_t id) { return id >= config.vocab_size; });
  if (unknown == split.ids.end()) return;
  const auto next =
      std::upper_bound(split.offsets.begin(), split.offsets.end(), unknown - split.ids.begin());
  const int64_t text = next - split.offsets.begin() - 1;
  std::string token = str("the token ", *unknown), all;
  if (tokenizer != nullptr) {
    if (const auto name = tokenizer->id_to_token(*unknown)) token += str(" ('", *name, "')");
    all = str(", and the tokenizer has ", tokenizer->vocabulary_size(), " tokens");
  }
  throw Error(ErrorKind::data,
              str("a text has ", token, ", but the model's embedding has ", config.vocab_size,
                  " rows", all),
              split.place(text / split.choices),
              "give the embedding a row for each token: resize_vocabulary");
}

std::vector<int64_t> match_labels(const nn::ModelConfig& config, const data::Split& split) {
  data::ClassMatch match = data::match_classes(split.labels, config.labels);
  if (!match)
    throw Error(ErrorKind::data, labels_differ(split.labels, config.labels), split.file.string(),
                data::mismatch_hint(split.labels, config.labels));
  return std::move(match.order);
}

std::string labels_differ(std::span<const std::string> data, std::span<const std::string> model) {
  return str("class names differ: the data has {", data::class_list(data), "}, the model has {",
             data::class_list(model), "}");
}

void check_stop(const EvaluateOptions& options) {
  if (options.processes != nullptr || options.stop == nullptr || !options.stop->load()) return;
  throw Error(ErrorKind::interrupted, "stopped while a model was scored", {},
              "run the same command again to go on from there");
}

const Metric* Evaluation::find(const std::string& name) const {
  for (const Metric& metric : metrics)
    if (metric.name == name) return &metric;
  return nullptr;
}

namespace {

MetricTask metric_task(HeadKind head, bool references, data::Task task) {
  if (task == data::Task::prompted && head == HeadKind::causal_lm) return MetricTask::options;
  if (task == data::Task::cloze && head == HeadKind::masked_lm) return MetricTask::gaps;
  if (task == data::Task::similarity) return MetricTask::regression;
  switch (head) {
    case HeadKind::multi_label:
      return MetricTask::multi_label;
    case HeadKind::seq2seq_lm:
      return MetricTask::written;
    case HeadKind::causal_lm:
      return references ? MetricTask::written : MetricTask::language_model;
    case HeadKind::classification:
    case HeadKind::multiple_choice:
      return MetricTask::classification;
    case HeadKind::regression:
      return MetricTask::regression;
    case HeadKind::token_classification:
      return MetricTask::tagging;
    case HeadKind::span:
      return MetricTask::answers;
    default:
      return MetricTask::language_model;
  }
}

}  // namespace

void check_metrics(std::span<const std::string> names, const nn::ModelConfig& config,
                   bool one_is_named, bool groups, bool references, data::Task task,
                   bool candidates) {
  const bool entities = are_entity_tags(config.labels);
  const bool ranks = groups && config.head != HeadKind::multiple_choice;
  for (const std::string& name : names) {
    check_metric(name, metric_task(config.head, references, task), entities, ranks, candidates);
    if (name == "f1" && !one_is_named && nn::has_labels(config.head) && config.outputs() != 2)
      f1_needs_two(config.outputs());
  }
}

bool need_texts(std::span<const std::string> names, const nn::ModelConfig& config) {
  if (metric_task(config.head, /*references=*/true, data::Task::unlabelled) != MetricTask::written)
    return false;
  return std::any_of(names.begin(), names.end(), [](const std::string& name) {
    if (!is_metric(name)) return false;
    const MetricKind& kind = *metric_of(name).kind;
    return kind.need == Need::texts || kind.also == Need::texts;
  });
}

std::vector<std::string> default_metrics(const nn::ModelConfig& config,
                                         const std::vector<std::string>& of_data, data::Task of) {
  if (!of_data.empty()) return of_data;
  if (of == data::Task::prompted || of == data::Task::cloze || of == data::Task::similarity)
    return data::facts_of(of).metrics;
  const data::TaskFacts* task = data::task_of_head(nn::head_name(config.head));
  if (task == nullptr) return data::facts_of(data::Task::unlabelled).metrics;
  if (!task->metrics_of_two.empty() && config.outputs() == 2) return task->metrics_of_two;
  if (!task->metrics_of_entities.empty() && are_entity_tags(config.labels))
    return task->metrics_of_entities;
  return task->metrics;
}

Evaluation evaluate(nn::Model& model, const data::Split& split, const EvaluateOptions& options) {
  torch::NoGradGuard no_grad;
  auto begin = std::chrono::steady_clock::now();
  const nn::ModelConfig config = nn::with_head(model.config(), options.head);
  check_fit(config, split, options.tokenizer);
  model.params().refresh(options.precision);
  const nn::PackedWeights packed(model.params());
  Evaluation result;
  result.rows = options.limit > 0 ? std::min(options.limit, split.rows()) : split.rows();
  WorkLine line(options.progress, result.rows);
  const Share batches(split, result.rows, options.batch, options.processes, line);
  Predictions predictions;
  if (const int64_t positive = data::positive_class(split.labels, split.positive); positive >= 0) {
    predictions.positive_class = positive;
    predictions.positive_name = split.labels[static_cast<size_t>(positive)];
    predictions.positive_is_given = !split.positive.empty();
  }
  const Scoring scoring{model, config, split, options, batches, predictions};
  switch (config.head) {
    case HeadKind::masked_lm:
      if (split.task == data::Task::cloze)
        score_gaps(scoring, result.rows);
      else
        score_masked(scoring);
      break;
    case HeadKind::causal_lm:
    case HeadKind::seq2seq_lm:
      if (split.task == data::Task::prompted) {
        result.logits = score_options(scoring, result.rows);
        break;
      }
      score_written(scoring);
      if (need_texts(options.metrics, config)) score_texts(scoring, result.rows);
      break;
    case HeadKind::token_classification:
      score_tags(scoring);
      break;
    case HeadKind::span:
      score_answers(scoring);
      break;
    case HeadKind::none:
    case HeadKind::embedding:
      score_pairs(scoring, result.rows);
      result.loss = 1 - pearson(predictions.values, predictions.targets).value;
      break;
    default:
      begin += score_rows(scoring, result);
      break;
  }
  if (nn::predicts_tokens(config.head))
    result.loss =
        predictions.tokens > 0 ? predictions.nll_sum / static_cast<double>(predictions.tokens) : 0;
  if (config.head == HeadKind::token_classification)
    result.loss = predictions.nll_sum / static_cast<double>(predictions.labels.size());
  if (config.head == HeadKind::span) result.loss = predictions.nll_sum;
  result.metrics =
      compute_metrics(options.metrics.empty() ? default_metrics(config, split.metrics, split.task)
                                              : options.metrics,
                      predictions);
  result.predictions = std::move(predictions);
  result.seconds = seconds_since(begin);
  return result;
}

}  // namespace compress::eval
