// `adamw: {rows: lazy}`: rows without a gradient stay to the bit.

#include <gmock/gmock.h>

#include "helpers.h"

namespace compress::optim {
namespace {

using torch::Tensor;

struct Table {
  nn::ParamTable table;
  nn::Parameter* words;
  std::unique_ptr<Optimizer> optimizer;

  explicit Table(const std::string& options) {
    torch::manual_seed(3);
    words = &table.add("words.weight", nn::Role::embedding, -1, torch::randn({6, 70}));
    words->row_gradient = true;
    optimizer = made(optimizers(), options);
    bind(*optimizer, table);
  }
  void update(int64_t step, const std::vector<int64_t>& ids, double value = 1) {
    Tensor gradient = torch::zeros({6, 70});
    gradient.index_fill_(0, torch::tensor(ids), value);
    if (words->late != nullptr) words->late->settle(torch::tensor(ids));
    words->latent.mutable_grad() = gradient;
    words->touched = {torch::tensor(ids)};
    optimizer->step(1, step);
    words->touched.clear();
  }
  Tensor weights() const { return words->latent.detach().clone(); }
};

TEST(LazyRows, EqualAdamWWhereEveryRowIsRead) {
  Table lazy("adamw: {lr: 0.01, rows: lazy}"), exact("adamw: {lr: 0.01}");
  EXPECT_EQ(lazy.words->late, nullptr);
  for (int64_t step = 0; step < 20; ++step)
    for (Table* each : {&lazy, &exact})
      each->update(step, {0, 1, 2, 3, 4, 5}, std::cos(static_cast<double>(step)));
  exact.optimizer->settle();
  EXPECT_TRUE(torch::equal(lazy.weights(), exact.weights()));
  for (size_t i = 0; i < 2; ++i)
    EXPECT_TRUE(torch::equal(lazy.optimizer->moments(*lazy.words)[i],
                             exact.optimizer->moments(*exact.words)[i]));
}

TEST(LazyRows, RowsThatAreNotReadStay) {
  Table lazy("adamw: {lr: 0.01, rows: lazy}");
  const Tensor start = lazy.weights();
  lazy.update(0, {1, 2});
  const Tensor once = lazy.weights();
  const std::vector<Tensor> moments = lazy.optimizer->moments(*lazy.words);
  const Tensor mean = moments[0].clone();
  lazy.update(1, {2, 4});
  lazy.update(2, {4, 4});
  lazy.optimizer->settle();
  const Tensor end = lazy.weights();
  for (const int64_t row : {0, 3, 5}) EXPECT_TRUE(torch::equal(end[row], start[row])) << row;
  EXPECT_TRUE(torch::equal(end[1], once[1]));
  EXPECT_TRUE(torch::equal(moments[0][1], mean[1]));
  EXPECT_FALSE(torch::equal(once[1], start[1]));
}

// A row that is read in the updates 1 and 3: its moments age twice, the correction counts all.
TEST(LazyRows, ByHand) {
  Table lazy("adamw: {lr: 0.1, weight_decay: 0.5, rows: lazy}");
  const double start = lazy.weights()[2][7].item<double>();
  lazy.update(0, {2}, 1);
  lazy.update(1, {3}, 1);
  lazy.update(2, {2}, 2);
  double w = start, m = 0, v = 0;
  for (const auto& [t, g] : {std::pair{1, 1.0}, {3, 2.0}}) {
    w -= 0.1 * 0.5 * w;
    m = 0.9 * m + 0.1 * g;
    v = 0.999 * v + 0.001 * g * g;
    w -= 0.1 * (m / (1 - std::pow(0.9, t))) / (std::sqrt(v / (1 - std::pow(0.999, t))) + 1e-8);
  }
  EXPECT_NEAR(lazy.weights()[2][7].item<double>(), w, 1e-6);
}

// Both moments of a row lie together, the first one in front; rows that were never read are zeros.
TEST(LazyRows, KeepBothMomentsOfARowTogether) {
  Table lazy("adamw: {lr: 0.1, rows: lazy}");
  lazy.update(0, {2}, 3);
  const Tensor both = lazy.optimizer->state().at("moments.words.weight");
  ASSERT_EQ(both.sizes(), (std::vector<int64_t>{6, 2, 70}));
  EXPECT_TRUE(both.is_contiguous());
  EXPECT_FLOAT_EQ(both[2][0][69].item<float>(), 0.1f * 3);
  EXPECT_FLOAT_EQ(both[2][1][69].item<float>(), 0.001f * 9);
  EXPECT_EQ(both.count_nonzero().item<int64_t>(), 2 * 70);
}

TEST(LazyRows, GoOnFromASavedState) {
  const std::string options = "adamw: {lr: 0.01, rows: lazy}";
  Table whole(options), first(options), second(options);
  for (int64_t step = 0; step < 6; ++step) whole.update(step, {step, 2});
  for (int64_t step = 0; step < 3; ++step) first.update(step, {step, 2});
  second.optimizer->load_state(first.optimizer->state());
  second.words->latent.detach().copy_(first.words->latent.detach());
  for (int64_t step = 3; step < 6; ++step) second.update(step, {step, 2});
  EXPECT_TRUE(torch::equal(whole.weights(), second.weights()));
}

}  // namespace
}  // namespace compress::optim
