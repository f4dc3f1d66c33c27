#pragma once
// What evaluate() is made of: the rows of this process, and one function a kind of output.

#include <algorithm>

#include "compress/base/work_line.h"
#include "compress/data/loader.h"
#include "compress/eval/evaluate.h"

namespace compress::eval {

// The batches of this process: every world-th one, so that all have long ones and short ones.
class Share {
 public:
  // All batches of the first `rows` rows of a split. `line` is told how far they are scored.
  Share(const data::Split& split, int64_t rows, int64_t batch, const parallel::Processes* processes,
        WorkLine& line)
      : all_(data::evaluation_batches(split, batch, rows)),
        split_(split),
        line_(line),
        tokens_(split.offsets[rows * split.choices]),
        first_(processes == nullptr ? 0 : static_cast<size_t>(processes->rank())),
        step_(processes == nullptr ? 1 : static_cast<size_t>(processes->world())) {}
  size_t size() const {
    return all_.size() > first_ ? (all_.size() - first_ + step_ - 1) / step_ : 0;
  }
  std::vector<int64_t> operator[](size_t i) const { return all_[first_ + i * step_]; }
  // Calls work(rows) for each batch.
  template <class Work>
  void each(const Work& work) const {
    int64_t done = 0, tokens = 0;  // long rows come first
    for (size_t i = 0; i < size(); ++i) {
      const std::vector<int64_t> rows = (*this)[i];
      work(rows);
      const auto world = static_cast<int64_t>(step_);  // the others are about as far
      done += world * static_cast<int64_t>(rows.size());
      for (int64_t row : rows) tokens += world * split_.length(row);
      line_.update(done, std::min(1.0, static_cast<double>(tokens) / static_cast<double>(tokens_)));
    }
  }

 private:
  data::Batches all_;
  const data::Split& split_;
  WorkLine& line_;
  int64_t tokens_;
  size_t first_, step_;
};

// Column of the model's logits for each class of the split. Error{data} listing both sets of names.
std::vector<int64_t> match_labels(const nn::ModelConfig& config, const data::Split& split);
// Error{interrupted} when a stop was asked for.
void check_stop(const EvaluateOptions& options);

// Rows in parts whose logits over a vocabulary stay small enough.
std::vector<std::vector<int64_t>> parted(const data::Split& split, const std::vector<int64_t>& rows,
                                         uint64_t draw = 0);

// What a scorer is given; it fills `predictions`, with those of all processes.
struct Scoring {
  nn::Model& model;
  const nn::ModelConfig& config;  // in which the head that is scored is the model's own
  const data::Split& split;
  const EvaluateOptions& options;
  const Share& batches;
  Predictions& predictions;

  // What that head says of a batch on the model's device.
  nn::HeadOutputs outputs(const data::Batch& batch) const;
  // Error{diverged} for outputs that are not finite, naming a weight that is not.
  void check_finite(const torch::Tensor& said) const;
};

// Perplexity of the original tokens at masked positions.
void score_masked(const Scoring& scoring);
// Perplexity of each token behind those before it (of a sequence-to-sequence model: of the given
// target's).
void score_written(const Scoring& scoring);
// What it writes itself behind each of the first `rows` rows' prompts, and the rows' references.
// Error{internal} where the options have no way to write, Error{recipe} for rows without a target.
void score_texts(const Scoring& scoring, int64_t rows);
// The likeliest answer of each of the first `rows` rows, which is its class: the mean (or the sum)
// of its tokens' log-probabilities behind the prompt. Where rows are made of others several times
// (Composer::votes), the class that most of them say; of those with as many votes the one with the
// highest sum of scores.
// Gives the scores [rows, classes], of several votes their mean.
torch::Tensor score_options(const Scoring& scoring, int64_t rows);
// How many tokens of the vocabulary are likelier than the right one in each row's gap.
void score_gaps(const Scoring& scoring, int64_t rows);
// Classes of words, and entities where the classes are tags of entities.
void score_tags(const Scoring& scoring);
// How near the embeddings of the two texts of each of the first `rows` rows are.
void score_pairs(const Scoring& scoring, int64_t rows);
// Answers in passages: in each window the best pair of first and last token, of at most 30 tokens;
// of an example's windows the best one. Where some questions have no answer, the first token stands
// for none: that is the answer where its score, the least of the windows, is more than
// null_threshold above the best answer's.
void score_answers(const Scoring& scoring);

}  // namespace compress::eval
