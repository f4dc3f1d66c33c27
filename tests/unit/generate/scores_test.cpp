// What is done to scores, value by value.

#include "../../../src/generate/scores.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "compress/base/error.h"
#include "compress/base/random.h"

namespace compress::generate {

namespace {

constexpr float never = -std::numeric_limits<float>::infinity();
using testing::ElementsAre;

std::vector<float> logarithms(std::vector<double> probabilities) {
  std::vector<float> scores;
  for (double p : probabilities) scores.push_back(static_cast<float>(std::log(p)));
  return scores;
}

std::vector<int64_t> kept(const std::vector<float>& scores) {
  std::vector<int64_t> found;
  for (size_t i = 0; i < scores.size(); ++i)
    if (scores[i] > never) found.push_back(static_cast<int64_t>(i));
  return found;
}

}  // namespace

TEST(Scores, RepetitionIsPenalizedOnceOnEitherSideOfZero) {
  std::vector<float> scores = {3, -2, 0, 1, -4};
  penalize_repetition(scores, std::vector<int64_t>{1, 0, 1, 2, 99}, 2);
  EXPECT_THAT(scores, ElementsAre(1.5F, -4, 0, 1, -4));
}

TEST(Scores, NgramsThatWereThereAreBanned) {
  const std::vector<int64_t> history = {1, 2, 3, 1, 2, 4, 1, 2};
  std::vector<float> scores(6, 0.F);
  ban_repeated_ngrams(scores, history, 3);
  EXPECT_THAT(kept(scores), ElementsAre(0, 1, 2, 5));  // 1 2 3 and 1 2 4 were there
  scores.assign(6, 0.F);
  ban_repeated_ngrams(scores, history, 2);
  EXPECT_THAT(kept(scores), ElementsAre(0, 1, 2, 5));
  scores.assign(6, 0.F);
  ban_repeated_ngrams(scores, history, 1);
  EXPECT_THAT(kept(scores), ElementsAre(0, 5));
  scores.assign(6, 0.F);
  ban_repeated_ngrams(scores, history, 8);  // one there, none with this beginning
  ban_repeated_ngrams(scores, history, 9);
  EXPECT_EQ(kept(scores).size(), 6U);
}

TEST(Scores, AnNgramMayOverlapItself) {
  std::vector<float> scores(3, 0.F);
  ban_repeated_ngrams(scores, std::vector<int64_t>{0, 2, 2, 2}, 3);
  EXPECT_THAT(kept(scores), ElementsAre(0, 1));
}

TEST(Scores, TopKKeepsTies) {
  std::vector<float> scores = {1, 5, 3, 3, 2, never};
  keep_top_k(scores, 2);
  EXPECT_THAT(kept(scores), ElementsAre(1, 2, 3));
  scores = {1, 5, 3, 3, 2, never};
  keep_top_k(scores, 100);
  EXPECT_EQ(kept(scores).size(), 5U);
  keep_top_k(scores, 1);
  EXPECT_THAT(kept(scores), ElementsAre(1));
}

TEST(Scores, TopPKeepsTheFewestThatSuffice) {
  const std::vector<float> scores = logarithms({0.05, 0.5, 0.15, 0.3});
  for (const auto& [p, expected] :
       std::vector<std::pair<double, std::vector<int64_t>>>{{0.0, {1}},
                                                            {0.49, {1}},
                                                            {0.51, {1, 3}},
                                                            {0.79, {1, 3}},
                                                            {0.81, {1, 2, 3}},
                                                            {0.96, {0, 1, 2, 3}}}) {
    std::vector<float> cut = scores;
    keep_top_p(cut, p);
    EXPECT_EQ(kept(cut), expected) << p;
  }
}

TEST(Scores, TopPCountsWhatTopKLeft) {
  std::vector<float> scores = logarithms({0.1, 0.4, 0.3, 0.2});
  keep_top_k(scores, 2);  // 0.4 and 0.3: 0.571 and 0.429
  keep_top_p(scores, 0.56);
  EXPECT_THAT(kept(scores), ElementsAre(1));
}

TEST(Scores, TopPTakesHigherIdsOfEqualOnesFirst) {
  std::vector<float> scores(4, 0.F);
  keep_top_p(scores, 0.3);
  EXPECT_THAT(kept(scores), ElementsAre(2, 3));
}

TEST(Scores, AreProcessedInOrder) {
  Options options;
  options.max_new_tokens = 3;
  options.min_new_tokens = 1;
  options.eos = {0, 4};
  options.forced_eos = {0};
  std::vector<float> scores(5, 1.F);
  process(scores, std::vector<int64_t>{3}, 0, options);
  EXPECT_THAT(kept(scores), ElementsAre(1, 2, 3));
  scores.assign(5, 1.F);
  process(scores, std::vector<int64_t>{3, 1, 1}, 2, options);
  EXPECT_THAT(scores, ElementsAre(0, never, never, never, never));
  options = {};
  options.forced_bos = 2;
  scores.assign(5, 1.F);
  process(scores, std::vector<int64_t>{3}, 0, options);
  EXPECT_THAT(kept(scores), ElementsAre(2));
  // The temperature acts on what the penalty left, and only when sampling.
  options = {};
  options.repetition_penalty = 2;
  options.temperature = 0.5;
  scores = {4, 1};
  process(scores, std::vector<int64_t>{0}, 0, options);
  EXPECT_THAT(scores, ElementsAre(2, 1));
  options.sample = true;
  scores = {4, 1};
  process(scores, std::vector<int64_t>{0}, 0, options);
  EXPECT_THAT(scores, ElementsAre(4, 2));
}

TEST(Scores, TheFirstOfTheBestIsChosen) {
  EXPECT_EQ(best(std::vector<float>{1, 3, 3, 2}), 1);
  for (const std::vector<float>& wrong :
       {std::vector<float>{never, never}, std::vector<float>{1, NAN},
        std::vector<float>{1, std::numeric_limits<float>::infinity()}}) {
    EXPECT_THROW(best(wrong), Error);
    EXPECT_THROW(draw(wrong, 0.5), Error);
  }
}

TEST(Scores, DrawsDivideTheUnitInterval) {
  const std::vector<float> scores = {never, std::log(0.25F), never, std::log(0.75F), never};
  EXPECT_EQ(draw(scores, 0), 1);
  EXPECT_EQ(draw(scores, 0.2499), 1);
  EXPECT_EQ(draw(scores, 0.2501), 3);
  EXPECT_EQ(draw(scores, 0x1.fffffffffffffp-1), 3);
}

// 20,000 draws: chi-square with 4 degrees of freedom exceeds 18.5 once in a thousand times.
TEST(Scores, DrawsFollowTheSoftmax) {
  const std::vector<double> probabilities = {0.02, 0.4, 0.08, 0.3, 0.2};
  const std::vector<float> scores = logarithms(probabilities);
  Options options;
  options.seed = 5;
  constexpr int64_t draws = 20000;
  std::vector<double> counts(5, 0);
  for (int64_t i = 0; i < draws; ++i)
    ++counts[static_cast<size_t>(draw(scores, uniform(options, i % 10, i / 10 % 10, i / 100)))];
  double chi_square = 0;
  for (size_t i = 0; i < 5; ++i) {
    const double due = probabilities[i] * draws;
    chi_square += (counts[i] - due) * (counts[i] - due) / due;
  }
  EXPECT_LT(chi_square, 18.5);
}

}  // namespace compress::generate
