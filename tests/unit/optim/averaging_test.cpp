#include <gmock/gmock.h>

#include "helpers.h"

namespace compress::optim {
namespace {

// Trains on fixed random gradients; `each` sees the model after every update.
template <class Each>
std::vector<torch::Tensor> trained(SmallModel& model, int64_t total, Averaging* averaging,
                                   Each each) {
  auto optimizer = made(optimizers(), "adamw: {lr: 0.05}");
  bind(*optimizer, model.table);
  if (averaging != nullptr) bind(*averaging, model.table, {total, 4});
  for (int64_t step = 0; step < total; ++step) {
    model.random_gradients();
    optimizer->step(1, step);
    if (averaging != nullptr) averaging->after_update({step + 1, total, 4});
    each(model, step + 1);
  }
  return model.copies();
}

TEST(Swa, IsTheMeanOfItsSnapshotsAndDoesNotTouchTraining) {
  auto swa = made(averagings(), "swa: {start: 50%, every: 2 steps}");
  std::vector<std::vector<torch::Tensor>> snapshots;
  std::vector<torch::Tensor> live, averaged, back;
  SmallModel averaged_model;
  auto with = trained(averaged_model, 13, swa.get(), [&](SmallModel& model, int64_t step) {
    EXPECT_EQ(swa->ready(), step >= 7);  // 50% of 13 rounds to 7
    if (step >= 7 && (step - 7) % 2 == 0) snapshots.push_back(model.copies());
    if (step < 13) return;
    live = model.copies();
    nn::Parameter* matrix = model.matrix;
    const torch::Tensor alias = matrix->effective;
    swa->swap();
    averaged = model.copies();
    EXPECT_TRUE(torch::equal(alias, matrix->latent)) << "the effective weight follows";
    EXPECT_TRUE(matrix->latent.requires_grad());
    EXPECT_TRUE(matrix->latent.is_leaf());
    swa->swap();
    back = model.copies();
  });
  ASSERT_EQ(snapshots.size(), 4u);  // floor((13 - 7) / 2) + 1
  EXPECT_EQ(swa->state().at("count").item<int64_t>(), 4);
  EXPECT_EQ(swa->starts_at(), 7);
  for (size_t i = 0; i < averaged.size(); ++i) {
    torch::Tensor mean = torch::zeros_like(averaged[i], torch::kDouble);
    for (const auto& snapshot : snapshots) mean += snapshot[i].to(torch::kDouble) / 4;
    EXPECT_LT(furthest(averaged[i], mean), 1e-6);
    EXPECT_TRUE(torch::equal(live[i], back[i]));
  }
  SmallModel plain;
  auto without = trained(plain, 13, nullptr, [](SmallModel&, int64_t) {});
  for (size_t i = 0; i < with.size(); ++i) EXPECT_TRUE(torch::equal(with[i], without[i]));
}

TEST(Swa, TrainingGoesOnAfterAnExchange) {
  // An evaluation of the averaged weights in the middle changes nothing.
  auto swa = made(averagings(), "swa: {start: 1 step}");
  SmallModel averaged_model;
  auto with = trained(averaged_model, 6, swa.get(), [&](SmallModel&, int64_t step) {
    if (step != 3) return;
    swa->swap();
    swa->swap();
  });
  SmallModel plain;
  auto without = trained(plain, 6, nullptr, [](SmallModel&, int64_t) {});
  for (size_t i = 0; i < with.size(); ++i) EXPECT_TRUE(torch::equal(with[i], without[i]));
}

TEST(Swa, CountsSnapshotsInEpochs) {
  auto swa = made(averagings(), "swa: {start: 1 epoch, every: 1 epoch}");
  SmallModel model;
  trained(model, 13, swa.get(), [](SmallModel&, int64_t) {});
  EXPECT_EQ(swa->starts_at(), 4);
  EXPECT_EQ(swa->state().at("count").item<int64_t>(), 3);  // 4, 8, 12
}

// Lu et al.'s algorithm 1: W^ 4, then 8, 12, ... after the updates; K = 2. Of six updates the
// models are W^ and those after 2, 4 and 6 of them, or after `start` and each two behind it.
TEST(Swa, TheStartWeightsAreTheFirstModelWhereAskedFor) {
  auto mean = [](const std::string& text) {
    nn::ParamTable table;
    nn::Parameter& w = table.add("w", nn::Role::query, 0, torch::full({1, 1}, 4.0));
    auto swa = made(averagings(), text);
    bind(*swa, table, {6, 0});
    for (int64_t step = 0; step < 6; ++step) {
      EXPECT_FALSE(swa->before_update({step, 6, 0}));
      {
        torch::NoGradGuard no_grad;
        w.latent.add_(4);
      }
      swa->after_update({step + 1, 6, 0});
    }
    return std::pair(swa->state().at("average.w").item<double>(),
                     swa->state().at("count").item<int64_t>());
  };
  using Found = std::pair<double, int64_t>;
  EXPECT_EQ(mean("swa: {start: 0%, every: 2 steps, lr: 1, start_weights: true}"), Found(16, 4));
  EXPECT_EQ(mean("swa: {start: 2 steps, every: 2 steps, start_weights: true}"), Found(20, 3));
  EXPECT_EQ(mean("swa: {start: 2 steps, every: 2 steps}"), Found(20, 3));
  EXPECT_EQ(mean("swa: {start: 2 steps, every: 2 steps, start_weights: false}"), Found(24, 2));
  EXPECT_EQ(mean("swa: {start: 0%, every: 2 steps, lr: 1, start_weights: false}"), Found(20, 3));
  EXPECT_EQ(mean("swa: {start: 0%, every: 2 steps}"), Found(16, 3)) << "8, 16, 24";
}

// Noise on the gradient of a quadratic, at a constant rate: the iterates circle the minimum, their
// mean lies inside.
TEST(Swa, TheMeanOfNoisyIteratesHasASmallerLossThanTheyHave) {
  nn::ParamTable table;
  nn::Parameter& w = table.add("w", nn::Role::query, 0, torch::full({4, 5}, 3.0));
  auto optimizer = made(optimizers(), "sgd: {lr: 0.3, weight_decay: 0}");
  auto swa = made(averagings(), "swa: {start: 50%}");
  bind(*optimizer, table);
  constexpr int64_t total = 200;
  bind(*swa, table, {total, 0});
  auto loss = [&] { return w.latent.detach().square().sum().item<double>() / 2; };
  torch::manual_seed(4);
  double iterates = 0;
  for (int64_t step = 0; step < total; ++step) {
    w.latent.mutable_grad() = w.latent.detach() + torch::randn({4, 5});
    optimizer->step(1, step);
    swa->after_update({step + 1, total, 0});
    if (step + 1 >= total / 2) iterates += loss() / (total / 2 + 1);
  }
  swa->swap();
  EXPECT_LT(loss(), iterates / 4);
}

TEST(Swa, TheRateIsHeldFromTheStart) {
  const auto schedule = made(schedules(), "linear: {warmup: 20%}");
  auto rates = [&](const char* text) {
    nn::ParamTable table;
    table.add("w", nn::Role::query, 0, torch::ones({1, 1}));
    auto swa = made(averagings(), text);
    bind(*swa, table, {10, 0});
    std::vector<double> list;
    for (int64_t step : {0, 1, 2, 5, 6, 9})
      list.push_back(0.1 * rate_factor(*schedule, swa.get(), 0.1, {step, 10, 0}));
    return list;
  };
  using testing::DoubleNear;
  using testing::ElementsAre;
  auto near = [](double value) { return DoubleNear(value, 1e-12); };
  EXPECT_THAT(rates("swa: {start: 60%}"),
              ElementsAre(near(0), near(0.05), near(0.1), near(0.0625), near(0.05), near(0.05)));
  EXPECT_THAT(rates("swa: {start: 60%, lr: 0.3}"),
              ElementsAre(near(0), near(0.05), near(0.1), near(0.0625), near(0.3), near(0.3)));
}

TEST(Swa, UpdatesAllocateNothing) {
  nn::ParamTable table;
  nn::Parameter& w = table.add("w", nn::Role::query, 0, torch::ones({2, 2}));
  auto swa = made(averagings(), "swa: {start: 0%}");
  bind(*swa, table, {10, 0});
  swa->after_update({1, 10, 0});
  void* memory = swa->state().at("average.w").data_ptr();
  void* own = w.latent.data_ptr();
  swa->after_update({2, 10, 0});
  EXPECT_EQ(swa->state().at("average.w").data_ptr(), memory);
  swa->swap();
  EXPECT_EQ(w.latent.data_ptr(), memory) << "memory changes hands";
  swa->swap();
  EXPECT_EQ(w.latent.data_ptr(), own);
}

TEST(Ema, ByHand) {
  nn::ParamTable table;
  nn::Parameter& w = table.add("w", nn::Role::query, 0, torch::full({1, 1}, 4.0));
  auto ema = made(averagings(), "ema: {decay: 0.75}");
  bind(*ema, table, {10, 0});
  EXPECT_EQ(ema->starts_at(), 1);
  for (int step = 1; step <= 3; ++step) {
    ema->after_update({step, 10, 0});
    torch::NoGradGuard no_grad;
    w.latent.add_(4);
  }
  // 4; 0.75 * 4 + 0.25 * 8 = 5; 0.75 * 5 + 0.25 * 12 = 6.75
  EXPECT_NEAR(ema->state().at("average.w").item<double>(), 6.75, 1e-6);
}

TEST(Averaging, ResumesExactly) {
  for (const char* text : {"swa: {start: 2 steps}", "ema: {decay: 0.9}"}) {
    auto straight = made(averagings(), text);
    SmallModel first;
    trained(first, 8, straight.get(), [](SmallModel&, int64_t) {});
    auto resumed = made(averagings(), text);
    SmallModel second;
    trained(second, 8, resumed.get(), [&](SmallModel& model, int64_t step) {
      if (step != 5) return;
      nn::TensorMap kept;
      for (const auto& [name, tensor] : resumed->state()) kept[name] = tensor.clone();
      bind(*resumed, model.table, {8, 4});
      EXPECT_FALSE(resumed->ready());
      resumed->load_state(kept);
    });
    auto a = straight->state(), b = resumed->state();
    ASSERT_EQ(a.size(), 5u);
    for (const auto& [name, tensor] : a) EXPECT_TRUE(torch::equal(tensor, b.at(name))) << name;
  }
}

TEST(Averaging, WrongUseAndOptions) {
  SmallModel model;
  auto swa = made(averagings(), "swa: {lr: 2e-5}");
  EXPECT_EQ(swa->constant_rate(), 2e-5);
  EXPECT_EQ(made(averagings(), "swa")->constant_rate(), std::nullopt);
  EXPECT_EQ(
      failure([&] {
        bind(*made(averagings(), "swa: {start: 0%, start_weights: true}"), model.table, {2, 0});
      }).kind(),
      ErrorKind::recipe)
      << "a schedule may begin with a rate of 0";
  for (const char* text : {"swa: {start: 3 steps}", "ema: {start: 3 steps}",
                           "swa: {start: 1 step, every: 2 steps, start_weights: false}"})
    EXPECT_EQ(failure([&] {
                bind(*made(averagings(), text), model.table, {2, 0});
              }).kind(),
              ErrorKind::recipe)
        << text << " averages nothing";
  bind(*swa, model.table, {2, 0});
  EXPECT_EQ(swa->state().size(), 1u) << "no tensors before the first snapshot";
  EXPECT_EQ(failure([&] { swa->swap(); }).kind(), ErrorKind::internal);
  EXPECT_EQ(failure([&] { swa->load_state({}); }).kind(), ErrorKind::model);
  swa->after_update({1, 2, 0});
  swa->swap();
  EXPECT_EQ(failure([&] { swa->after_update({2, 2, 0}); }).kind(), ErrorKind::internal);
  EXPECT_EQ(failure([&] { swa->state(); }).kind(), ErrorKind::internal);
  for (const char* text :
       {"swa: {start: 120%}", "swa: {every: 0 steps}", "swa: {lr: 0}", "ema: {decay: 1}"})
    EXPECT_EQ(failure([&] { made(averagings(), text); }).kind(), ErrorKind::recipe) << text;
}

}  // namespace
}  // namespace compress::optim
