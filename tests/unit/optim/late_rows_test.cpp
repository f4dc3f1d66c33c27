// Rows that wait for their updates end with the bits that updating all rows every time gives.

#include <gmock/gmock.h>

#include "helpers.h"

namespace compress::optim {
namespace {

constexpr int64_t rows = 40, width = 70, updates = 60;

// One embedding, trained on gradients in a few rows of each update.
struct Embedding {
  nn::ParamTable table;
  nn::Parameter* words;
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<Averaging> averaging;

  // `late`: gradients exist in touched rows only, so the optimizer may leave the others behind.
  Embedding(bool late, const std::string& options, const std::string& average) {
    torch::manual_seed(3);
    words = &table.add("words.weight", nn::Role::embedding, -1, torch::randn({rows, width}));
    words->row_gradient = late;
    optimizer = made(optimizers(), options);
    bind(*optimizer, table);
    EXPECT_EQ(words->late != nullptr, late);
    if (average.empty()) return;
    averaging = made(averagings(), average);
    bind(*averaging, table, {updates, 10});
    if (late) averaging->leave(optimizer->follow(*averaging->snapshots(), true));
  }

  void update(int64_t step) {
    if (averaging) averaging->before_update({step, updates, 10});
    torch::manual_seed(100 + static_cast<uint64_t>(step));
    // Row 0 in every update, one in ten of the first 30 now and then, the last ten never.
    torch::Tensor ids =
        torch::cat({torch::zeros({1}, torch::kLong), torch::randint(1, 30, {3}, torch::kLong)});
    torch::Tensor gradient = torch::zeros({rows, width});
    gradient.index_add_(0, ids, torch::randn({4, width}));
    if (words->late != nullptr) words->late->settle(ids);  // what a forward pass reads
    words->latent.mutable_grad() = gradient;
    words->touched = {ids};
    optimizer->step(1 - 0.01 * static_cast<double>(step), step);
    if (averaging) averaging->after_update({step + 1, updates, 10});
    words->touched.clear();
  }
};

void expect_equal_after(const std::string& options, const std::string& average) {
  Embedding late(true, options, average), dense(false, options, average);
  for (int64_t step = 0; step < updates; ++step) {
    late.update(step);
    dense.update(step);
    if (step == 33) late.optimizer->settle();  // as an evaluation does
  }
  EXPECT_FALSE(torch::equal(late.words->latent, dense.words->latent)) << "some rows wait";
  late.optimizer->settle();
  EXPECT_TRUE(torch::equal(late.words->latent, dense.words->latent));
  for (size_t i = 0; i < 2; ++i)
    EXPECT_TRUE(torch::equal(late.optimizer->moments(*late.words)[i],
                             dense.optimizer->moments(*dense.words)[i]));
  if (average.empty()) return;
  late.averaging->swap();
  dense.averaging->swap();
  EXPECT_LT(furthest(late.words->latent, dense.words->latent), 2e-6);
  late.averaging->swap();
}

TEST(LateRows, EqualUpdatingAllRows) {
  expect_equal_after("adamw: {lr: 0.01}", "");
}

TEST(LateRows, EqualUpdatingAllRowsWithoutDecay) {
  // Rows that were never read do not change: then nothing waits but what was read.
  expect_equal_after("adamw: {lr: 0.01, weight_decay: 0}", "");
}

TEST(LateRows, AveragesFollow) {
  expect_equal_after("adamw: {lr: 0.01}", "swa: {start: 30%}");
  expect_equal_after("adamw: {lr: 0.01}", "swa: {start: 10 steps, every: 7 steps}");
  expect_equal_after("adamw: {lr: 0.01}",
                     "swa: {start: 0%, every: 3 steps, lr: 0.01, start_weights: true}");
  expect_equal_after("adamw: {lr: 0.01}", "ema: {decay: 0.9, start: 5 steps}");
}

TEST(LateRows, ALongWaitIsCaughtUp) {
  Embedding late(true, "adamw: {lr: 0.001}", ""), dense(false, "adamw: {lr: 0.001}", "");
  for (int64_t step = 0; step < 3000; ++step) {
    for (Embedding* one : {&late, &dense}) {
      torch::Tensor ids = torch::tensor({step < 5 ? step : int64_t{0}});
      if (one->words->late != nullptr) one->words->late->settle(ids);
      torch::Tensor gradient = torch::zeros({rows, width});
      gradient[ids.item<int64_t>()].fill_(0.5);
      one->words->latent.mutable_grad() = gradient;
      one->words->touched = {ids};
      one->optimizer->step(1, step);
      one->words->touched.clear();
    }
  }
  late.optimizer->settle();
  EXPECT_TRUE(torch::equal(late.words->latent, dense.words->latent));
}

TEST(LateRows, ResumeExactly) {
  Embedding through(true, "adamw: {lr: 0.01}", "");
  for (int64_t step = 0; step < updates; ++step) through.update(step);
  through.optimizer->settle();

  Embedding first(true, "adamw: {lr: 0.01}", "");
  for (int64_t step = 0; step < 25; ++step) first.update(step);
  first.optimizer->settle();
  Embedding second(true, "adamw: {lr: 0.01}", "");
  {
    torch::NoGradGuard no_grad;
    second.words->latent.copy_(first.words->latent);
  }
  second.optimizer->load_state(first.optimizer->state());
  for (int64_t step = 25; step < updates; ++step) second.update(step);
  second.optimizer->settle();
  EXPECT_TRUE(torch::equal(through.words->latent, second.words->latent));
}

TEST(LateRows, TheOptimizerLeavesNothingBehindWhenItGoes) {
  Embedding dense(false, "adamw: {lr: 0.01}", "");
  Embedding late(true, "adamw: {lr: 0.01}", "");
  for (int64_t step = 0; step < 9; ++step) {
    late.update(step);
    dense.update(step);
  }
  late.optimizer.reset();
  EXPECT_EQ(late.words->late, nullptr);
  EXPECT_TRUE(torch::equal(late.words->latent, dense.words->latent));
}

TEST(AdamW, KeepsTheAverageOfDenseWeights) {
  // The optimizer's own pass and the average's lerp agree but for the last bit.
  auto run = [](bool followed) {
    SmallModel model;
    auto optimizer = made(optimizers(), "adamw: {lr: 0.05}");
    auto swa = made(averagings(), "swa: {start: 3 steps}");
    bind(*optimizer, model.table);
    bind(*swa, model.table, {20, 4});
    if (followed) {
      auto taken = optimizer->follow(*swa->snapshots(), false);
      EXPECT_EQ(taken.size(), model.all().size());
      swa->leave(taken);
    }
    for (int64_t step = 0; step < 20; ++step) {
      model.random_gradients();
      optimizer->step(1, step);
      swa->after_update({step + 1, 20, 4});
    }
    optimizer->settle();
    swa->swap();
    return model.copies();
  };
  auto own = run(false), taken = run(true);
  for (size_t i = 0; i < own.size(); ++i) EXPECT_LT(furthest(own[i], taken[i]), 1e-6);
}

// A head that no objective reads has no gradient, and stays in the average what it is.
TEST(AdamW, AveragesWeightsWithoutAGradient) {
  for (const char* average : {"swa: {start: 1 step}", "ema: {decay: 0.5, start: 2 steps}"}) {
    SmallModel model;
    const torch::Tensor bias = model.bias->latent.detach().clone();
    auto optimizer = made(optimizers(), "adamw: {lr: 0.05}");
    auto averaging = made(averagings(), average);
    bind(*optimizer, model.table);
    bind(*averaging, model.table, {6, 3});
    averaging->leave(optimizer->follow(*averaging->snapshots(), false));
    for (int64_t step = 0; step < 6; ++step) {
      model.random_gradients();
      model.bias->latent.mutable_grad().reset();
      optimizer->step(1, step);
      averaging->after_update({step + 1, 6, 3});
    }
    averaging->swap();
    EXPECT_LT(furthest(model.bias->latent, bias), 1e-6) << average;
    EXPECT_GT(model.matrix->latent.abs().min().item<float>(), 0);
    averaging->swap();
  }
}

// Projections and other helpers are trained, but not averaged.
TEST(AdamW, FollowsOnlyWhatIsAveraged) {
  SmallModel model;
  nn::ParamTable helpers;
  helpers.add("projection.weight", nn::Role::other, -1, torch::randn({3, 4}));
  auto optimizer = made(optimizers(), "adamw: {lr: 0.05}");
  auto swa = made(averagings(), "swa: {start: 1 step}");
  const nn::ModelConfig none;
  optimizer->bind({.student = none, .weights = model.table, .helpers = helpers});
  bind(*swa, model.table, {4, 2});
  auto taken = optimizer->follow(*swa->snapshots(), false);
  EXPECT_EQ(taken.size(), model.all().size());
  swa->leave(taken);
  for (int64_t step = 0; step < 4; ++step) {
    model.random_gradients();
    helpers.list().front().latent.mutable_grad() = torch::ones({3, 4});
    optimizer->step(1, step);
    swa->after_update({step + 1, 4, 2});
  }
  EXPECT_TRUE(swa->ready());
}

TEST(LateRows, RefuseRowsThatAreNotThere) {
  Embedding late(true, "adamw: {lr: 0.01}", "");
  late.update(0);
  for (int64_t id : {int64_t{-1}, rows})
    EXPECT_EQ(failure([&] { late.words->late->settle(torch::tensor({id})); }).kind(),
              ErrorKind::data);
}

}  // namespace
}  // namespace compress::optim
