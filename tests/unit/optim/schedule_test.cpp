#include <cmath>

#include "helpers.h"

namespace compress::optim {
namespace {

std::vector<double> factors(const std::string& text, int64_t total, int64_t steps_per_epoch = 0) {
  auto schedule = made(schedules(), text);
  std::vector<double> list;
  for (int64_t step = 0; step < total; ++step)
    list.push_back(schedule->factor({step, total, steps_per_epoch}));
  return list;
}

void expect_near(const std::vector<double>& got, const std::vector<double>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-12) << "step " << i;
}

TEST(Schedule, LinearHasHuggingFaceNumbers) {
  // get_linear_schedule_with_warmup(num_warmup_steps=2, num_training_steps=10)
  expect_near(factors("linear: {warmup: 20%}", 10),
              {0, 0.5, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125});
  expect_near(factors("linear", 4), {1, 0.75, 0.5, 0.25});
  expect_near(factors("linear: {end_factor: 0.2}", 4), {1, 0.8, 0.6, 0.4});
  EXPECT_EQ(made(schedules(), "linear")->factor({4, 4, 0}), 0);
  EXPECT_EQ(made(schedules(), "linear")->factor({9, 4, 0}), 0) << "past the end";
}

TEST(Schedule, WarmUpThatFillsTheStage) {
  expect_near(factors("linear: {warmup: 100%}", 4), {0, 0.25, 0.5, 0.75});
  expect_near(factors("constant: {warmup: 8 steps}", 4), {0, 0.125, 0.25, 0.375});
}

TEST(Schedule, Constant) {
  expect_near(factors("constant", 3), {1, 1, 1});
  expect_near(factors("constant: {warmup: 2 steps}", 4), {0, 0.5, 1, 1});
}

TEST(Schedule, Cosine) {
  const double r = std::sqrt(0.5);
  expect_near(factors("cosine: {warmup: 1 step}", 5), {0, 1, (1 + r) / 2, 0.5, (1 - r) / 2});
  EXPECT_NEAR(made(schedules(), "cosine: {end_factor: 0.1}")->factor({8, 8, 0}), 0.1, 1e-12);
}

TEST(Schedule, CyclicLinearStartsAgain) {
  expect_near(factors("cyclic_linear: {cycle: 2 epochs}", 9, 2),
              {1, 0.75, 0.5, 0.25, 1, 0.75, 0.5, 0.25, 1});
  expect_near(factors("cyclic_linear: {cycle: 2 steps, warmup: 2 steps, end_factor: 0.5}", 6),
              {0, 0.5, 1, 0.75, 1, 0.75});
}

TEST(Schedule, CyclicLinearMayArriveInItsCycle) {
  expect_near(factors("cyclic_linear: {cycle: 5 steps, arrive: true, end_factor: 0.2}", 6),
              {1, 0.8, 0.6, 0.4, 0.2, 1});
  expect_near(factors("cyclic_linear: {cycle: 1 step, arrive: true}", 3), {1, 1, 1});
}

// Prune Once for All: 100,000 updates, a warm-up of 1,000, masks anew every 1,000 up to 50,000.
TEST(Schedule, RewoundLinearHasThePublishedNumbers) {
  auto schedule =
      made(schedules(), "rewound_linear: {every: 1000 steps, end: 50%, warmup: 1000 steps}");
  const std::vector<std::pair<int64_t, double>> expected = {
      {500, 0.5},       {1000, 1.0204},  {1999, 1.00002}, {2000, 1.0204},
      {49999, 1.00002}, {50000, 1.0204}, {75000, 0.5102}, {100000, 0}};
  for (const auto& [step, wanted] : expected)
    EXPECT_NEAR(schedule->factor({step, 100000, 0}), wanted, 5e-5) << step;
}

// Ten updates, of which those from 2 to 6 are put back every 2: six remain for the decay.
TEST(Schedule, RewoundLinearByHand) {
  expect_near(factors("rewound_linear: {every: 2 steps, begin: 2 steps, end: 6 steps}", 10),
              {1, 5. / 6, 4. / 6, 3. / 6, 4. / 6, 3. / 6, 4. / 6, 3. / 6, 2. / 6, 1. / 6});
}

TEST(Schedule, RewoundLinearThatDoesNotFitIsRefused) {
  nn::ParamTable table;
  for (const char* text : {"rewound_linear: {every: 2 steps, begin: 60%, end: 50%}",
                           "rewound_linear: {every: 2 steps, end: 12 steps}",
                           "rewound_linear: {every: 2 steps, end: 8 steps, warmup: 2 steps}"})
    EXPECT_EQ(failure([&] {
                auto schedule = made(schedules(), text);
                bind(*schedule, table, {10, 0});
              }).kind(),
              ErrorKind::recipe)
        << text;
}

TEST(Schedule, WrongOptionsAreRefused) {
  for (const char* text : {"cyclic_linear", "cyclic_linear: {cycle: 0 steps}", "rewound_linear",
                           "linear: {end_factor: 2}", "linear: {warmup: 5}", "lineal"})
    EXPECT_EQ(failure([&] { made(schedules(), text); }).kind(), ErrorKind::recipe) << text;
}

}  // namespace
}  // namespace compress::optim
