// Tags of words, answers in passages and choices: their metrics, and models that are scored by
// them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/strings.h"
#include "compress/eval/evaluate.h"
#include "compress/eval/kept.h"
#include "unit/nn/support.h"

namespace compress::eval {
namespace {

using ::testing::ElementsAre;
using Tags = std::vector<std::string_view>;

EntityCounts counted(const Tags& predicted, const Tags& labels) {
  EntityCounts counts;
  count_entities(predicted, labels, counts);
  return counts;
}

TEST(Entities, BoundsAndTypesMustAgree) {
  const EntityCounts counts =
      counted({"B-A", "I-A", "O", "B-B", "O", "B-A"}, {"B-A", "I-A", "O", "B-A", "B-B", "B-A"});
  EXPECT_EQ(counts.predicted, 3);
  EXPECT_EQ(counts.labelled, 4);
  EXPECT_EQ(counts.both, 2);
  EXPECT_DOUBLE_EQ(entity_score(EntityScore::f1, counts).value, 4.0 / 7);
  EXPECT_DOUBLE_EQ(entity_score(EntityScore::precision, counts).value, 2.0 / 3);
  EXPECT_DOUBLE_EQ(entity_score(EntityScore::recall, counts).value, 2.0 / 4);
}

TEST(Entities, WhereTheyBegin) {
  EXPECT_EQ(counted({"I-A", "I-A", "I-B", "B-B"}, {"O", "O", "O", "O"}).predicted, 3);
  EXPECT_EQ(counted({"I-A", "I-A"}, {"B-A", "I-A"}).both, 1);
  EXPECT_EQ(counted({"B-A", "B-A"}, {"B-A", "I-A"}).both, 0);
  EXPECT_EQ(counted({"B-A", "O", "I-A"}, {"B-A", "O", "I-A"}).both, 2);
  EXPECT_FALSE(entity_score(EntityScore::f1, {}).note.empty());
}

// One sentence in each scheme, with the entities [0, 1] A, [2] A, [3] B, [5, 7] B.
TEST(Entities, AreTheSameInEveryScheme) {
  const Tags iob2 = {"B-A", "I-A", "B-A", "B-B", "O", "B-B", "I-B", "I-B"};
  for (const Tags& tags : {Tags{"I-A", "I-A", "B-A", "I-B", "O", "I-B", "I-B", "I-B"},   // IOB1
                           Tags{"B-A", "E-A", "S-A", "S-B", "O", "B-B", "I-B", "E-B"},   // IOBES
                           Tags{"B-A", "L-A", "U-A", "U-B", "O", "B-B", "I-B", "L-B"},   // BILOU
                           Tags{"B-A", "E-A", "S-A", "S-B", "O", "B-B", "M-B", "E-B"}})  // BMES
  {
    const EntityCounts counts = counted(tags, iob2);
    EXPECT_EQ(counts.predicted, 4);
    EXPECT_EQ(counts.both, 4);
  }
  // IO cannot part neighbours of one type: seqeval counts 3, as conlleval does.
  const EntityCounts joined = counted({"I-A", "I-A", "I-A", "I-B", "O", "I-B", "I-B", "I-B"}, iob2);
  EXPECT_EQ(joined.predicted, 3);
  EXPECT_EQ(joined.both, 2);
}

// Sequences that no scheme allows, as seqeval's get_entities() (and conlleval) cuts them.
TEST(Entities, OfBrokenSequences) {
  const Tags none = {"O", "O", "O", "O"};
  EXPECT_EQ(counted({"B-A", "E-A", "I-A", "E-A"}, none).predicted, 2);  // E ends, I begins
  EXPECT_EQ(counted({"E-A", "E-A", "O", "O"}, none).predicted, 2);
  EXPECT_EQ(counted({"S-A", "I-A", "I-A", "O"}, none).predicted, 2);
  EXPECT_EQ(counted({"I-A", "E-B", "O", "S-A"}, none).predicted, 3);
  EXPECT_EQ(counted({"B", "I", "B", "O"}, none).predicted, 2);  // without types
}

TEST(Entities, NamesOfTags) {
  using Names = std::vector<std::string>;
  for (const Names& names :
       {Names{"B-A", "I-A", "O"}, Names{"I-LOC", "I-PER", "O"}, Names{"I-A"}, Names{"B", "I", "O"},
        Names{"B-A", "E-A", "I-A", "O", "S-A"}, Names{"B-A", "L-A", "U-A", "O"}})
    EXPECT_TRUE(are_entity_tags(names)) << names[0];
  for (const Names& names :
       {Names{}, Names{"O"}, Names{"NN", "O"}, Names{"I", "O"}, Names{"B-A", "X-A", "O"},
        Names{"PER", "O"}, Names{"O-A", "B-A"}, Names{"B-"}, Names{"INTJ", "NOUN"}})
    EXPECT_FALSE(are_entity_tags(names)) << (names.empty() ? "" : names[0]);
}

TEST(Answers, AsSquadComparesThem) {
  auto score = [](std::string_view predicted, std::vector<std::string> answers) {
    return compare_answer(predicted, answers);
  };
  EXPECT_TRUE(score("The  Cat!", {"a cat"}).exact);
  EXPECT_DOUBLE_EQ(score("black cat", {"a dog", "the big black cat"}).f1, 2 * 2.0 / (2 + 3));
  EXPECT_FALSE(score("black cat", {"cat"}).exact);
  EXPECT_DOUBLE_EQ(score("cat cat", {"cat"}).f1, 2 * 1.0 / 3);
  EXPECT_DOUBLE_EQ(score("dog", {"cat"}).f1, 0);
  EXPECT_TRUE(score("", {}).exact);
  EXPECT_DOUBLE_EQ(score("cat", {}).f1, 0);
  EXPECT_DOUBLE_EQ(score("", {"cat"}).f1, 0);
  EXPECT_FALSE(score("", {"the", "cat"}).exact);  // an answer of which nothing is left is none
  EXPECT_TRUE(score("", {"the", "!"}).exact);
}

TEST(Answers, LettersAndSpacesOfAllScripts) {
  auto exact = [](std::string_view predicted, std::string answer) {
    return compare_answer(predicted, std::vector<std::string>{std::move(answer)}).exact;
  };
  EXPECT_TRUE(exact("МОСКВА", "москва"));
  EXPECT_TRUE(exact("ÉCOLE Über", "école über"));
  EXPECT_TRUE(exact("ΟΔΟΣ", "οδος") && !exact("ΟΔΟΣ", "οδοσ"));
  EXPECT_TRUE(exact("\u0130", "i\u0307") && !exact("\u0130", "i"));
  EXPECT_TRUE(exact("x\u00A0y\u3000z\u0085\u2028u", "x y z u"));
  EXPECT_TRUE(exact("\u201Cthe cat", "\u201C cat") && exact("the\u2013cat", "\u2013cat"));
  EXPECT_TRUE(exact("a\u0301", "\u0301") && !exact("theé", "é"));
  EXPECT_FALSE(exact("\u201Ccat\u201D", "cat"));  // punctuation is ASCII's alone
}

// A BERT whose head answers what `bias` says, whatever it reads.
nn::ModelState constant(nn::HeadKind head, std::vector<std::string> labels, const std::string& out,
                        std::vector<float> bias) {
  nn::ModelState state = nn::tiny_bert(nn::HeadKind::none);
  nn::set_head(state, head, std::move(labels));
  state.tensors[out + ".weight"] = torch::zeros({static_cast<int64_t>(bias.size()), 32});
  state.tensors[out + ".bias"] = torch::tensor(bias);
  return state;
}

Evaluation scored(const nn::ModelState& state, const data::Split& split,
                  const text::Tokenizer* tokenizer = nullptr) {
  auto model = nn::build(state, 1);
  EvaluateOptions options;
  options.batch = 2;
  options.tokenizer = tokenizer;
  return evaluate(*model, split, options);
}

TEST(Evaluate, TagsOfWords) {
  data::Split split;
  split.file = "made up";
  split.task = data::Task::token_classification;
  split.labels = {"B-A", "I-A", "O"};
  split.ids = {1, 2, 3, 4, 5, 6, 7};
  split.offsets = {0, 4, 7};
  split.first_lengths = {4, 3};
  split.lines = {1, 2};
  split.token_classes = {-100, 0, 1, -100, -100, 2, 0};
  // The model's order is another: B-A always.
  const Evaluation found = scored(
      constant(nn::HeadKind::token_classification, {"O", "B-A", "I-A"}, "classifier", {0, 2, 1}),
      split);
  ASSERT_EQ(found.metrics.size(), 4u);
  EXPECT_EQ(found.metrics[0].name, "entity_f1");
  // Predicted 4 entities of one word, labelled 2: [1, 2] and [6], of which the last is found.
  EXPECT_DOUBLE_EQ(found.metrics[0].value, 2.0 / 6);
  EXPECT_DOUBLE_EQ(found.metrics[1].value, 1.0 / 4);
  EXPECT_DOUBLE_EQ(found.metrics[2].value, 1.0 / 2);
  EXPECT_DOUBLE_EQ(found.find("accuracy")->value, 2.0 / 4);
  const double sum = std::exp(0.0) + std::exp(1.0) + std::exp(2.0);
  EXPECT_NEAR(found.loss, std::log(sum) - (2 + 1 + 0 + 2) / 4.0, 1e-5);
}

// james I-PER / is O / not O / world I-LOC; hello O / world I-LOC: three entities.
TEST(Evaluate, TagsWithoutABegin) {
  data::Split split;
  split.file = "made up";
  split.task = data::Task::token_classification;
  split.labels = {"I-LOC", "I-PER", "O"};
  split.ids = {1, 2, 3, 4, 5, 6};
  split.offsets = {0, 4, 6};
  split.first_lengths = {4, 2};
  split.lines = {1, 6};
  split.token_classes = {1, 2, 2, 0, 2, 0};
  const Evaluation found = scored(constant(nn::HeadKind::token_classification,
                                           {"O", "I-LOC", "I-PER"}, "classifier", {0, 2, 1}),
                                  split);
  EXPECT_THAT(default_metrics(constant(nn::HeadKind::token_classification, {"I-LOC", "I-PER", "O"},
                                       "classifier", {0, 0, 0})
                                  .config),
              ElementsAre("entity_f1", "entity_precision", "entity_recall", "accuracy"));
  // I-LOC always: one entity of each sentence, neither with the right bounds.
  EXPECT_EQ(found.metrics[0].name, "entity_f1");
  EXPECT_EQ(found.metrics[0].n, 3);
  EXPECT_DOUBLE_EQ(found.metrics[0].value, 0);
  EXPECT_DOUBLE_EQ(found.find("accuracy")->value, 2.0 / 6);
}

TEST(Evaluate, Choices) {
  data::Split split;
  split.file = "made up";
  split.task = data::Task::multiple_choice;
  split.labels = {"0", "1"};
  split.choices = 2;
  for (int32_t id = 1; id <= 12; ++id) split.ids.push_back(id);
  split.offsets = {0, 2, 4, 6, 8, 10, 12};
  split.first_lengths = {1, 1, 1, 1, 1, 1};
  split.classes = {0, 0, 1, 1, 0, 0};
  split.lines = {1, 1, 2, 2, 3, 3};
  const Evaluation found =
      scored(constant(nn::HeadKind::multiple_choice, {}, "classifier", {1}), split);
  ASSERT_EQ(found.metrics.size(), 1u);
  EXPECT_EQ(found.metrics[0].name, "accuracy");
  EXPECT_DOUBLE_EQ(found.metrics[0].value, 2.0 / 3);  // of equal choices the first
  EXPECT_EQ(found.metrics[0].n, 3);
  EXPECT_NEAR(found.loss, std::log(2.0), 1e-6);
}

// Words are tokens with the id of their first letter, a = 10.
class Letters final : public text::Tokenizer {
 public:
  void encode(std::string_view text, std::optional<std::string_view> pair,
              const text::EncodeOptions& options, text::Encoding& out) const override {
    out = {};
    auto words = [&](std::string_view from) {
      for (size_t at = 0; at < from.size(); ++at) {
        const size_t end = std::min(from.find(' ', at), from.size());
        if (end > at) add(10 + (from[at] - 'a'), at, end, false, out);
        at = end;
      }
      if (options.add_special_tokens) add(2, 0, 0, true, out);
    };
    if (options.add_special_tokens) add(1, 0, 0, true, out);
    words(text);
    out.first_length = static_cast<int64_t>(out.ids.size());
    if (pair) words(*pair);
  }
  int64_t vocabulary_size() const override { return 50; }
  std::optional<int32_t> token_to_id(std::string_view) const override { return std::nullopt; }
  std::optional<std::string_view> id_to_token(int32_t) const override { return std::nullopt; }
  const text::SpecialIds& special_ids() const override { return ids_; }
  int64_t special_tokens_added(bool pair) const override { return 2 + pair; }
  std::string decode(std::span<const int32_t>, bool) const override { return {}; }
  const std::string& hash() const override { return hash_; }

 private:
  static void add(int32_t id, size_t begin, size_t end, bool special, text::Encoding& out) {
    out.ids.push_back(id);
    out.offsets.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(end)});
    out.special.push_back(special);
  }
  text::SpecialIds ids_;
  std::string hash_ = "letters";
};

class AnswersOfModels : public ::testing::Test {
 protected:
  AnswersOfModels() {
    folder_ = std::filesystem::temp_directory_path() / str("compress-answers-", ::getpid());
    std::filesystem::create_directories(folder_);
  }
  ~AnswersOfModels() override { std::filesystem::remove_all(folder_); }

  Evaluation run(const std::string& rows) {
    write_file(folder_ / "a.tsv", "question\tpassage\tanswer\n" + rows);
    data::DatasetOptions options;
    options.test = (folder_ / "a.tsv").string();
    options.task = "span";
    options.text = "question";
    options.pair = "passage";
    options.answer = "answer";
    options.max_length = 8;
    options.stride = 1;
    // All tokens score the same: the best answer is the passage's first token.
    return scored(constant(nn::HeadKind::span, {}, "qa_outputs", {0, 0}),
                  data::load_split(options, "test", letters_), &letters_);
  }

  std::filesystem::path folder_;
  Letters letters_;
};

TEST_F(AnswersOfModels, TheBestSpanOfThePassage) {
  const Evaluation found = run("q\tants bite cats\tants\nq\tdogs eat frogs\tdogs eat\n");
  ASSERT_EQ(found.metrics.size(), 2u);
  EXPECT_EQ(found.metrics[0].name, "answer_f1");
  EXPECT_NEAR(found.metrics[0].value, (1 + 2.0 / 3) / 2, 1e-9);
  EXPECT_NEAR(found.metrics[1].value, 0.5, 1e-9);
  EXPECT_EQ(found.metrics[0].n, 2);
  EXPECT_NEAR(found.loss, std::log(7.0), 1e-5);  // rows of 7 tokens, all alike
}

// The first token of the row stands for no answer, and scores as high as any other.
TEST_F(AnswersOfModels, QuestionsWithoutAnswerAndTheThreshold) {
  const std::string paragraph =
      R"({"context": "ants bite cats", "qas": [)"
      R"({"id": "q7", "question": "q", "answers": [{"text": "ants", "answer_start": 0}]},)"
      R"({"id": "q8", "question": "q", "answers": [], "is_impossible": true},)"
      R"({"id": "q9", "question": "q", "answers": [{"text": "cats", "answer_start": 10}]}]})";
  write_file(folder_ / "a.json",
             R"({"version": "v2.0", "data": [{"title": "t", "paragraphs": [)" + paragraph + "]}]}");
  data::DatasetOptions options;
  options.test = (folder_ / "a.json").string();
  options.format = "squad";
  options.task = "span";
  options.text = "question";
  options.max_length = 8;
  const data::Split split = data::load_split(options, "test", letters_);
  auto model = nn::build(constant(nn::HeadKind::span, {}, "qa_outputs", {0, 0}), 1);
  EvaluateOptions how;
  how.tokenizer = &letters_;
  how.metrics = {"exact_match", "has_answer_exact", "no_answer_exact", "best_exact"};
  Evaluation found = evaluate(*model, split, how);
  EXPECT_THAT(found.predictions.answers.ids, ElementsAre("q7", "q8", "q9"));
  EXPECT_THAT(found.predictions.answers.texts, ElementsAre("ants", "ants", "ants"));
  EXPECT_THAT(found.predictions.answers.null_odds, ElementsAre(0, 0, 0));
  EXPECT_DOUBLE_EQ(found.metrics[0].value, 1.0 / 3);
  EXPECT_DOUBLE_EQ(found.metrics[1].value, 1.0 / 2);
  EXPECT_EQ(found.metrics[1].n, 2);
  EXPECT_DOUBLE_EQ(found.metrics[2].value, 0);
  EXPECT_EQ(found.metrics[2].n, 1);
  // The script takes questions of equal odds one by one: q7 is answered, the others not yet.
  EXPECT_DOUBLE_EQ(found.metrics[3].value, 2.0 / 3);
  how.null_threshold = -0.5;
  found = evaluate(*model, split, how);
  EXPECT_THAT(found.predictions.answers.texts, ElementsAre("", "", ""));
  EXPECT_DOUBLE_EQ(found.metrics[0].value, 1.0 / 3);
  EXPECT_DOUBLE_EQ(found.metrics[2].value, 1);
  write_answers(folder_ / "answers.json", folder_ / "odds.json", found.predictions);
  EXPECT_EQ(read_file(folder_ / "answers.json"), "{\"q7\":\"\",\"q8\":\"\",\"q9\":\"\"}\n");
  EXPECT_EQ(read_file(folder_ / "odds.json"), "{\"q7\":0.0,\"q8\":0.0,\"q9\":0.0}\n");
}

TEST_F(AnswersOfModels, AQuestionCountsOnceOverItsWindows) {
  const Evaluation found = run("q\tants bite cats dogs eat frogs get hats\tants\n");
  EXPECT_EQ(found.metrics[0].n, 1);
  EXPECT_GT(found.rows, 1);
  EXPECT_NEAR(found.metrics[1].value, 1, 1e-9);
}

}  // namespace
}  // namespace compress::eval
