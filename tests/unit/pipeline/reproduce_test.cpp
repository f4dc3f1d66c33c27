// Recipes of systems: stages that they share, results that are kept, tables that are made of them.

#include "compress/pipeline/reproduce.h"

#include <gmock/gmock.h>

#include <functional>

#include "compress/base/error.h"
#include "report/claims.h"
#include "report/kept_runs.h"
#include "unit/pipeline/folder.h"

namespace compress::pipeline {
namespace {

using testing::HasSubstr;
using testing::Not;

class Reproduce : public Folder {
 protected:
  void SetUp() override {
    Folder::SetUp();
    fs::create_directories(root_ / "configs/sys/quick");
    fs::create_directories(root_ / "configs/sys/full");
    fs::create_directories(root_ / "docs/papers");
    for (const char* page : {"docs/results.md", "docs/papers/sys.md"})
      write_file(root_ / page, "# Results\n\n<!-- results -->\n<!-- /results -->\n\nBelow.\n");
    options_.places = {root_ / "configs"};
    options_.seeds = {1, 2};
    options_.folder = root_ / "runs";
    options_.results = root_ / "docs/results";
    options_.documents = root_ / "docs";
  }

  // Two stages, the first one the same in all; `expect` is a list.
  fs::path add(const std::string& name, int steps, const std::string& expect = "[]") const {
    const fs::path file = root_ / "configs/sys" / (name + ".yaml");
    write_file(file, text(stage("plain", base(), 2) + stage("other", base(), steps),
                          "expect: " + expect + "\n"));
    return file;
  }
  fs::path model(const std::string& recipe, int seed) const {
    return root_ / "runs/sys" / recipe / str("seed-", seed) /
           "stages/plain/model/model.safetensors";
  }
  std::string text_without_test() const {
    return text(stage("plain", base(), 2),
                "expect: [{stage: plain, metric: accuracy, at_least: 0.5, published: 0.031}]\n");
  }
  std::string page(const char* name) const { return read_file(root_ / "docs" / name); }

  ReproduceOptions options_;
};

constexpr const char* above =
    "[{stage: other, metric: accuracy, above: plain, p: 0.05, claim: longer is better}]";

TEST_F(Reproduce, StagesOfOneIdentityRunOnce) {
  add("quick/a", 1);
  add("quick/b", 3);
  EXPECT_TRUE(reproduce(options_).empty());
  EXPECT_TRUE(fs::equivalent(model("quick/a", 1), model("quick/b", 1)));
  EXPECT_FALSE(fs::equivalent(model("quick/a", 1), model("quick/a", 2)));
  const std::vector<KeptRun> kept = read_kept_runs(root_ / "docs/results/sys.jsonl");
  ASSERT_EQ(kept.size(), 4U);
  EXPECT_EQ(kept[0].seed, 1);
  EXPECT_EQ(kept[1].seed, 2);
  EXPECT_THAT(kept[2].recipe, HasSubstr("quick/b.yaml"));
  EXPECT_EQ(kept[0].hash, kept[1].hash);
  EXPECT_NE(kept[0].hash, kept[2].hash);
  // A second call finds all finished and leaves the same lines.
  const std::string before = read_file(root_ / "docs/results/sys.jsonl");
  reproduce(options_);
  EXPECT_EQ(read_file(root_ / "docs/results/sys.jsonl"), before);
}

TEST_F(Reproduce, AStageThatWasDamagedIsNotTaken) {
  add("quick/a", 1);
  reproduce(options_);
  const std::string bytes = read_file(model("quick/a", 1));
  write_file(model("quick/a", 1), bytes.substr(0, bytes.size() / 2));
  add("quick/b", 1);
  options_.places = {root_ / "configs/sys/quick/b.yaml"};
  reproduce(options_);
  EXPECT_EQ(read_file(model("quick/b", 1)), bytes);
}

TEST_F(Reproduce, KeptRowsJudgeAsTheRunsDo) {
  const fs::path file = add("quick/a", 6, above);
  const std::vector<Expectation> found = reproduce(options_);
  ASSERT_EQ(found.size(), 1U);
  std::vector<fs::path> folders;
  std::vector<std::vector<StageResult>> stages;
  for (const KeptRun& run : read_kept_runs(root_ / "docs/results/sys.jsonl")) {
    folders.push_back(root_ / "runs/sys/quick/a" / str("seed-", run.seed));
    stages.push_back(run.stages);
  }
  const std::vector<Expectation> again =
      judge(load_recipe(file).options.expect, mean_stages(stages), 2, scores_in(folders));
  EXPECT_EQ(found[0].text, again.at(0).text);
  EXPECT_THAT(found[0].text, HasSubstr("2 seeds, n 10"));
}

TEST_F(Reproduce, TablesAreMadeOfWhatIsKept) {
  const fs::path file = add("quick/a", 6, above);
  add("full/long", 50, above);
  EXPECT_THAT(write_result_tables(options_, false), HasSubstr("not run"));
  reproduce(options_);
  EXPECT_THROW(write_result_tables(options_, true), Error);
  EXPECT_THAT(page("results.md"), Not(HasSubstr("2 seeds")));
  write_result_tables(options_, false);
  EXPECT_NO_THROW(write_result_tables(options_, true));
  EXPECT_THAT(page("results.md"), HasSubstr("| sys | quick/a | longer is better | other accuracy"));
  EXPECT_THAT(page("results.md"), HasSubstr("| sys | full/long | longer is better |  | not run |"));
  EXPECT_THAT(page("papers/sys.md"), HasSubstr("| quick/a | other | accuracy | "));
  EXPECT_THAT(page("papers/sys.md"), HasSubstr("Below.\n"));
  // A claim in other words stays measured, another stage does not.
  const std::string yaml = read_file(file);
  std::string other = yaml;
  other.replace(other.find("longer is better"), 16, "six are better");
  write_file(file, other);
  write_result_tables(options_, false);
  EXPECT_THAT(page("results.md"), HasSubstr("| six are better | other accuracy"));
  other = yaml;
  other.replace(other.find("for: 6 steps"), 12, "for: 7 steps");
  write_file(file, other);
  write_result_tables(options_, false);
  EXPECT_THAT(page("results.md"), HasSubstr("not run since it was changed"));
}

TEST_F(Reproduce, TheSignOfAPapersDifferenceStandsBesideTheMeasuredOne) {
  for (const char* page : {"results.md", "papers/sys.md"})
    EXPECT_THAT(this->page(page), Not(HasSubstr("| paper |")));
  const fs::path file = add("quick/a", 6,
                            "[{stage: other, metric: accuracy, above: plain, p: 0.05, published: "
                            "0.031, claim: up}, {stage: other, metric: accuracy, above: plain, p: "
                            "0.05, published: -0.031, claim: down}, {stage: other, metric: "
                            "accuracy, above: plain, p: 0.05, claim: unknown}]");
  write_result_tables(options_, false);
  EXPECT_THAT(page("results.md"), HasSubstr("| sys | quick/a | up |  | +0.0310 | not run |"));
  const std::vector<Expectation> found = reproduce(options_);
  ASSERT_EQ(found.size(), 3U);
  write_result_tables(options_, false);
  const double gain = found[0].value;
  auto beside = [&](double sign) {
    return gain == 0 ? " |" : gain * sign > 0 ? ", same sign |" : ", other sign |";
  };
  const std::string text = page("papers/sys.md");
  EXPECT_THAT(text, HasSubstr("| task | claim | measured | paper | verdict |"));
  EXPECT_THAT(text, HasSubstr(std::string("| +0.0310") + beside(1)));
  EXPECT_THAT(text, HasSubstr(std::string("| -0.0310") + beside(-1)));
  // It goes with a test.
  write_file(file, text_without_test());
  EXPECT_THAT(tiny::error_of(ErrorKind::recipe, [&] { load_recipe(file); }),
              HasSubstr("`published` goes with above or within"));
}

TEST_F(Reproduce, VerdictsAreCountedInThePageOfSystems) {
  write_file(root_ / "docs/systems.md", "# Systems\n\n<!-- results -->\n<!-- /results -->\n");
  add("quick/a", 6,
      "[{stage: other, metric: accuracy, at_least: 0}, {stage: other, metric: accuracy, at_least: "
      "2}]");
  add("full/long", 50, above);
  reproduce(options_);
  write_result_tables(options_, false);
  EXPECT_THAT(page("systems.md"),
              HasSubstr("| system | claims | held | MISSED | undecided | not run |"));
  EXPECT_THAT(page("systems.md"),
              HasSubstr("| sys | 3 | 1 | 1 | 0 | 1 |\n| all | 3 | 1 | 1 | 0 | 1 |"));
  EXPECT_NO_THROW(write_result_tables(options_, true));
  write_file(root_ / "docs/systems.md", "<!-- results -->\n| all | 9 |\n<!-- /results -->\n");
  EXPECT_THAT(tiny::error_of(ErrorKind::expectation, [&] { write_result_tables(options_, true); }),
              HasSubstr("systems.md"));
}

// A page of all systems is not made of some, nor a system's page of one of its recipes.
TEST_F(Reproduce, NamedPlacesLeaveTheOthersTables) {
  const fs::path one = add("quick/a", 1, "[{stage: other, metric: accuracy, at_least: 0}]");
  add("quick/b", 2, "[{stage: other, metric: accuracy, at_least: 0}]");
  fs::create_directories(root_ / "configs/second/quick");
  fs::copy(one, root_ / "configs/second/quick/c.yaml");
  options_.seeds = {1};
  reproduce(options_);
  write_result_tables(options_, false);
  const std::string all = page("results.md"), system = page("papers/sys.md");
  for (const fs::path& place : {root_ / "configs/sys", one}) {
    options_.places = {place};
    EXPECT_NO_THROW(write_result_tables(options_, true));
    write_result_tables(options_, false);
    EXPECT_EQ(page("results.md"), all);
    EXPECT_EQ(page("papers/sys.md"), system);
  }
}

TEST_F(Reproduce, ARecipeThatFailsDoesNotHinderTheOthers) {
  add("quick/a", 1);
  write_file(root_ / "configs/sys/quick/a.yaml", "name: broken\nstages: 3\n");
  add("quick/b", 1);
  EXPECT_THROW(reproduce(options_), Error);
  EXPECT_EQ(read_kept_runs(root_ / "docs/results/sys.jsonl").size(), 2U);
}

// A run that stands twice would count twice, in the means and in the tests.
TEST_F(Reproduce, RefusesARunThatStandsTwice) {
  add("quick/a", 1, above);
  reproduce(options_);
  const fs::path file = root_ / "docs/results/sys.jsonl";
  const std::string kept = read_file(file);
  const std::string first = kept.substr(0, kept.find('\n') + 1);
  write_file(file, kept + "\n" + first);
  for (const auto& call : {std::function<void()>([&] { write_result_tables(options_, false); }),
                           std::function<void()>([&] { write_result_tables(options_, true); }),
                           std::function<void()>([&] { reproduce(options_); })})
    EXPECT_THAT(tiny::error_of(ErrorKind::data, call),
                testing::AllOf(HasSubstr("sys/quick/a.yaml with seed 1 is in line 1 too"),
                               HasSubstr("sys.jsonl:4"), HasSubstr("remove one of the two")));
  EXPECT_EQ(read_file(file), kept + "\n" + first);
  EXPECT_THAT(page("results.md"), Not(HasSubstr("seeds")));
}

TEST_F(Reproduce, RefusesWhatIsNoKeptRunByItsLine) {
  fs::create_directories(root_ / "docs/results");
  write_file(root_ / "docs/results/sys.jsonl", "\n{\"recipe\": 3}\n");
  try {
    read_kept_runs(root_ / "docs/results/sys.jsonl");
    FAIL() << "it was read";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::data);
    EXPECT_THAT(error.what(), HasSubstr("sys.jsonl:2"));
  }
  options_.places = {root_ / "nowhere"};
  EXPECT_THROW(reproduce(options_), Error);
}

}  // namespace
}  // namespace compress::pipeline
