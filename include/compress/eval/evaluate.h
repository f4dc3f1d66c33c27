#pragma once
// Runs a model over a split and scores it.

#include "compress/data/torch.h"

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "compress/data/dataset.h"
#include "compress/eval/metrics.h"
#include "compress/nn/model.h"
#include "compress/parallel/processes.h"
#include "compress/text/tokenizer.h"

namespace compress::eval {

struct EvaluateOptions {
  std::vector<std::string> metrics;  // empty: the defaults of the data, or the task
  std::string head;                  // the head that is scored; "": the model's own
  int64_t batch = 32;
  nn::Precision precision = nn::Precision::float32;
  const text::Tokenizer* tokenizer =
      nullptr;  // needed for masked LM: 15% of the tokens are masked, the same each time
  // Continues prompts, one text each: needed for metrics of written texts.
  std::function<std::vector<std::string>(nn::Model&, const std::vector<std::vector<int64_t>>&)>
      write;
  double null_threshold = 0;  // no answer where its score is so much above the best answer's
  int64_t limit = 0;          // first rows only; 0 = all
  int64_t warm_up = 0;        // batches, spread over the split, that run before anything is timed
  // When it turns true: Error{interrupted}. Not looked at with several processes: one that left
  // would leave the others waiting.
  const std::atomic<bool>* stop = nullptr;
  // The processes that share the rows; all get the same scores. Null: this one alone.
  parallel::Processes* processes = nullptr;
  // Names the line that tells how far a scoring of more than a few seconds is ("student
  // validation"); empty: no line.
  std::string progress;
};

struct Evaluation {
  std::vector<Metric> metrics;
  Predictions predictions;  // what they were computed from
  double loss = 0;          // mean cross-entropy or squared error; of cosines 1 - Pearson
  int64_t rows = 0;
  double seconds = 0;  // of everything but the warm-up
  // The time of each full batch's forward pass, until its logits are on the CPU (classification,
  // regression). A smaller last batch counts only when there is no other.
  std::vector<double> forward_seconds;
  torch::Tensor logits;  // [N, C] float32 on the CPU, in row order (classification, regression)
  const Metric* find(const std::string& name) const;
};

// The model in evaluation mode with the weights it has now (refreshes effective weights). The
// split's class names must be the model's in some order, or placeholders with the same numbers
// (data/classes.h): Error{data} listing both otherwise.
Evaluation evaluate(nn::Model& model, const data::Split& split, const EvaluateOptions& options);

// Error{model} for a head whose outputs no task is about yet: several numbers.
void check_task(const nn::ModelConfig& config, const std::string& place);

// Error{data} with the place of the first row that the model cannot read: it has more tokens than
// the model has learned positions, or a token that the model's embedding has no row for. The
// tokenizer, where it is given, names the token. evaluate() looks for itself.
void check_rows(const data::Split& split, const nn::ModelConfig& config,
                const text::Tokenizer* tokenizer);

// Whether a model with this head can be scored on data of this task.
bool can_score(nn::HeadKind head, data::Task task);
// In words, for an error: the classes of the data are not the model's.
std::string labels_differ(std::span<const std::string> data, std::span<const std::string> model);

// What is scored where nobody names metrics: what the data set says (data::metrics_of), else the
// metrics of the model's task, or of the data's where a head serves several.
std::vector<std::string> default_metrics(const nn::ModelConfig& config,
                                         const std::vector<std::string>& of_data = {},
                                         data::Task task = data::Task::unlabelled);
// Error{recipe} for the first of `names` that a model of this configuration has no numbers for,
// told before it is run. `one_is_named`: the data set says which class `f1` is about; `groups`: its
// rows are of queries, which can be ranked; `references`: its rows have a text to be written;
// `candidates`: they propose answers.
void check_metrics(std::span<const std::string> names, const nn::ModelConfig& config,
                   bool one_is_named, bool groups = false, bool references = false,
                   data::Task task = data::Task::unlabelled, bool candidates = false);
// Whether one of the metrics is of texts that a model has to write (EvaluateOptions::write).
bool need_texts(std::span<const std::string> names, const nn::ModelConfig& config);

}  // namespace compress::eval
