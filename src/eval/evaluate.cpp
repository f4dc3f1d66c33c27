#include "compress/eval/evaluate.h"

#include <algorithm>
#include <chrono>

#include "compress/augment/augment.h"
#include "compress/base/clock.h"
#include "compress/base/error.h"
#include "compress/base/random.h"
#include "compress/base/strings.h"
#include "compress/data/loader.h"
#include "compress/nn/packed.h"

namespace compress::eval {

namespace {

using nn::HeadKind;
using torch::Tensor;

// Logits of `rows` on the CPU; `seconds`, unless null, receives how long the forward pass took.
Tensor logits_of(nn::Model& model, const data::Split& split, const std::vector<int64_t>& rows,
                 const nn::Pass& pass, std::vector<double>* seconds) {
  const data::Batch batch = data::pack(split, rows).to(model.device());
  const auto begin = std::chrono::steady_clock::now();
  Tensor logits = model.forward(batch, {}, pass).logits.cpu();
  if (seconds != nullptr) seconds->push_back(seconds_since(begin));
  return logits;
}

// Column of the model's logits for each class of the split.
std::vector<int64_t> match_labels(const nn::ModelConfig& config, const data::Split& split) {
  std::vector<int64_t> columns;
  for (const std::string& label : split.labels) {
    auto it = std::find(config.labels.begin(), config.labels.end(), label);
    if (it == config.labels.end() || config.labels.size() != split.labels.size())
      throw Error(ErrorKind::data,
                  compress::str("class names differ: the data has {", join(split.labels, ", "),
                                "}, the model has {", join(config.labels, ", "), "}"),
                  split.file.string(), "evaluate with a model trained on these labels");
    columns.push_back(it - config.labels.begin());
  }
  return columns;
}

void check_fit(const nn::ModelConfig& config, const data::Split& split) {
  bool fits =
      (config.head == HeadKind::classification && split.task == data::Task::classification) ||
      (config.head == HeadKind::regression && split.task == data::Task::regression) ||
      config.head == HeadKind::masked_lm;
  if (!fits)
    throw Error(ErrorKind::data,
                compress::str("a model with the head '", nn::head_name(config.head),
                              "' cannot be scored on this data"),
                split.file.string(), "the data set's `task` and the model's `head` must agree");
}

// The batches of this process: every world-th one, so that all have long ones and short ones.
class Share {
 public:
  Share(data::Batches all, const parallel::Processes* processes)
      : all_(std::move(all)),
        first_(processes == nullptr ? 0 : static_cast<size_t>(processes->rank())),
        step_(processes == nullptr ? 1 : static_cast<size_t>(processes->world())) {}
  size_t size() const {
    return all_.size() > first_ ? (all_.size() - first_ + step_ - 1) / step_ : 0;
  }
  std::vector<int64_t> operator[](size_t i) const { return all_[first_ + i * step_]; }
  // Calls work(rows) for each batch.
  template <class Work>
  void each(const Work& work) const {
    for (size_t i = 0; i < size(); ++i) work((*this)[i]);
  }

 private:
  data::Batches all_;
  size_t first_, step_;
};

void check_stop(const EvaluateOptions& options) {
  if (options.processes != nullptr || options.stop == nullptr || !options.stop->load()) return;
  throw Error(ErrorKind::interrupted, "stopped while a model was scored", {},
              "run the same command again to go on from there");
}

// Runs some batches, and says how long that took.
std::chrono::steady_clock::duration warm_up(nn::Model& model, const data::Split& split,
                                            const EvaluateOptions& options, const Share& batches,
                                            const nn::Pass& pass) {
  const auto begin = std::chrono::steady_clock::now();
  const auto count = static_cast<int64_t>(batches.size()), times = std::min(count, options.warm_up);
  for (int64_t i = 0; i < times; ++i) {
    check_stop(options);
    logits_of(model, split, batches[static_cast<size_t>(i * count / times)], pass, nullptr);
  }
  return std::chrono::steady_clock::now() - begin;
}

// Perplexity of the original tokens at masked positions.
void score_masked(nn::Model& model, const data::Split& split, const EvaluateOptions& options,
                  const Share& batches, Predictions& predictions) {
  if (options.tokenizer == nullptr)
    throw Error(ErrorKind::internal, "a masked LM is evaluated with its tokenizer");
  auto masking = augment::make_masking({});
  masking->bind(*options.tokenizer);
  nn::Pass pass{false, 0, options.precision};
  batches.each([&](const std::vector<int64_t>& rows) {
    check_stop(options);
    data::Batch batch = data::pack(split, rows);
    masking->apply(batch, stream_seed(0, "evaluation", static_cast<uint64_t>(rows.front())));
    batch = batch.to(model.device());
    nn::Outputs out = model.forward(batch, {}, pass);
    Tensor targets = batch.targets.token_labels.index_select(0, out.token_index);
    predictions.nll_sum +=
        at::cross_entropy_loss(out.token_logits, targets, {}, at::Reduction::Sum).item<double>();
    predictions.tokens += targets.size(0);
  });
  if (options.processes == nullptr) return;
  Tensor sums = torch::tensor({predictions.nll_sum, static_cast<double>(predictions.tokens)},
                              torch::kFloat64);
  options.processes->sum(sums);
  predictions.nll_sum = sums[0].item<double>();
  predictions.tokens = static_cast<int64_t>(sums[1].item<double>());
}

}  // namespace

const Metric* Evaluation::find(const std::string& name) const {
  for (const Metric& metric : metrics)
    if (metric.name == name) return &metric;
  return nullptr;
}

std::vector<std::string> default_metrics(const nn::ModelConfig& config) {
  MetricTask task = config.head == HeadKind::classification ? MetricTask::classification
                    : config.head == HeadKind::regression   ? MetricTask::regression
                                                            : MetricTask::language_model;
  return default_metric_names(task, config.outputs());
}

Evaluation evaluate(nn::Model& model, const data::Split& split, const EvaluateOptions& options) {
  torch::NoGradGuard no_grad;
  auto begin = std::chrono::steady_clock::now();
  const nn::ModelConfig& config = model.config();
  check_fit(config, split);
  model.params().refresh(options.precision);
  const nn::PackedWeights packed(model.params());
  const Share batches(data::evaluation_batches(split, options.batch, options.limit),
                      options.processes);
  Evaluation result;
  Predictions predictions;
  if (config.head == HeadKind::masked_lm) {
    score_masked(model, split, options, batches, predictions);
    result.loss =
        predictions.tokens > 0 ? predictions.nll_sum / static_cast<double>(predictions.tokens) : 0;
    result.rows = split.rows();
  } else {
    std::vector<int64_t> columns = config.head == HeadKind::classification
                                       ? match_labels(config, split)
                                       : std::vector<int64_t>{0};
    const auto width = static_cast<int64_t>(columns.size());
    const int64_t count = options.limit > 0 ? std::min(options.limit, split.rows()) : split.rows();
    result.logits = torch::zeros({count, width});
    nn::Pass pass{false, 0, options.precision};
    Tensor order = torch::tensor(columns);
    begin += warm_up(model, split, options, batches, pass);
    batches.each([&](const std::vector<int64_t>& rows) {
      check_stop(options);
      const bool whole = static_cast<int64_t>(rows.size()) == std::min(options.batch, count);
      Tensor logits =
          logits_of(model, split, rows, pass, whole ? &result.forward_seconds : nullptr);
      result.logits.index_copy_(0, torch::tensor(rows), logits.index_select(1, order));
    });
    if (options.processes != nullptr) options.processes->sum(result.logits);  // others hold zeros
    result.rows = count;
    if (config.head == HeadKind::classification) {
      if (split.classes.empty())
        throw Error(ErrorKind::data, "the data has no labels to score against",
                    split.file.string());
      if (!torch::isfinite(result.logits).all().item<bool>())
        throw Error(ErrorKind::diverged, "the model's outputs are not finite", split.file.string());
      Tensor labels = torch::empty({count}, torch::kInt64);
      std::copy_n(split.classes.begin(), count, labels.mutable_data_ptr<int64_t>());
      Tensor chosen = result.logits.argmax(1);
      predictions.num_classes = width;
      predictions.labels.assign(labels.const_data_ptr<int64_t>(),
                                labels.const_data_ptr<int64_t>() + count);
      predictions.classes.assign(chosen.const_data_ptr<int64_t>(),
                                 chosen.const_data_ptr<int64_t>() + count);
      result.loss = at::cross_entropy_loss(result.logits, labels).item<double>();
    } else {
      for (int64_t row = 0; row < count; ++row) {
        predictions.values.push_back(result.logits.const_data_ptr<float>()[row]);
        predictions.targets.push_back(split.values[static_cast<size_t>(row)]);
      }
      result.loss = mean_squared_error(predictions.values, predictions.targets).value;
    }
  }
  result.metrics = compute_metrics(
      options.metrics.empty() ? default_metrics(config) : options.metrics, predictions);
  result.seconds = seconds_since(begin);
  return result;
}

}  // namespace compress::eval
