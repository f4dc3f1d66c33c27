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

TEST(Schedule, WrongOptionsAreRefused) {
  for (const char* text : {"cyclic_linear", "cyclic_linear: {cycle: 0 steps}",
                           "linear: {end_factor: 2}", "linear: {warmup: 5}", "lineal"})
    EXPECT_EQ(failure([&] { made(schedules(), text); }).kind(), ErrorKind::recipe) << text;
}

}  // namespace
}  // namespace compress::optim
