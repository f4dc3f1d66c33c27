#include "compress/eval/evaluate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "compress/base/error.h"
#include "unit/nn/support.h"

namespace compress::eval {
namespace {

data::Split split(int64_t rows) {
  data::Split out;
  out.name = "test";
  out.file = "made up";
  out.labels = {"no", "yes"};
  out.offsets = {0};
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t length = 3 + row % 5;
    for (int64_t i = 0; i < length; ++i)
      out.ids.push_back(static_cast<int32_t>((row * 7 + i * 11) % 40));
    out.offsets.push_back(out.offsets.back() + length);
    out.first_lengths.push_back(static_cast<int32_t>(length));
    out.classes.push_back(static_cast<int32_t>(row % 2));
    out.lines.push_back(row + 1);
  }
  return out;
}

Evaluation run(int64_t rows, int64_t batch, int64_t warm_up) {
  auto model = nn::build(nn::tiny_bert(nn::HeadKind::classification), 1);
  EvaluateOptions options;
  options.batch = batch;
  options.warm_up = warm_up;
  return evaluate(*model, split(rows), options);
}

TEST(Evaluate, TimesEachFullBatchAndNotTheWarmUp) {
  EXPECT_EQ(run(10, 1, 0).forward_seconds.size(), 10u);
  EXPECT_EQ(run(10, 1, 3).forward_seconds.size(), 10u);
  EXPECT_EQ(run(10, 4, 99).forward_seconds.size(), 2u);  // 4, 4 and a rest of 2
  EXPECT_EQ(run(10, 16, 0).forward_seconds.size(), 1u);
  const Evaluation found = run(10, 2, 1);
  double sum = 0;
  for (double seconds : found.forward_seconds) {
    EXPECT_GT(seconds, 0);
    sum += seconds;
  }
  EXPECT_LT(sum, found.seconds);
}

TEST(Evaluate, ARowScoresTheSameInAnyBatch) {
  const Evaluation one = run(10, 1, 0), four = run(10, 4, 2);
  EXPECT_LT((one.logits - four.logits).abs().max().item<float>(), 1e-6f);
  EXPECT_EQ(one.metrics.front().value, four.metrics.front().value);
}

// A model with the classes of split() whose head is drawn.
nn::ModelState with_classes() {
  nn::ModelState state = nn::tiny_bert(nn::HeadKind::none);
  nn::set_head(state, nn::HeadKind::classification, {"no", "yes"});
  return nn::build(state, 1)->state();
}

TEST(Evaluate, HeadsMayAnswerTogether) {
  nn::ModelState state = with_classes();
  nn::set_more_heads(
      state, {{.name = "second",
               .kind = nn::HeadKind::classification,
               .labels = {"no", "yes"},
               .layers = 1},
              {.name = "other", .kind = nn::HeadKind::classification, .labels = {"a", "b"}}});
  auto said = [&](const std::string& head) {
    auto model = nn::build(state, 1);
    EvaluateOptions options;
    options.head = head;
    return evaluate(*model, split(7), options);
  };
  // Heads that say the same say it together.
  EXPECT_LT((at::softmax(said("mean").logits, 1) - at::softmax(said("").logits, 1))
                .abs()
                .max()
                .item<float>(),
            1e-6f);
  state.tensors.at("heads.second.classifier.weight").mul_(-3);
  const torch::Tensor own = at::softmax(said("").logits, 1),
                      second = at::softmax(said("second").logits, 1);
  ASSERT_GT((own - second).abs().max().item<float>(), 0.05f);
  const Evaluation mean = said("mean");
  EXPECT_LT((at::softmax(mean.logits, 1) - (own + second) / 2).abs().max().item<float>(), 1e-6f);
  EXPECT_EQ(mean.predictions.classes.size(), 7U);
  nn::set_more_heads(
      state, {{.name = "other", .kind = nn::HeadKind::classification, .labels = {"a", "b"}}});
  EXPECT_THROW(said("mean"), Error);  // no other head answers the same
}

TEST(Evaluate, NamesTheWeightThatIsNotFinite) {
  nn::ModelState state = with_classes();
  state.tensors.at("classifier.weight")[1][3] = std::nan("");
  try {
    evaluate(*nn::build(state, 1), split(4), {});
    FAIL() << "it was scored";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::diverged);
    EXPECT_NE(std::string(error.what()).find("1 of the 64 values of classifier.weight"),
              std::string::npos);
  }
}

// A model that always says its class `says`, of classes in the given order.
Evaluation constant(std::vector<std::string> classes, int64_t says, const data::Split& data,
                    std::vector<std::string> metrics) {
  nn::ModelState state = nn::tiny_bert(nn::HeadKind::none);
  nn::set_head(state, nn::HeadKind::classification, classes);
  const auto count = static_cast<int64_t>(classes.size());
  state.tensors["classifier.weight"] = torch::zeros({count, 32});
  state.tensors["classifier.bias"] = torch::zeros({count});
  state.tensors["classifier.bias"][says] = 1;
  auto model = nn::build(state, 1);
  EvaluateOptions options;
  options.metrics = std::move(metrics);
  return evaluate(*model, data, options);
}

// Three rows positive, one negative, all answered with positive: F1 is 6/7 for the one, 0 for the
// other (scikit-learn), whatever the order of the classes on either side.
TEST(Evaluate, F1IsAboutANamedClassInAnyOrder) {
  for (bool turned : {false, true}) {
    data::Split data = split(4);
    data.labels = {"negative", "positive"};
    data.classes = {1, 1, 0, 1};
    if (turned) {
      data.labels = {"positive", "negative"};
      data.classes = {0, 0, 1, 0};
    }
    for (int64_t place : {0, 1}) {
      const std::vector<std::string> classes =
          place == 0 ? std::vector<std::string>{"positive", "negative"}
                     : std::vector<std::string>{"negative", "positive"};
      Metric f1 = constant(classes, place, data, {"f1"}).metrics.front();
      EXPECT_DOUBLE_EQ(f1.value, 6.0 / 7);
      EXPECT_EQ(f1.of, "positive");
      EXPECT_EQ(title(f1), "f1 of positive");
      data::Split other = data;
      other.positive = "negative";
      f1 = constant(classes, place, other, {"f1"}).metrics.front();
      EXPECT_EQ(f1.value, 0);
      EXPECT_EQ(f1.of, "negative");
    }
  }
}

TEST(Evaluate, F1OfOneOfThreeClassesMustBeNamed) {
  data::Split data = split(4);
  data.labels = {"a", "b", "c"};
  data.classes = {0, 1, 2, 1};
  EXPECT_THROW(constant({"a", "b", "c"}, 1, data, {"f1"}), Error);
  data.positive = "b";
  EXPECT_DOUBLE_EQ(constant({"c", "b", "a"}, 1, data, {"f1"}).metrics.front().value, 4.0 / 6);
}

TEST(Evaluate, PlaceholdersAreScoredByNumber) {
  data::Split data = split(4);
  data.labels = {"1", "0"};
  data.classes = {0, 0, 0, 1};
  const Evaluation found = constant({"LABEL_0", "LABEL_1"}, 1, data, {"accuracy", "f1"});
  EXPECT_DOUBLE_EQ(found.metrics[0].value, 3.0 / 4);
  EXPECT_EQ(found.metrics[1].of, "1");
  data.labels = {"no", "yes"};
  try {
    constant({"LABEL_0", "LABEL_1"}, 1, data, {});
    ADD_FAILURE() << "scored";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::data);
    EXPECT_EQ(error.message(),
              "class names differ: the data has {no, yes}, the model has {LABEL_0, LABEL_1}");
    EXPECT_NE(error.hint().find("id2label"), std::string::npos);
  }
}

// Rows of two queries in turns; the model's answers are read back and ranked by hand.
TEST(Evaluate, RanksTheRowsOfQueries) {
  data::Split rows = split(6);
  rows.groups = {8, 4, 8, 4, 8, 4};
  rows.classes = {1, 0, 0, 1, 0, 0};
  auto model = nn::build(nn::tiny_bert(nn::HeadKind::classification), 1);
  EvaluateOptions options;
  options.metrics = {"map", "mrr", "precision@1"};
  for (const char* positive : {"yes", "no"}) {
    rows.positive = positive;
    const int64_t index = rows.positive == "yes";
    const Evaluation found = evaluate(*model, rows, options);
    const torch::Tensor odds = found.logits.select(1, index) - found.logits.select(1, 1 - index);
    RankedRows expected;
    expected.groups.assign(rows.groups.begin(), rows.groups.end());
    for (int64_t row = 0; row < 6; ++row) {
      expected.scores.push_back(odds[row].item<double>());
      expected.relevance.push_back(rows.classes[static_cast<size_t>(row)] == index);
    }
    EXPECT_EQ(found.metrics[0].value, mean_average_precision(expected).value);
    EXPECT_EQ(found.metrics[1].value, mean_reciprocal_rank(expected).value);
    EXPECT_EQ(found.metrics[2].value, precision_at(expected, 1).value);
    EXPECT_EQ(found.metrics[0].n, 2);
  }
  rows.groups.clear();
  EXPECT_THROW(evaluate(*model, rows, options), Error);
}

// A regressor's scores rank, and the true ones are how relevant a row is.
TEST(Evaluate, RanksByScores) {
  data::Split rows = split(4);
  rows.task = data::Task::regression;
  rows.labels.clear();
  rows.classes.clear();
  rows.values = {0, 3, 1, 0};
  rows.groups = {1, 1, 1, 2};
  auto model = nn::build(nn::tiny_bert(nn::HeadKind::regression), 1);
  EvaluateOptions options;
  options.metrics = {"ndcg"};
  const Evaluation found = evaluate(*model, rows, options);
  RankedRows expected{{1, 1, 1}, {}, {0, 3, 1}};
  for (int64_t row = 0; row < 3; ++row) expected.scores.push_back(found.logits[row].item<double>());
  EXPECT_EQ(found.metrics[0].value, normalised_discounted_gain(expected).value);
  EXPECT_EQ(found.metrics[0].n, 1);
}

TEST(Evaluate, DefaultMetricsFollowTheTask) {
  nn::ModelConfig config = nn::tiny_bert(nn::HeadKind::classification).config;
  using Names = std::vector<std::string>;
  auto names = [&](nn::HeadKind head, Names labels) {
    config.head = head;
    config.labels = std::move(labels);
    return default_metrics(config);
  };
  EXPECT_EQ(names(nn::HeadKind::classification, {"a", "b"}),
            (Names{"accuracy", "f1_macro", "f1", "matthews"}));
  EXPECT_EQ(names(nn::HeadKind::classification, {"a", "b", "c"}), (Names{"accuracy", "f1_macro"}));
  EXPECT_EQ(names(nn::HeadKind::regression, {}), (Names{"pearson", "spearman", "mse"}));
  for (nn::HeadKind head :
       {nn::HeadKind::causal_lm, nn::HeadKind::masked_lm, nn::HeadKind::seq2seq_lm})
    EXPECT_EQ(names(head, {}), Names{"perplexity"});
  EXPECT_EQ(names(nn::HeadKind::token_classification, {"a", "b"}), (Names{"accuracy", "f1_macro"}));
  EXPECT_EQ(names(nn::HeadKind::token_classification, {"B-x", "O"}),
            (Names{"entity_f1", "entity_precision", "entity_recall", "accuracy"}));
  EXPECT_EQ(names(nn::HeadKind::span, {}), (Names{"answer_f1", "exact_match"}));
  EXPECT_EQ(names(nn::HeadKind::multiple_choice, {}), Names{"accuracy"});
}

TEST(Evaluate, HeadsAndTasksAreMatchedOnce) {
  EXPECT_TRUE(can_score(nn::HeadKind::span, data::Task::span));
  EXPECT_TRUE(can_score(nn::HeadKind::masked_lm, data::Task::classification));
  EXPECT_FALSE(can_score(nn::HeadKind::classification, data::Task::regression));
  EXPECT_FALSE(can_score(nn::HeadKind::none, data::Task::unlabelled));
  EXPECT_FALSE(can_score(nn::HeadKind::embedding, data::Task::unlabelled));
}

TEST(Evaluate, MetricsAreCheckedByTheHeadAlone) {
  const nn::ModelConfig two = nn::tiny_bert(nn::HeadKind::classification).config;
  EXPECT_NO_THROW(check_metrics(std::vector<std::string>{"f1", "accuracy"}, two, false));
  EXPECT_THROW(check_metrics(std::vector<std::string>{"pearson"}, two, false), Error);
  EXPECT_THROW(check_metrics(std::vector<std::string>{"entity_f1"}, two, false), Error);
  nn::ModelConfig tags = two;
  tags.head = nn::HeadKind::token_classification;
  tags.labels = {"I-A", "O", "I-B"};
  EXPECT_NO_THROW(check_metrics(std::vector<std::string>{"entity_f1", "accuracy"}, tags, false));
  EXPECT_THROW(check_metrics(std::vector<std::string>{"f1"}, tags, false), Error);
  EXPECT_NO_THROW(check_metrics(std::vector<std::string>{"f1"}, tags, true));
}

std::string refusal(ErrorKind kind, const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.message();
    return error.message() + " | " + error.where() + " | " + error.hint();
  }
  ADD_FAILURE() << "no Error was thrown";
  return "";
}

TEST(Evaluate, NamesARowWithATokenThatTheEmbeddingLacks) {
  data::Split made = split(6);
  nn::ModelConfig config = nn::tiny_bert(nn::HeadKind::classification).config;
  EXPECT_NO_THROW(check_rows(made, config, nullptr));
  std::vector<int32_t> ids(made.ids.begin(), made.ids.end());
  ids[static_cast<size_t>(made.offsets[4])] = 50;  // the first one beyond
  made.ids = ids;
  const std::string said = refusal(ErrorKind::data, [&] { check_rows(made, config, nullptr); });
  EXPECT_EQ(said,
            "a text has the token 50, but the model's embedding has 50 rows | made up:5 | give the "
            "embedding a row for each token: resize_vocabulary");
  auto model = nn::build(nn::tiny_bert(nn::HeadKind::classification), 1);
  EXPECT_EQ(refusal(ErrorKind::data, [&] { evaluate(*model, made, {}); }), said);
}

TEST(Evaluate, RefusesProblemsThatNoTaskIsAbout) {
  nn::ModelState state = nn::tiny_bert(nn::HeadKind::classification);
  state.config.head = nn::HeadKind::regression;
  auto model = nn::build(state, 1);
  EXPECT_NE(refusal(ErrorKind::model, [&] { evaluate(*model, split(4), {}); })
                .find("problem_type is \"regression\" with 2 outputs"),
            std::string::npos);
}

}  // namespace
}  // namespace compress::eval
