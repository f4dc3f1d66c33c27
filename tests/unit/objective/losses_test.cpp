#include "unit/nn/support.h"
#include "unit/objective/support.h"

namespace compress::objective {
namespace {

using torch::Tensor;

// Rows of two tokens, one and three; labels at tokens 0, 3 and 5.
data::Batch three_rows() {
  data::Batch batch = nn::random_batch({2, 1, 3});
  batch.targets.token_labels = torch::tensor({1, -100, -100, 1, -100, 1});
  batch.targets.labelled = {0, 3, 5};
  batch.targets.token_index = torch::tensor({0, 3, 5});
  return batch;
}

TEST(Losses, AShareIsTheSumOverTheUpdatesUnits) {
  const data::Batch batch = three_rows();
  EXPECT_FLOAT_EQ(Losses(torch::tensor({1.0f, 2.0f, 6.0f}), Unit::rows).share(batch).item<float>(),
                  3);
  const Tensor tokens = torch::tensor({1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 9.0f});
  EXPECT_FLOAT_EQ(Losses(tokens, Unit::tokens).share(batch).item<float>(), 4);
  const Tensor labels = torch::tensor({3.0f, 6.0f, 12.0f});
  EXPECT_FLOAT_EQ(Losses(labels, Unit::labels).share(batch).item<float>(), 7);
  // However it is cut, the shares add up to the whole.
  Tensor sum = torch::zeros({});
  for (const auto& [begin, end, from, to] : {std::tuple{0, 1, 0, 2}, std::tuple{1, 3, 2, 6}}) {
    const data::Batch part = data::slice(batch, begin, end);
    sum += Losses(tokens.slice(0, from, to), Unit::tokens).share(part);
  }
  EXPECT_FLOAT_EQ(sum.item<float>(), 4);
}

TEST(Losses, UnitsOfPaddingDoNotCount) {
  const data::Batch batch = data::padded(three_rows(), 8, 4);
  const Tensor tokens = torch::tensor({1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 9.0f, 100.0f, 50.0f});
  const Tensor weights = torch::tensor({1.0f, 0.0f, 2.0f});
  for (Unit unit : {Unit::tokens, Unit::predicted}) {
    const Losses losses(tokens, unit);
    EXPECT_FLOAT_EQ(losses.share(batch).item<float>(), 4);
    EXPECT_FLOAT_EQ(losses.share(batch, weights).item<float>(), (3.0f + 2 * 18) / 6);
    EXPECT_TRUE(torch::allclose(losses.of_rows(batch), torch::tensor({1.5f, 1.5f, 9.0f})));
  }
  EXPECT_FLOAT_EQ(Losses(torch::tensor({1.0f, 2.0f, 6.0f}), Unit::rows).share(batch).item<float>(),
                  3);
}

TEST(Losses, RowsWeighTheirUnits) {
  const data::Batch batch = three_rows();
  const Tensor weights = torch::tensor({1.0f, 0.0f, 2.0f});
  const Tensor tokens = torch::tensor({1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 9.0f});
  EXPECT_FLOAT_EQ(Losses(tokens, Unit::tokens).share(batch, weights).item<float>(),
                  (3.0f + 2 * 18) / 6);
  const Tensor labels = torch::tensor({3.0f, 6.0f, 12.0f});  // one of row 0, two of row 2
  EXPECT_FLOAT_EQ(Losses(labels, Unit::labels).share(batch, weights).item<float>(),
                  (3.0f + 36) / 3);
  EXPECT_FLOAT_EQ(
      Losses(torch::tensor({1.0f, 2.0f, 6.0f}), Unit::rows).share(batch, weights).item<float>(),
      13.0f / 3);
}

TEST(Losses, RowsOfTheDataWeighTheirUnits) {
  data::Batch batch = three_rows();
  batch.targets.weights = torch::tensor({1.0f, 0.0f, 2.0f});
  const Tensor tokens = torch::tensor({1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 9.0f});
  const Losses losses(tokens, Unit::tokens);
  // The mean is over the six tokens, whatever they weigh.
  EXPECT_FLOAT_EQ(losses.share(batch).item<float>(), (3.0f + 2 * 18) / 6);
  // A mover's weights multiply those of the data.
  EXPECT_FLOAT_EQ(losses.share(batch, torch::tensor({2.0f, 5.0f, 1.0f})).item<float>(),
                  (2 * 3.0f + 2 * 18) / 6);
  EXPECT_FLOAT_EQ(losses.of_rows(batch).mean().item<float>(), losses.share(batch).item<float>());
  Tensor sum = torch::zeros({});
  for (const auto& [begin, end, from, to] : {std::tuple{0, 1, 0, 2}, std::tuple{1, 3, 2, 6}})
    sum += Losses(tokens.slice(0, from, to), Unit::tokens).share(data::slice(batch, begin, end));
  EXPECT_FLOAT_EQ(sum.item<float>(), losses.share(batch).item<float>());
}

TEST(Losses, RowLossesHaveTheLossAsTheirMean) {
  const data::Batch batch = three_rows();
  Losses losses(torch::tensor({1.0f, 2.0f, 6.0f}), Unit::rows);
  losses.add(torch::tensor({1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 9.0f}), Unit::tokens);
  losses.add(torch::tensor({1.0f, 1.0f, 1.0f}), Unit::rows);  // adds to the first
  const Tensor rows = losses.of_rows(batch);
  // 2 + 3 * 3 / 6, 3 + 3 * 3 / 6, 7 + 18 * 3 / 6
  EXPECT_TRUE(torch::allclose(rows, torch::tensor({3.5f, 4.5f, 16.0f})));
  EXPECT_FLOAT_EQ(rows.mean().item<float>(), losses.share(batch).item<float>());
  EXPECT_FALSE(rows.requires_grad());
}

TEST(Losses, ARowThatStandsInWeighsNothing) {
  data::Batch batch = three_rows();
  batch.part.counts = false;
  Losses losses(torch::tensor({1.0f, 2.0f, 6.0f}), Unit::rows);
  EXPECT_EQ(losses.share(batch).item<float>(), 0);
  EXPECT_EQ(losses.of_rows(batch).sum().item<float>(), 0);
}

TEST(Numbers, TellWhatWasReadAndMoves) {
  const data::Batch batch;
  const nn::Outputs outputs;
  Numbers numbers;
  recipe::Ramp moving, fixed(3);
  moving.from = 0;
  moving.to = 10;
  const Signals signals{batch, outputs, nullptr, {5, 10, 10}, &numbers};
  EXPECT_EQ(signals.at(fixed), 3);
  EXPECT_EQ(signals.at(moving), 5);
  EXPECT_EQ(signals.at(moving), 5);
  EXPECT_EQ(numbers.at({7, 10, 10}), (std::vector<double>{7}));
}

}  // namespace
}  // namespace compress::objective
