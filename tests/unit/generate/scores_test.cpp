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

TEST(Scores, MinPIsAPartOfTheBest) {
  std::vector<float> scores = logarithms({0.5, 0.3, 0.14, 0.06});
  keep_min_p(scores, 0.3);
  EXPECT_THAT(kept(scores), ElementsAre(0, 1));
  keep_min_p(scores, 1);
  EXPECT_THAT(kept(scores), ElementsAre(0));
}

TEST(Scores, SequencesAreNotCompleted) {
  const std::vector<Tokens> banned = {{4}, {1, 2}, {0, 1, 3}, {9}};
  auto left = [&](const std::vector<int64_t>& history) {
    std::vector<float> scores(5, 1.F);
    ban_completed(scores, history, banned);
    return kept(scores);
  };
  EXPECT_THAT(left({2}), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(left({0, 2, 1}), ElementsAre(0, 1, 3));
  EXPECT_THAT(left({3, 0, 1}), ElementsAre(0, 1));
  // A history shorter than the sequence, as in transformers.
  EXPECT_THAT(left({1}), ElementsAre(0, 1, 2, 3));
}

TEST(Scores, RenormalizedScoresAreProbabilities) {
  std::vector<float> scores = {1, never, 3, 2};
  renormalize(scores);
  double total = 0;
  for (float score : scores) total += std::exp(score);
  EXPECT_NEAR(total, 1, 1e-6);
  EXPECT_NEAR(scores[2] - scores[0], 2, 1e-6);
  EXPECT_EQ(scores[1], never);
}

TEST(Scores, AreProcessedInOrder) {
  Options options;
  Limits limits{1, 3, {}};
  options.eos = {0, 4};
  options.forced_eos = {0};
  std::vector<float> scores(5, 1.F);
  auto processed = [&](std::vector<float> from, const std::vector<int64_t>& history,
                       int64_t fresh) {
    process(from, history, fresh, limits, options);
    return from;
  };
  EXPECT_THAT(kept(processed(scores, {3}, 0)), ElementsAre(1, 2, 3));
  EXPECT_THAT(processed(scores, {3, 1, 1}, 2), ElementsAre(0, never, never, never, never));
  options = {};
  limits = {};
  options.forced_bos = 2;
  EXPECT_THAT(kept(processed(scores, {3}, 0)), ElementsAre(2));
  // Only as the second token of a row, which a longer prompt has already.
  EXPECT_EQ(kept(processed(scores, {3, 3}, 0)).size(), 5U);
  // Behind a forced token the first one that is free is the second.
  options.suppressed = {1};
  options.suppressed_first = {0, 4};
  EXPECT_THAT(kept(processed(scores, {3}, 0)), ElementsAre(2));
  EXPECT_THAT(kept(processed(scores, {3, 2}, 1)), ElementsAre(2, 3));
  EXPECT_THAT(kept(processed(scores, {3, 2, 2}, 2)), ElementsAre(0, 2, 3, 4));
  options.forced_bos = -1;
  EXPECT_THAT(kept(processed(scores, {3}, 0)), ElementsAre(2, 3));
  EXPECT_THAT(kept(processed(scores, {3, 2}, 1)), ElementsAre(0, 2, 3, 4));
  // The temperature acts on what the penalty left, and only when sampling.
  options = {};
  options.repetition_penalty = 2;
  options.temperature = 0.5;
  EXPECT_THAT(processed({4, 1}, {0}, 0), ElementsAre(2, 1));
  options.sample = true;
  EXPECT_THAT(processed({4, 1}, {0}, 0), ElementsAre(4, 2));
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
