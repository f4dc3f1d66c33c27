// Rows with replaced words: their arithmetic by hand, and a stage on a tiny model.

#include "../../../src/pipeline/stages/words/replaced_words.h"

#include <gmock/gmock.h>

#include <set>

#include "compress/export/export.h"
#include "unit/pipeline/folder.h"

namespace compress::pipeline {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> spelled(const std::string& text) {
  std::vector<std::string> list;
  for (const Word& word : words_in(text))
    list.push_back(text.substr(word.begin, word.end - word.begin));
  return list;
}

TEST(ReplacedWords, WordsAreRunsOfLettersDigitsAndLowLines) {
  EXPECT_THAT(spelled(" It's a 3d_film, na\xC3\xAFve; (1999)!"),
              ElementsAre("It", "s", "a", "3d_film", "na\xC3\xAFve", "1999"));
  EXPECT_TRUE(words_in("").empty());
  EXPECT_TRUE(words_in(" ... ").empty());
}

TEST(ReplacedWords, StopWordsAndNonLettersStay) {
  const std::set<std::string>& stop = english_stop_words();
  EXPECT_TRUE(is_replaceable("Film", stop));
  EXPECT_TRUE(is_replaceable("na\xC3\xAFve", stop));
  for (const char* word : {"the", "The", "don", "s", "3d", "low_line", "1999", ""})
    EXPECT_FALSE(is_replaceable(word, stop)) << word;
  EXPECT_TRUE(is_replaceable("the", {}));
}

const std::vector<Choice>& choices() {
  static const std::vector<Choice> list = {{{0, 4}, {"film"}}, {{5, 8}, {}}, {{9, 13}, {"a", "b"}}};
  return list;  // of "plot was good."
}

TEST(ReplacedWords, EveryWordWithCandidatesOrNone) {
  Random random(1);
  EXPECT_EQ(with_replaced("plot was good.", choices(), 0, random), "plot was good.");
  for (int i = 0; i < 20; ++i) {
    const std::string all = with_replaced("plot was good.", choices(), 1, random);
    EXPECT_TRUE(all == "film was a." || all == "film was b.") << all;
  }
}

TEST(ReplacedWords, AWordIsReplacedWithTheProbability) {
  Random random(1);
  int first = 0, both = 0;
  for (int i = 0; i < 4000; ++i) {
    const std::string text = with_replaced("plot was good.", choices(), 0.4, random);
    first += starts_with(text, "film");
    both += text == "film was a.";
  }
  EXPECT_NEAR(first / 4000.0, 0.4, 0.03);
  EXPECT_NEAR(both / 4000.0, 0.4 * 0.4 / 2, 0.02);
}

TEST(ReplacedWords, WithoutProbabilityThereIsTheRowAlone) {
  Random random(1);
  EXPECT_THAT(row_and_copies({"plot was good."}, {choices()}, 20, 0, random),
              ElementsAre(Texts{"plot was good."}));
}

TEST(ReplacedWords, TheRowComesFirstAndNoneTwice) {
  Random random(1);
  const std::vector<Texts> rows =
      row_and_copies({"plot was good.", "plot"}, {choices(), {}}, 100, 0.5, random);
  // Three ways for "good", two for "plot".
  EXPECT_EQ(rows.size(), 6U);
  EXPECT_EQ(rows[0], (Texts{"plot was good.", "plot"}));
  EXPECT_EQ(std::set<Texts>(rows.begin(), rows.end()).size(), 6U);
  for (const Texts& row : rows) EXPECT_EQ(row[1], "plot");
}

TEST(ReplacedWords, NeighboursAreNearestByCosine) {
  const NearWords words({"east", "far", "north", "west"},
                        torch::tensor({{1.0F, 0.0F}, {9.0F, 3.0F}, {0.0F, 2.0F}, {-1.0F, 0.0F}}));
  EXPECT_THAT(words.nearest(torch::tensor({2.0F, 0.1F}), "east", 2), ElementsAre("far", "north"));
  EXPECT_THAT(words.nearest(torch::tensor({2.0F, 0.1F}), "x", 9),
              ElementsAre("east", "far", "north", "west"));
  EXPECT_FALSE(words.find("south").defined());
  EXPECT_NEAR(words.find("far")[1].item<double>(), 3 / std::sqrt(90.0), 1e-6);
  EXPECT_TRUE(NearWords().nearest(torch::tensor({1.0F}), "x", 3).empty());
}

class Vectors : public tiny::Scratch {
 protected:
  NearWords read(const std::string& text, int64_t most = 100) const {
    write_file(root_ / "glove.txt", text);
    return read_vectors(root_ / "glove.txt", most);
  }
  std::string refused(const std::string& text) const {
    return tiny::error_of(ErrorKind::data, [&] { read(text); });
  }
};

TEST_F(Vectors, AreReadAsGloveWritesThem) {
  const NearWords words = read("the 1 0\nfilm 0.5 -2e-1\nthe 7 7\n. . 1 1\nplot 0 1\n");
  EXPECT_EQ(words.size(), 3);
  EXPECT_NEAR(words.find("the")[0].item<double>(), 1, 1e-6);
  EXPECT_EQ(read("a 1\nb 1\nc 1\n", 2).size(), 2);
  EXPECT_TRUE(read("\xEF\xBB\xBFthe 1 0\n").find("the").defined());
}

TEST_F(Vectors, MayHaveTheFirstLineOfWord2vec) {
  const NearWords words = read("2 3\nthe 1 0 0\nfilm 0 1 0\n");
  EXPECT_EQ(words.size(), 2);
  EXPECT_FALSE(words.find("2").defined());
  EXPECT_NEAR(words.find("film")[1].item<double>(), 1, 1e-6);
  EXPECT_THAT(refused("2 3\nthe 1 0\n"), HasSubstr("2 numbers, but the first line has 3"));
  EXPECT_THAT(refused("2 3\n"), HasSubstr("no vectors"));
}

TEST_F(Vectors, OfAnotherFormAreRefused) {
  EXPECT_THAT(
      refused("the 1 0\nfilm 1\n"),
      testing::AllOf(HasSubstr("1 numbers, but the first line has 2"), HasSubstr("glove.txt:2")));
  EXPECT_THAT(refused("the 1 x\n"), HasSubstr("'x' is no finite number"));
  EXPECT_THAT(refused("the nan\n"), HasSubstr("no finite number"));
  EXPECT_THAT(refused("the\n"), HasSubstr("no numbers behind the word"));
  EXPECT_THAT(refused("\xFF 1\n"), HasSubstr("not valid UTF-8"));
  EXPECT_THAT(refused(""), HasSubstr("no vectors"));
  EXPECT_THAT(refused(std::string("\xFF\xFEt\0", 4)), HasSubstr("UTF-16"));
}

class AugmentRows : public Folder {
 protected:
  void SetUp() override {
    Folder::SetUp();
    // "plots" is two tokens; a pair of such texts just fits the model's 12 positions.
    write_file(root_ / "few.tsv",
               "text\tscore\tid\nThe film plots\t1.5\ta\n\t0\tempty\nbad film\t-2\tb\n");
  }
  std::string recipe(const std::string& options = "", const std::string& data =
                                                          "task: regression, "
                                                          "label: score") {
    const std::string at = root_.string() + "/";
    return text("  - name: lm\n    train: {model: {from: " + base() +
                    ", head: masked_lm}, data: words, for: 2 steps, augment: [masking: {}], " +
                    common + "}\n  - name: more\n    augment_rows: {model: lm, data: few" +
                    options + "}\n",
                "  words: {train: " + at +
                    "train.tsv, text: text, task: unlabelled, max_length: "
                    "12}\n  few: {train: " +
                    at +
                    "few.tsv, text: text, id: id, bad_rows: skip, "
                    "max_length: 20, " +
                    data + "}\n");
  }
  std::vector<nn::Json> rows() const {
    std::vector<nn::Json> list;
    for (const std::string& line : split(read_file(stage_folder("more") / "rows.jsonl"), '\n'))
      if (!line.empty()) list.push_back(nn::Json::parse(line));
    return list;
  }
};

TEST_F(AugmentRows, AreCopiesBehindTheirRowsWithItsLabel) {
  const Recipe all = load(recipe(", copies: 6, candidates: 40, probability: 1"));
  EXPECT_THAT(plan_text(all), testing::AllOf(HasSubstr("neighbours from its input embeddings"),
                                             HasSubstr("rows of text, score, id")));
  run_it(all);
  const std::vector<nn::Json> made = rows();
  ASSERT_GT(made.size(), 4U);
  EXPECT_EQ(made[0].at("text"), "The film plots");
  EXPECT_EQ(made[0].at("id"), "a");
  size_t second = 0;
  for (size_t i = 1; i < made.size(); ++i) {
    const std::string text = made[i].at("text");
    if (text == "bad film") second = i;
    if (second > 0) continue;
    EXPECT_EQ(made[i].at("score"), "1.5");
    EXPECT_EQ(made[i].at("id"), str("a.", i));
    EXPECT_THAT(text, testing::MatchesRegex("The [a-z]+ [a-z]+"));
    EXPECT_THAT(text, testing::Not(HasSubstr("plots")));
  }
  ASSERT_GT(second, 1U);
  EXPECT_EQ(made[second].at("score"), "-2");
  // A function of the seed, whatever ran before; another one of another seed.
  const std::string before = read_file(stage_folder("more") / "rows.jsonl");
  run_it(load(all.resolved, {"stages.more.augment_rows.batch=2"}), /*fresh=*/true);
  EXPECT_EQ(read_file(stage_folder("more") / "rows.jsonl"), before);
  run_it(load(all.resolved, {"stages.more.augment_rows.seed=5"}));
  EXPECT_NE(read_file(stage_folder("more") / "rows.jsonl"), before);
}

TEST_F(AugmentRows, KeepTheRowsAloneWithoutProbability) {
  run_it(load(recipe(", copies: 6, probability: 0")));
  const std::vector<nn::Json> made = rows();
  ASSERT_EQ(made.size(), 2U);
  EXPECT_EQ(made[1].at("text"), "bad film");
}

// The one candidate of a word is what the model says at its place when it alone is masked and the
// text follows once more; a file of vectors decides for words of several tokens.
TEST_F(AugmentRows, FillersAreTheModelsOwnAndNeighboursTheFiles) {
  write_file(root_ / "glove.txt", "plots 1 0\nscenes 0.9 0.1\nsongs 0 1\n");
  const std::string vectors = ", vectors: " + (root_ / "glove.txt").string();
  const Recipe one = load(recipe(", copies: 1, candidates: 1, probability: 1" + vectors));
  run_it(one);
  EXPECT_THAT(rows().at(1).at("text").get<std::string>(), testing::EndsWith(" scenes"));

  const exports::LoadedModel lm = exports::load(stage_folder("lm") / "model");
  const auto tokenizer = checkpoint::load_tokenizer(stage_folder("lm") / "model");
  write_file(root_ / "pair.tsv", "a\tb\nThe [MASK] plots\tThe film plots\n");
  data::DatasetOptions options = one.dataset("few");
  options.train.file = (root_ / "pair.tsv").string();
  options.task = "unlabelled";
  options.text = "a";
  options.pair = "b";
  options.label = options.id = "";
  options.max_length = 40;
  const data::Split split = data::load_split(options, "train", *tokenizer);
  data::Batch batch = data::pack(split, std::vector<int64_t>{0});
  lm.model->params().refresh(nn::Precision::float32);
  const torch::Tensor logits = lm.model->forward(batch, {}, {}).token_logits;
  const int32_t mask = tokenizer->special_ids().mask;
  const int64_t place = batch.token_ids.eq(mask).nonzero()[0][0].item<int64_t>();
  const std::string filler(
      *tokenizer->id_to_token(static_cast<int32_t>(logits[place].argmax().item<int64_t>())));
  const std::string made = rows().at(1).at("text");
  // A filler that continues a word, or is none, leaves the word as it is.
  const bool a_word = filler[0] != '[' && filler[0] != '#';
  EXPECT_THAT(made, testing::StartsWith("The " + (a_word ? filler : "film") + " "));
  // The file is a part of the stage's identity by its content, wherever it lies.
  EXPECT_EQ(how(run_it(one)), "skipped skipped");
  write_file(root_ / "glove.txt", "plots 1 0\nscenes 0 1\nsongs 0.9 0.1\n");
  EXPECT_EQ(how(run_it(one)), "skipped ran");
  EXPECT_THAT(rows().at(1).at("text").get<std::string>(), testing::EndsWith(" songs"));
}

TEST_F(AugmentRows, WhatCannotBeReplacedIsRefusedBeforeAnythingRuns) {
  auto refused = [&](const std::string& yaml) {
    return tiny::error_of(ErrorKind::recipe, [&] { run_it(load(yaml)); });
  };
  EXPECT_THAT(
      refused(text("  - name: more\n    augment_rows: {model: " + base() + ", data: films}\n")),
      testing::AllOf(HasSubstr("does not say what may stand in a word's place"),
                     HasSubstr("(stages.more.augment_rows.model)")));
  EXPECT_THAT(refused(recipe(", vectors: none.txt")), HasSubstr("'none.txt' does not exist"));
  EXPECT_THAT(refused(recipe("", "task: language_model")),
              HasSubstr("rows of the task 'language_model'"));
  EXPECT_THAT(refused(recipe(", probability: 1.5")), HasSubstr("probability"));
  EXPECT_FALSE(fs::exists(root_ / "run"));
}

}  // namespace
}  // namespace compress::pipeline
