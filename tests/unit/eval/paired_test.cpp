// Tests on paired differences: the arithmetic by hand, and how often their intervals are right.

#include "compress/eval/paired.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "compress/base/error.h"
#include "compress/base/random.h"

namespace compress::eval {
namespace {

constexpr double infinite = std::numeric_limits<double>::infinity();

// Published tables of Student's t (two-sided 5% and 1%), and closed forms for 1 and 2 degrees.
TEST(Student, QuantilesAreThoseOfTheTables) {
  EXPECT_NEAR(t_quantile(0.975, 1), std::tan(M_PI * 0.475), 1e-9);
  EXPECT_NEAR(t_quantile(0.975, 2), 0.95 / std::sqrt(2 * 0.975 * 0.025), 1e-9);
  EXPECT_NEAR(t_quantile(0.975, 4), 2.776, 5e-4);
  EXPECT_NEAR(t_quantile(0.995, 10), 3.169, 5e-4);
  EXPECT_NEAR(t_quantile(0.975, 1000), 1.962, 5e-4);
  EXPECT_NEAR(t_quantile(0.975, infinite), 1.959963985, 1e-8);
  EXPECT_NEAR(t_quantile(0.025, 7), -t_quantile(0.975, 7), 1e-12);
  EXPECT_EQ(t_quantile(0.5, 3), 0);
  for (double degrees : {0.7, 1.0, 2.5, 30.0, 5000.0})
    for (double p : {0.51, 0.8, 0.99, 0.99995})
      EXPECT_NEAR(t_below(t_quantile(p, degrees), degrees), p, 1e-10) << degrees << " " << p;
}

// Seeds' means 0.75 and 0, variance 0.28125; examples' means 0.5, 0.5, 0.5, 0 with variance 0.0625;
// the rest is (1, 1, 1, -3) / 8 and its negative: squares 24 / 64 over 3.
TEST(Paired, ByHand) {
  const PairedTest test = paired_test({{1, 1, 1, 0}, {0, 0, 0, 0}}, 0.05);
  EXPECT_NEAR(test.difference, 0.375, 1e-12);
  const double a = 0.28125 / 2, b = 0.0625 / 4, rest = 0.375 / 3 / 8, v = a - rest + b;
  EXPECT_NEAR(test.error, std::sqrt(v), 1e-12);
  const double degrees = v * v / (a * a / 1 + b * b / 3 + rest * rest / 3);
  EXPECT_NEAR(test.degrees, degrees, 1e-12);
  EXPECT_NEAR(test.high - test.difference, t_quantile(0.975, degrees) * test.error, 1e-9);
  EXPECT_NEAR(test.visible, (t_quantile(0.975, degrees) + t_quantile(0.8, degrees)) * test.error,
              1e-9);
  // Seeds that differ by no more than the rest makes them count for nothing.
  const PairedTest mixed = paired_test({{1, 1, 0, 0}, {0, 0, 1, 0}}, 0.05);
  EXPECT_NEAR(mixed.error, std::sqrt(0.0625 / 4), 1e-12);
  EXPECT_NEAR(mixed.degrees, 3, 1e-12);
  const PairedTest one = paired_test({{1, 1, 0, 0}}, 0.05);  // the examples alone
  EXPECT_NEAR(one.error, std::sqrt((1.0 / 3) / 4), 1e-12);
  EXPECT_NEAR(one.degrees, 3, 1e-12);
  EXPECT_EQ(text_of(paired_test({{1, 0, 1, 0}, {1, 0, 1, 0}}, 0.05)).substr(0, 8), "+0.5000 ");
}

TEST(Paired, VerdictsFollowTheInterval) {
  PairedTest test;
  test.low = 0.01, test.high = 0.03;
  EXPECT_EQ(above(test, 0), Verdict::held);
  EXPECT_EQ(above(test, 0.02), Verdict::undecided);
  EXPECT_EQ(above(test, 0.04), Verdict::missed);
  EXPECT_STREQ(verdict_name(Verdict::missed), "MISSED");
  // Two models that say the same of everything: nothing was seen to differ.
  const PairedTest same = paired_test({{0, 0, 0}, {0, 0, 0}}, 0.05);
  EXPECT_EQ(above(same, 0), Verdict::undecided);
  EXPECT_EQ(above(same, -0.01), Verdict::held);
}

TEST(Paired, WhatCannotBeComparedIsRefused) {
  EXPECT_THROW(paired_test({}, 0.05), Error);
  EXPECT_THROW(paired_test({{1}}, 0.05), Error);
  EXPECT_THROW(paired_test({{1, 0}, {1, 0, 0}}, 0.05), Error);
}

// Binomial sums by hand.
TEST(McNemar, IsExact) {
  EXPECT_NEAR(mcnemar(0, 5), 2 / 32.0, 1e-12);
  EXPECT_NEAR(mcnemar(1, 5), 2 * (1 + 6) / 64.0, 1e-12);
  EXPECT_NEAR(mcnemar(3, 3), 1, 1e-12);
  EXPECT_NEAR(mcnemar(0, 0), 1, 1e-12);
  EXPECT_NEAR(mcnemar(2, 8), mcnemar(8, 2), 1e-12);
}

TEST(Bootstrap, IsNearTheIntervalOfTheTest) {
  Random random(3);
  Differences differences(1);
  for (int i = 0; i < 2000; ++i) differences[0].push_back(random.uniform() < 0.6 ? 1 : 0);
  const PairedTest test = paired_test(differences, 0.05);
  const auto [low, high] = bootstrap(differences, 0.05, 2000, 1);
  EXPECT_NEAR(low, test.low, 0.002);
  EXPECT_NEAR(high, test.high, 0.002);
  EXPECT_EQ(bootstrap(differences, 0.05, 50, 1), bootstrap(differences, 0.05, 50, 1));
}

// One comparison of two classifiers as they are met: about 10% of the examples tell them apart, an
// example's leaning is its own, and each seed moves the difference. Its mean over seeds and
// examples is `difference`.
Differences drawn(int seeds, int examples, double difference, double seed_spread, Random& random) {
  std::vector<double> leaning;
  for (int i = 0; i < examples; ++i) leaning.push_back((random.uniform() - 0.5) * 0.1);
  Differences all;
  for (int s = 0; s < seeds; ++s) {
    // A sum of uniform draws: nearly normal.
    double shift = 0;
    for (int k = 0; k < 12; ++k) shift += random.uniform() - 0.5;
    shift = difference + shift * seed_spread;
    std::vector<double>& of_seed = all.emplace_back();
    for (int i = 0; i < examples; ++i) {
      const double up = 0.06 + (shift + leaning[static_cast<size_t>(i)]) / 2,
                   down = 0.06 - (shift + leaning[static_cast<size_t>(i)]) / 2,
                   draw = random.uniform();
      of_seed.push_back(draw < up ? 1 : draw < up + down ? -1 : 0);
    }
  }
  return all;
}

class Coverage : public testing::TestWithParam<std::pair<int, int>> {};

// 2,000 comparisons: the interval holds the true difference in 93 to 97% of them, and a difference
// of zero is called one in at most 3.5%.
TEST_P(Coverage, IsWhatItSays) {
  const auto [seeds, examples] = GetParam();
  // With one seed the interval is about that seed's models alone.
  const double spread = seeds > 1 ? 0.004 : 0;
  constexpr int draws = 2000;
  Random random(static_cast<uint64_t>(seeds * 100000 + examples));
  int inside = 0, called = 0, seen = 0;
  for (int draw = 0; draw < draws; ++draw) {
    const PairedTest test = paired_test(drawn(seeds, examples, 0, spread, random), 0.05);
    inside += test.low <= 0 && test.high >= 0 ? 1 : 0;
    called += above(test, 0) == Verdict::held ? 1 : 0;
    if (draw < 400) {  // 80% power at the difference that is said to be visible
      const double visible = test.visible;
      if (visible < 0.05)
        seen += above(paired_test(drawn(seeds, examples, visible, spread, random), 0.05), 0) ==
                        Verdict::held
                    ? 1
                    : 0;
    }
  }
  EXPECT_GE(inside, draws * 0.93);
  EXPECT_LE(inside, draws * 0.97);
  EXPECT_LE(called, draws * 0.035);
  // The spread of three seeds is known too roughly for that.
  if (examples > 2000 && seeds != 3) {
    EXPECT_GT(seen, 400 * 0.7);
    EXPECT_LT(seen, 400 * 0.9);
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, Coverage,
                         testing::Values(std::pair(1, 500), std::pair(1, 4000), std::pair(3, 500),
                                         std::pair(3, 4000), std::pair(5, 500), std::pair(5, 4000)),
                         [](const auto& info) {
                           return std::to_string(info.param.first) + "SeedsOf" +
                                  std::to_string(info.param.second);
                         });

}  // namespace
}  // namespace compress::eval
