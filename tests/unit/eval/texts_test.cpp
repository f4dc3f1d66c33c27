// Metrics of written texts by hand; tests/interop/test_texts.py compares them with their
// references.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "compress/data/dataset.h"
#include "compress/eval/evaluate.h"
#include "support/failure.h"
#include "unit/nn/support.h"

namespace compress {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

WrittenTexts one(std::string written, std::vector<std::string> references) {
  return {{std::move(written)}, {std::move(references)}};
}

TEST(WrittenTexts, RougeByHand) {
  const WrittenTexts texts = one("The cat sat.", {"the cat on a mat sat"});
  // Words 3 of 3 and 3 of 6; pairs 1 of 2 and 1 of 5; the cat .. sat.
  EXPECT_DOUBLE_EQ(rouge(texts, 1, false).value, 2 * 0.5 / 1.5);
  EXPECT_DOUBLE_EQ(rouge(texts, 2, false).value, 2 * 0.5 * 0.2 / 0.7);
  EXPECT_DOUBLE_EQ(rouge(texts, 0, false).value, 2 * 0.5 / 1.5);
  EXPECT_DOUBLE_EQ(rouge(one("running", {"runs"}), 1, false).value, 0);
  EXPECT_DOUBLE_EQ(rouge(one("running", {"runs"}), 1, true).value, 1);
  EXPECT_DOUBLE_EQ(rouge(one("", {"a"}), 0, false).value, 0);
  EXPECT_DOUBLE_EQ(rouge(one("b", {"a", "b"}), 1, false).value, 1);  // the best one
  EXPECT_EQ(rouge(texts, 1, true).signature,
            "nrefs:1|tok:rouge-score|stem:porter|agg:mean|version:0.1.2");
}

TEST(WrittenTexts, BleuByHand) {
  // Five of six words, two of five pairs, one of four, none of three: 1 / 2 of one.
  const Metric found = bleu(one("a b c d x f", {"a b c z d f"}));
  const double logs = std::log(5.0 / 6) + std::log(2.0 / 5) + std::log(1.0 / 4) + std::log(0.5 / 3);
  EXPECT_NEAR(found.value, 100 * std::exp(logs / 4), 1e-10);
  EXPECT_EQ(found.signature, "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0");
  // Too short: exp(1 - 8 / 4).
  EXPECT_NEAR(bleu(one("a b c d", {"a b c d e f g h"})).value, 100 * std::exp(-1), 1e-10);
  EXPECT_NEAR(bleu(one("Hi, you (two)!", {"Hi , you ( two ) !"})).value, 100, 1e-10);
  EXPECT_EQ(bleu(one("a b c", {"a b c"})).value, 0);
  EXPECT_THAT(bleu(one("a b c", {"a b c"})).note, HasSubstr("four words"));
  EXPECT_EQ(bleu(one("", {"a"})).value, 0);
}

TEST(WrittenTexts, ChrfByHand) {
  // "ab" and "abc": n = 1: 2 of 2 and 2 of 3; n = 2: 1 of 1 and 1 of 2; n = 3: no run was written.
  const double recall = (2.0 / 3 + 1.0 / 2) / 2;
  EXPECT_NEAR(chrf(one("a b", {"abc"})).value, 100 * 5 * recall / (4 + recall), 1e-10);
  EXPECT_EQ(chrf(one("x", {"abc"})).value, 0);
  EXPECT_THAT(chrf(one("x", {"abc"})).note, HasSubstr("no character"));
}

TEST(WrittenTexts, DistinctRunsOverAllTexts) {
  const WrittenTexts texts = {{"a b a", "a b"}, {{""}, {""}}};
  EXPECT_DOUBLE_EQ(distinct_at(texts, 1).value, 2.0 / 5);
  EXPECT_DOUBLE_EQ(distinct_at(texts, 2).value, 2.0 / 3);
  EXPECT_EQ(distinct_at(texts, 4).value, 0);
  EXPECT_THAT(distinct_at(texts, 4).note, HasSubstr("no written text has 4 words"));
}

TEST(WrittenTexts, MeteorsExactStageByHand) {
  // Three of four and three of five words, in runs "a b" and "d".
  const double mean = 0.75 * 0.6 / (0.9 * 0.75 + 0.1 * 0.6);
  const Metric found = meteor_exact(one("A b x d", {"a b c y D"}));
  EXPECT_NEAR(found.value, (1 - 0.5 * std::pow(2.0 / 3, 3)) * mean, 1e-12);
  EXPECT_THAT(found.signature, HasSubstr("stages:exact"));
  EXPECT_NEAR(meteor_exact(one("a", {"b", "a"})).value, 0.5, 1e-12);
  EXPECT_EQ(meteor_exact(one("", {"a"})).value, 0);
  EXPECT_EQ(meteor_exact(one("run", {"runs"})).value, 0) << "no stems";
}

TEST(WrittenTexts, ExactTextAndAnswersOfTexts) {
  Predictions p;
  p.texts = {{" The cat", "the cat", "a dog"}, {{"The cat\n"}, {"The cat"}, {"bird", "dog"}}};
  const std::vector<std::string> names = {"exact_text", "exact_match", "answer_f1"};
  const std::vector<Metric> found = compute_metrics(names, p);
  EXPECT_DOUBLE_EQ(found[0].value, 1.0 / 3);
  EXPECT_DOUBLE_EQ(found[1].value, 1);
  EXPECT_DOUBLE_EQ(found[2].value, 1);
  EXPECT_EQ(found[1].n, 3);
}

TEST(WrittenTexts, AreAskedForOfModelsThatWrite) {
  for (const char* name : {"rouge_l", "bleu", "exact_match", "perplexity", "distinct@2"})
    EXPECT_NO_THROW(check_metric(name, MetricTask::written, false)) << name;
  EXPECT_THAT(failure([] { check_metric("bleu", MetricTask::classification, false); }).message(),
              HasSubstr("needs written texts with references, but this task gives class"));
  EXPECT_THAT(failure([] { check_metric("accuracy", MetricTask::written, false); }).message(),
              HasSubstr("needs class predictions"));
  nn::ModelConfig config;
  config.head = nn::HeadKind::causal_lm;
  const std::vector<std::string> names = {"perplexity", "rouge_1"};
  EXPECT_TRUE(eval::need_texts(names, config));
  EXPECT_FALSE(eval::need_texts(std::span(names).first(1), config));
  EXPECT_NO_THROW(eval::check_metrics(names, config, false, false, /*references=*/true));
  EXPECT_THAT(failure([&] { eval::check_metrics(names, config, false); }).message(),
              HasSubstr("needs written texts"));
}

}  // namespace
}  // namespace compress
