// Scores of models that write text.

#include <gtest/gtest.h>

#include <cmath>

#include "compress/base/error.h"
#include "compress/eval/evaluate.h"
#include "unit/nn/writers.h"

namespace compress::eval {
namespace {

using torch::Tensor;

// Rows of 1, 2, 3, ... tokens; the first `sources` of each are its source.
data::Split rows_of(data::Task task, int64_t rows, int64_t sources = 0) {
  data::Split out;
  out.name = "test";
  out.file = "made up";
  out.task = task;
  out.offsets = {0};
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t length = 1 + row + sources;
    for (int64_t i = 0; i < length; ++i)
      out.ids.push_back(static_cast<int32_t>((row * 7 + i * 11) % 40));
    out.offsets.push_back(out.offsets.back() + length);
    out.first_lengths.push_back(static_cast<int32_t>(sources == 0 ? length : sources));
    out.lines.push_back(row + 1);
  }
  return out;
}

Evaluation score(const nn::ModelState& state, const data::Split& split, int64_t batch,
                 int64_t limit = 0) {
  auto model = nn::build(state, 1);
  EvaluateOptions options;
  options.batch = batch;
  options.limit = limit;
  return evaluate(*model, split, options);
}

// -log p of every label, row by row.
double by_hand(const nn::ModelState& state, const data::Split& split) {
  torch::NoGradGuard no_grad;
  auto model = nn::build(state, 1);
  model->params().refresh(nn::Precision::float32);
  double sum = 0;
  for (int64_t row = 0; row < split.rows(); ++row) {
    data::Batch batch = data::pack(split, std::vector<int64_t>{row});
    const Tensor labels = batch.targets.token_labels;
    batch.targets = {};
    const Tensor log_p = at::log_softmax(model->forward(batch, {}, {}).token_logits, 1);
    for (int64_t t = 0; t < labels.size(0); ++t) {
      const auto label = labels[t].item<int64_t>();
      if (label >= 0) sum -= log_p[t][label].item<double>();
    }
  }
  return sum;
}

nn::ModelState zeros(nn::ModelState state) {
  for (auto& [name, tensor] : state.tensors) tensor = torch::zeros_like(tensor);
  return state;
}

TEST(Written, AModelThatKnowsNothingIsAsPerplexAsItsVocabulary) {
  const Evaluation found = score(zeros(nn::tiny_gpt2()), rows_of(data::Task::language_model, 4), 2);
  ASSERT_EQ(found.metrics.size(), 1u);
  EXPECT_EQ(found.metrics[0].name, "perplexity");
  EXPECT_NEAR(found.metrics[0].value, 50, 1e-3);
  EXPECT_EQ(found.metrics[0].n, 0 + 1 + 2 + 3);
  EXPECT_NEAR(found.loss, std::log(50.0), 1e-5);
  EXPECT_EQ(found.rows, 4);
}

TEST(Written, CausalLmInAnyBatch) {
  const data::Split split = rows_of(data::Task::language_model, 9);
  const double expected = by_hand(nn::tiny_gpt2(2), split) / 36;
  for (int64_t batch : {1, 4, 16}) {
    const Evaluation found = score(nn::tiny_gpt2(2), split, batch);
    EXPECT_NEAR(found.loss, expected, 1e-5);
    EXPECT_NEAR(found.metrics[0].value, std::exp(expected), 1e-3);
    EXPECT_EQ(found.metrics[0].n, 36);
  }
  EXPECT_EQ(score(nn::tiny_gpt2(), split, 4, 3).metrics[0].n, 3);
  EXPECT_EQ(score(nn::tiny_gpt2(), split, 4, 3).rows, 3);
}

TEST(Written, SequenceToSequenceReadsTheTarget) {
  const data::Split split = rows_of(data::Task::sequence_to_sequence, 5, 3);
  EXPECT_NEAR(score(zeros(nn::tiny_t5()), split, 2).metrics[0].value, 50, 1e-3);
  const double expected = by_hand(nn::tiny_t5(), split) / 15;
  for (int64_t batch : {1, 4, 16}) {
    const Evaluation found = score(nn::tiny_t5(), split, batch);
    EXPECT_NEAR(found.loss, expected, 1e-5);
    EXPECT_EQ(found.metrics[0].n, 15);
  }
}

TEST(Written, DataOfAnotherTask) {
  EXPECT_THROW(score(nn::tiny_gpt2(), rows_of(data::Task::unlabelled, 3), 2), Error);
  EXPECT_THROW(score(nn::tiny_gpt2(), rows_of(data::Task::sequence_to_sequence, 3, 2), 2), Error);
  EXPECT_THROW(score(nn::tiny_t5(), rows_of(data::Task::language_model, 3), 2), Error);
}

}  // namespace
}  // namespace compress::eval
