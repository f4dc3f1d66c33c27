// Expectations, tables and records, by hand.

#include <gmock/gmock.h>

#include <cmath>

#include "compress/base/files.h"
#include "compress/eval/kept.h"
#include "compress/nn/pattern.h"
#include "report/result.h"
#include "report/waterfall.h"
#include "run/description.h"
#include "unit/pipeline/folder.h"

namespace compress::pipeline {
namespace {

using testing::HasSubstr;

StageResult trained(const std::string& name, double validation, double test) {
  StageResult result;
  result.name = name;
  result.kind = "train";
  result.identity = "i-" + name;
  result.inputs = "seed: 1\n";
  result.files = {{"model/config.json", 12, "ab"}};
  result.made_from = {{"earlier", "cd"}};
  result.seconds = 61;
  result.steps = 10;
  result.best_step = 5;
  result.validation = {{"accuracy", validation, 8, ""}};
  result.test = {{"accuracy", test, 10, ""}, {"f1", 0.5, 10, "a note"}};
  result.census = {1000, 250, 800, 200};
  result.pattern = "blocks of 1x4, 1.20% of zeros outside of them";
  result.bytes = 4000;
  result.notes = {"something happened"};
  return result;
}

exports::Report exported() {
  exports::Report report;
  report.format = "huggingface";
  report.folder = "run/stages/out/huggingface";
  report.bytes = 5000;
  report.weight_bytes = 2000;
  report.largest_difference = 0.25;
  report.scale = 2;
  report.rows = 7;
  report.ours = {"accuracy", 0.75, 7, ""};
  report.reread = {"accuracy", 0.5, 7, ""};
  return report;
}

ExpectOptions expecting(const std::string& stage) {
  ExpectOptions options;
  options.stage = stage;
  options.metric = "accuracy";
  return options;
}

TEST(Judging, ComparesWithBounds) {
  const std::vector<StageResult> stages = {trained("a", 0.5, 0.75)};
  ExpectOptions both = expecting("a");
  both.at_least = 0.75;
  both.at_most = 0.7;
  ExpectOptions validation = expecting("a");
  validation.split = "validation";
  validation.at_least = 0.51;
  const std::vector<Expectation> found = judge({both, validation}, stages);
  ASSERT_EQ(found.size(), 3U);
  EXPECT_TRUE(found[0].held);
  EXPECT_EQ(found[0].text, "a accuracy (test) 0.7500 >= 0.7500");
  EXPECT_FALSE(found[1].held);
  EXPECT_EQ(found[1].text, "a accuracy (test) 0.7500 <= 0.7000");
  EXPECT_FALSE(found[2].held);
  EXPECT_EQ(found[2].value, 0.5);
  EXPECT_EQ(found[2].bound, 0.51);
}

TEST(Judging, ComparesStages) {
  const std::vector<StageResult> stages = {trained("a", 0, 0.75), trained("b", 0, 0.5)};
  ExpectOptions drop = expecting("b"), gain = expecting("a");
  drop.of = "a";
  drop.drop_at_most = 0.25;
  gain.of = "b";
  gain.gain_at_least = 0.5;
  const std::vector<Expectation> found = judge({drop, gain}, stages);
  EXPECT_TRUE(found[0].held);
  EXPECT_EQ(found[0].text, "b accuracy (test) 0.5000 >= a 0.7500 - 0.25 (not tested)");
  EXPECT_FALSE(found[1].held);
  EXPECT_EQ(found[1].text, "a accuracy (test) 0.7500 >= b 0.5000 + 0.5 (not tested)");
}

// Predictions of 40 rows of which a stage has the first `right` right, for one seed.
void write_predicted(const std::filesystem::path& run, const std::string& stage, int right) {
  std::string text;
  for (int row = 0; row < 40; ++row)
    text += str("{\"row\": ", row + 2, ", \"prediction\": \"", row < right ? "a" : "b",
                "\", \"label\": \"a\", \"score\": 0.5}\n");
  make_folder(run / "stages" / stage);
  write_file(run / "stages" / stage / "predictions-test.jsonl", text);
}

class Tested : public tiny::Scratch {};

TEST_F(Tested, VerdictsFollowThePairedTest) {
  for (int seed : {1, 2}) {
    const std::filesystem::path run = root_ / str("seed-", seed);
    write_predicted(run, "good", 36 + seed);
    write_predicted(run, "near", 36);
    write_predicted(run, "poor", 10 + seed);
  }
  const std::vector<std::filesystem::path> folders = {root_ / "seed-1", root_ / "seed-2"};
  auto judged = [&](const std::string& stage, const std::string& above, double within) {
    ExpectOptions options = expecting(stage);
    options.p = 0.05;
    if (within > 0) {
      options.of = above;
      options.within = within;
    } else {
      options.above = above;
    }
    return judge({options}, {}, 2, scores_in(folders)).at(0);
  };
  const Expectation held = judged("good", "poor", 0);
  EXPECT_TRUE(held.held);
  EXPECT_NEAR(held.value, 26 / 40.0, 1e-12);
  EXPECT_THAT(held.text, HasSubstr("good accuracy (test) above poor: +0.6500 ["));
  EXPECT_THAT(held.text, HasSubstr("2 seeds, n 40, smallest visible"));
  const Expectation missed = judged("poor", "good", 0);
  EXPECT_FALSE(missed.held || missed.undecided);
  EXPECT_EQ(missed.verdict(), "MISSED  ");
  EXPECT_TRUE(judged("good", "near", 0).undecided);  // 1.5 rows of 40
  EXPECT_TRUE(judged("near", "good", 0.2).held);     // worse by 0.0375, but not by 0.2
  const Expectation absent = judged("good", "nobody", 0);
  EXPECT_TRUE(absent.undecided);
  EXPECT_THAT(absent.text, HasSubstr("there are no predictions"));
}

TEST_F(Tested, DamagedPredictionsAreNamed) {
  const std::filesystem::path file = root_ / "predictions-test.jsonl";
  for (const char* text :
       {"", "{\n", "[1]\n", "{\"row\": \"x\", \"prediction\": 1, \"label\": 1}\n",
        "{\"row\": 1, \"prediction\": \"a\", \"label\": 1}\n",
        "{\"row\": 1, \"prediction\": \"a\", \"label\": \"a\"}\n{\"row\": 2, "
        "\"prediction\": 1, \"label\": 1}\n"}) {
    write_file(file, text);
    EXPECT_THAT(tiny::error_of(ErrorKind::data, [&] { eval::read_predictions(file); }),
                HasSubstr("predictions-test.jsonl:"))
        << text;
  }
}

TEST(Judging, AMissingNumberDoesNotHold) {
  ExpectOptions unknown = expecting("a");
  unknown.metric = "matthews";
  unknown.at_least = -1;
  ExpectOptions other = expecting("a");
  other.of = "b";
  other.drop_at_most = 1;
  for (const Expectation& found : judge({unknown, other}, {trained("a", 1, 1)}))
    EXPECT_FALSE(found.held) << found.text;
}

TEST(Judging, ReadsNumbersThatAStageLeft) {
  const nn::Json numbers = {{"layers", {0.5, 0.25}}, {"deep", {{"er", 3}}}, {"word", "x"}};
  EXPECT_EQ(number_at(numbers, "layers.1"), 0.25);
  EXPECT_EQ(number_at(numbers, "deep.er"), 3);
  for (const char* path : {"layers", "layers.2", "layers.x", "layers.-1", "word", "deep.er.0", ""})
    EXPECT_TRUE(std::isnan(number_at(numbers, path))) << path;
  StageResult measured;
  measured.name = "m";
  measured.numbers = numbers;
  ExpectOptions high, missing;
  high.stage = missing.stage = "m";
  high.number = "layers.0";
  high.at_least = 0.5;
  missing.number = "layers.7";
  missing.at_most = 1;
  const std::vector<Expectation> found = judge({high, missing}, {measured});
  EXPECT_TRUE(found[0].held);
  EXPECT_EQ(found[0].text, "m layers.0 0.5000 >= 0.5000");
  EXPECT_FALSE(found[1].held);
}

TEST(Records, ComeBackAsTheyWere) {
  StageResult result = trained("a", 0.5, 0.75);
  result.exports = {exported()};
  result.numbers = {{"layers", {0.5, 1}}};
  result.validation.push_back({"spearman", std::nan(""), 8, "undefined"});
  const StageResult back = stage_from_json(nn::Json::parse(record_json(result).dump()));
  EXPECT_EQ(record_json(back).dump(), record_json(result).dump());
  EXPECT_TRUE(std::isnan(back.validation.at(1).value));
  EXPECT_EQ(back.files.at(0).bytes, 12U);
  EXPECT_EQ(back.pattern, result.pattern);
  EXPECT_EQ(back.made_from.at("earlier"), "cd");
  EXPECT_EQ(back.exports.at(0).reread.value, 0.5);
  EXPECT_EQ(back.numbers, result.numbers);
  // The result of a run names no files.
  EXPECT_FALSE(to_json(result).contains("files"));
}

TEST(Tables, TellStagesExportsAndSizes) {
  RunResult run;
  run.name = "tiny";
  run.seed = 13;
  StageResult last = trained("int8", 0.5, 0.5), out;
  last.census = {900, 500, 400, 200};  // half the encoder's weights, half of them zeros
  last.pattern = nn::single_zeros;
  last.quantized = true;
  last.skipped = true;
  out.name = "out";
  out.kind = "export";
  out.exports = {exported()};
  run.stages = {trained("teacher", 0.5, 0.75), last, out};
  ExpectOptions bound = expecting("teacher");
  bound.at_least = 0.7;
  run.expectations = judge({bound}, run.stages);
  EXPECT_TRUE(run.held());
  const std::string text = result_text(run);
  EXPECT_THAT(text, HasSubstr("25.00%, blocks of 1x4  "));  // 200 of 800
  EXPECT_THAT(text, HasSubstr("50.00%  "));                 // in no pattern
  EXPECT_THAT(text, HasSubstr("1 min 1 s (earlier run)"));
  EXPECT_THAT(text, HasSubstr("teacher to int8: 2.0x fewer, 2.0x sparser, 4x narrower: 16.0x"));
  EXPECT_THAT(text, HasSubstr("huggingface 2.0 kB (2.0x)"));
  EXPECT_THAT(text, HasSubstr("held    teacher accuracy (test) 0.7500 >= 0.7000"));
  run.expectations[0].held = false;
  EXPECT_FALSE(run.held());
  Recipe recipe;
  recipe.options.description = "A description.";
  recipe.options.paper.title = "A paper";
  const std::string markdown = result_markdown(run, recipe);
  for (const char* part : {"# tiny\n\nA description.\n\nPaper: A paper\n", "| out | huggingface |",
                           "- MISSED  teacher", "- int8: something happened", "Seed 13, compress "})
    EXPECT_THAT(markdown, HasSubstr(part));
  const nn::Json json = to_json(run, recipe);
  EXPECT_EQ(json.at("held"), false);
  EXPECT_EQ(json.at("stages").size(), 3U);
  EXPECT_EQ(json.at("expectations").at(0).at("bound"), 0.7);
}

// 100 numbers, 60 of them in tables; 30 of these and 10 others go. Zeros save 40 bytes, integers 20
// and 80, the rest 16; 84 are left, of which coding takes 14.
TEST(Tables, TellWhereTheBytesWent) {
  StageResult teacher = trained("teacher", 1, 1), out;
  teacher.begun = {100, 60};
  out.name = "release";
  out.kind = "export";
  out.census.parameters = 60;
  out.tables = 30;
  exports::Report report = exported();
  out.exports = {report};
  report.format = "smaller";
  report.weight_bytes = 70;
  report.rest = "bf16";
  report.savings = {40, 20, 80, 16};
  out.exports.push_back(report);
  const StageResult again = stage_from_json(record_json(out));
  EXPECT_EQ(again.exports[1].savings.tables, 80);
  EXPECT_EQ(again.exports[1].rest, "bf16");
  EXPECT_EQ(again.tables, 30);
  EXPECT_EQ(stage_from_json(record_json(teacher)).begun.tables, 60);
  const std::string text = waterfall({teacher, again}).markdown();
  EXPECT_THAT(text, HasSubstr("what teacher began with to release (smaller)"));
  for (const char* line :
       {"| the model as float32 |  | 400 B |", "| rows of embeddings | -120 B | 280 B |",
        "took or added | -40 B | 240 B |", "| zeros, a bit each | -40 B | 200 B |",
        "| layers as integers | -20 B | 180 B |", "| embeddings as integers | -80 B | 100 B |",
        "| the rest in bf16 | -16 B | 84 B |", "| coding, less scales and names | -14 B | 70 B |"})
    EXPECT_THAT(text, HasSubstr(line));
  teacher.begun = {};
  EXPECT_TRUE(waterfall({teacher, again}).empty());
}

TEST(Tables, OneTrainedStageHasNoSizesToCompare) {
  RunResult run;
  run.stages = {trained("a", 1, 1)};
  EXPECT_EQ(result_text(run).find("nominal"), std::string::npos);
}

TEST(Differences, AreNamedKeyByKey) {
  EXPECT_TRUE(differences("a: 1\nb: {c: [x, y]}\n", "b: {c: [x, y]}\na: 1\n").empty());
  EXPECT_THAT(differences("a: 1\nb: {c: [x, y]}\n", "a: 2\nb: {c: [x, z]}\nd: {e: {}}\n"),
              testing::ElementsAre("a: 1 -> 2", "b.c[1]: y -> z", "d.e: (none) -> (defaults)"));
  const std::string one(64, 'a'), two(64, 'b');
  EXPECT_THAT(
      differences("data: {train: " + one + "}\nreading: {text: x}\n",
                  "data: {train: " + two + ", test: " + one + "}\nreading: {text: y}\n"),
      testing::ElementsAre("data.text: x -> y", "data.test: added", "data.train: other content"));
  // How data is read does not matter where it is the same data for all that.
  EXPECT_TRUE(differences("reading: {stride: 1}\n", "reading: {stride: 2}\n").empty());
}

}  // namespace
}  // namespace compress::pipeline
