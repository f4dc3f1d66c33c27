#include "compress/eval/evaluate.h"

#include <gtest/gtest.h>

#include "compress/base/error.h"
#include "unit/nn/support.h"

namespace compress::eval {
namespace {

data::Split split(int64_t rows) {
  data::Split out;
  out.name = "test";
  out.file = "made up";
  out.labels = {"no", "yes"};
  out.offsets = {0};
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t length = 3 + row % 5;
    for (int64_t i = 0; i < length; ++i)
      out.ids.push_back(static_cast<int32_t>((row * 7 + i * 11) % 40));
    out.offsets.push_back(out.offsets.back() + length);
    out.first_lengths.push_back(static_cast<int32_t>(length));
    out.classes.push_back(static_cast<int32_t>(row % 2));
    out.lines.push_back(row + 1);
  }
  return out;
}

Evaluation run(int64_t rows, int64_t batch, int64_t warm_up) {
  auto model = nn::build(nn::tiny_bert(nn::HeadKind::classification), 1);
  EvaluateOptions options;
  options.batch = batch;
  options.warm_up = warm_up;
  return evaluate(*model, split(rows), options);
}

TEST(Evaluate, TimesEachFullBatchAndNotTheWarmUp) {
  EXPECT_EQ(run(10, 1, 0).forward_seconds.size(), 10u);
  EXPECT_EQ(run(10, 1, 3).forward_seconds.size(), 10u);
  EXPECT_EQ(run(10, 4, 99).forward_seconds.size(), 2u);  // 4, 4 and a rest of 2
  EXPECT_EQ(run(10, 16, 0).forward_seconds.size(), 1u);
  const Evaluation found = run(10, 2, 1);
  double sum = 0;
  for (double seconds : found.forward_seconds) {
    EXPECT_GT(seconds, 0);
    sum += seconds;
  }
  EXPECT_LT(sum, found.seconds);
}

TEST(Evaluate, ARowScoresTheSameInAnyBatch) {
  const Evaluation one = run(10, 1, 0), four = run(10, 4, 2);
  EXPECT_LT((one.logits - four.logits).abs().max().item<float>(), 1e-6f);
  EXPECT_EQ(one.metrics.front().value, four.metrics.front().value);
}

}  // namespace
}  // namespace compress::eval
