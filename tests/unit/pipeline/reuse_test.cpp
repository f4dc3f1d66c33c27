// What a run takes over from an earlier one in its folder, and what it refuses.

#include <gmock/gmock.h>
#include <sys/wait.h>

#include "compress/base/hash.h"
#include "run/run_folder.h"
#include "unit/pipeline/folder.h"

namespace compress::pipeline {
namespace {

using testing::HasSubstr;
using testing::Not;

class Reuse : public Folder {
 protected:
  std::string two_stages() const {
    return text(stage("a", base(), 2) + stage("b", "a", 2, ", checkpoint: 1 step"));
  }
  // What a second run makes of the first one's folder.
  std::string again(const Recipe& recipe) { return how(run_it(recipe)); }
  void cut(const fs::path& file) const { fs::resize_file(file, fs::file_size(file) / 2); }
  // Changes one byte of a file, not its size.
  void damage(const fs::path& file) const {
    std::string bytes = read_file(file);
    bytes.back() = static_cast<char>(bytes.back() ^ 1);
    write_file(file, bytes);
  }
};

TEST_F(Reuse, FinishedStagesAreSkipped) {
  const Recipe recipe = load(two_stages());
  const RunResult first = run_it(recipe);
  EXPECT_EQ(how(first), "ran ran");
  const RunResult second = run_it(recipe);
  EXPECT_EQ(how(second), "skipped skipped");
  EXPECT_EQ(second.stages[1].test.at(0).value, first.stages[1].test.at(0).value);
  EXPECT_EQ(second.stages[1].identity, first.stages[1].identity);
  EXPECT_EQ(second.stages[1].made_from, first.stages[1].made_from);
  EXPECT_FALSE(fs::exists(state_file("b")));
}

TEST_F(Reuse, ARecordNamesEveryFileWithSizeAndHash) {
  run_it(load(two_stages()));
  const nn::Json files = record("a").at("files");
  std::vector<std::string> names;
  for (const nn::Json& file : files) names.push_back(file.at("path"));
  EXPECT_THAT(names, testing::IsSupersetOf(
                         {"model/config.json", "model/model.safetensors", "model/vocab.txt"}));
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  for (const nn::Json& file : files)
    EXPECT_EQ(file.at("bytes"), fs::file_size(stage_folder("a") / file.at("path")));
}

TEST_F(Reuse, AChangedOptionRunsTheStageAndThoseBehindItAgain) {
  run_it(load(two_stages()));
  (void)news();
  EXPECT_EQ(again(load(two_stages(), {"stages.a.train.batch=2"})), "ran ran");
  const std::string log = news();
  EXPECT_THAT(log, HasSubstr("a: its inputs changed (train.batch: 4 -> 2), it runs again"));
  EXPECT_THAT(log, HasSubstr("b: its inputs changed (models.model: other content)"));
}

TEST_F(Reuse, OptionsThatChangeNoUpdateChangeNoResult) {
  run_it(load(two_stages()));
  EXPECT_EQ(again(load(two_stages(),
                       {"stages.a.train.checkpoint=7 steps", "stages.a.train.evaluate={batch: 3}",
                        "stages.a.train.device=auto", "stages.b.train.seed=13"})),
            "skipped skipped");
  EXPECT_EQ(again(load(two_stages(), {"stages.b.train.seed=14"})), "skipped ran");
}

TEST_F(Reuse, ChangedDataRunsAgainAndTheWayItIsReadIsNamed) {
  run_it(load(two_stages()));
  (void)news();
  EXPECT_EQ(again(load(two_stages(), {"data.films.max_length=5"})), "ran ran");
  EXPECT_THAT(news(), HasSubstr("data.max_length: 12 -> 5"));
  write_rows("train.tsv", 20);
  EXPECT_EQ(again(load(two_stages(), {"data.films.max_length=5"})), "ran ran");
  const std::string log = news();
  EXPECT_THAT(log, HasSubstr("data.train: other content"));
  EXPECT_THAT(log, Not(HasSubstr("data.max_length")));
}

TEST_F(Reuse, AStageWithoutItsModelRunsAgain) {
  const Recipe recipe = load(two_stages());
  run_it(recipe);
  const std::string before = read_file(weights("a"));
  (void)news();
  fs::remove_all(stage_folder("a") / "model");
  const std::string what = again(recipe);  // what was made from the same bits holds
  EXPECT_EQ(what, read_file(weights("a")) == before ? "ran skipped" : "ran ran");
  const std::string log = news();
  EXPECT_THAT(log, HasSubstr("model/config.json is gone: it runs again"));
  EXPECT_EQ(again(recipe), "skipped skipped");
}

TEST_F(Reuse, AStageWhoseModelWasCutRunsAgain) {
  const Recipe recipe = load(two_stages());
  run_it(recipe);
  cut(weights("b"));
  EXPECT_EQ(again(recipe), "skipped ran");
  EXPECT_THAT(news(),
              testing::ContainsRegex("has [0-9,]+ bytes, and [0-9,]+ were written: it runs again"));
}

TEST_F(Reuse, AModelIsComparedWithItsHashWhenItIsRead) {
  const Recipe recipe = load(two_stages());
  run_it(recipe);
  damage(stage_folder("a") / "model/vocab.txt");  // small files are always compared
  EXPECT_FALSE(run_it(recipe).stages[0].skipped);
  EXPECT_THAT(news(), HasSubstr("vocab.txt is not the file that was written"));
}

TEST_F(Reuse, LargeFilesAreComparedWhenTheyAreUsed) {
  // Weights over a megabyte: 40,000 rows of embeddings.
  nn::TensorMap tensors = tiny::tensors();
  tensors["embeddings.word_embeddings.weight"] = torch::zeros({40000, 8});
  nn::Json config = tiny::config();
  config["vocab_size"] = 40000;
  tiny::write(root_ / "base", tensors, config);
  const Recipe recipe = load(two_stages());
  run_it(recipe);
  damage(weights("a"));
  EXPECT_EQ(again(recipe), "skipped skipped");
  EXPECT_EQ(again(load(two_stages(), {"stages.b.train.batch=2"})), "ran ran");
  EXPECT_THAT(news(), HasSubstr("model.safetensors is not the file that was written"));
}

TEST_F(Reuse, AResultMadeFromAnotherModelRunsAgain) {
  const Recipe recipe = load(two_stages());
  run_it(recipe);
  nn::Json json = record("b");
  EXPECT_EQ(json.at("made_from").size(), 1U);
  json["made_from"]["a"] = std::string(64, '0');
  write_record("b", json);
  EXPECT_EQ(again(recipe), "skipped ran");
  EXPECT_THAT(news(), HasSubstr("the model of stage 'a' is not the one that it was made from"));
}

TEST_F(Reuse, ExportsAreComparedAsWell) {
  const Recipe recipe = load(text(stage("a", base(), 1) +
                                  "  - name: out\n    export: {model: a, formats: [huggingface]}\n"
                                  "  - name: score\n    evaluate: {model: a, data: films}\n"));
  run_it(recipe);
  EXPECT_EQ(again(recipe), "skipped skipped skipped");
  fs::remove(stage_folder("out") / "huggingface/model.safetensors");
  EXPECT_EQ(again(recipe), "skipped ran skipped");
}

TEST_F(Reuse, RecordsOfTheFirstFormatCountWithTheSizesThatTheyHave) {
  const Recipe recipe =
      load(text(stage("a", base(), 1) + "  - name: out\n    export: {model: a}\n"));
  run_it(recipe);
  auto make_old = [&](const std::string& name) {
    nn::Json json = record(name);
    for (const char* key : {"files", "inputs", "made_from"}) json.erase(key);
    write_record(name, json);
  };
  make_old("a");
  make_old("out");
  EXPECT_EQ(again(recipe), "skipped skipped");
  cut(weights("a"));
  fs::remove_all(stage_folder("out") / "huggingface");
  EXPECT_EQ(again(recipe), "ran ran");
}

TEST_F(Reuse, ARecordThatCannotBeReadRunsAgain) {
  const Recipe recipe = load(two_stages());
  run_it(recipe);
  write_file(stage_folder("a") / "stage.json", "{\"name\": \"a\"");
  write_file(stage_folder("b") / "stage.json", "{}");
  EXPECT_EQ(again(recipe), "ran ran");
  EXPECT_THAT(news(), HasSubstr("stage.json cannot be read"));
}

TEST_F(Reuse, FreshForgetsAllStagesAtOnce) {
  const Recipe recipe = load(two_stages());
  run_it(recipe);
  std::atomic<bool> stop{true};
  RunOptions options;
  options.folder = root_ / "run";
  options.fresh = true;
  options.stop = &stop;
  tiny::error_of(ErrorKind::interrupted, [&] { run(recipe, options); });
  EXPECT_EQ(again(recipe), "ran ran");
  EXPECT_EQ(how(run_it(recipe, /*fresh=*/true)), "ran ran");
}

// A long stage that saves its state after every update.
class Interrupted : public Folder {
 protected:
  std::string yaml() const {
    return text(stage("a", base(), 100,
                      ", checkpoint: 1 step, evaluate: {every: 50 steps, select: accuracy}"));
  }
  std::string refusal(const std::vector<std::string>& overrides) {
    const std::string before = read_file(state_file("a"));
    const std::string error =
        tiny::error_of(ErrorKind::recipe, [&] { run_it(load(yaml(), overrides)); });
    EXPECT_EQ(read_file(state_file("a")), before);
    return error;
  }
};

TEST_F(Interrupted, GoesOnWithOtherOptionsThatChangeNoUpdate) {
  interrupt(load(yaml()), "a");
  const RunResult result = run_it(load(
      yaml(), {"stages.a.train.checkpoint=30 steps", "stages.a.train.device=auto",
               "stages.a.train.evaluate.batch=3", "stages.a.train.evaluate.metrics=[f1, accuracy]",
               "data.films.cache=" + (root_ / "cache").string()}));
  EXPECT_THAT(read_file(root_ / "run/log.txt"), HasSubstr("a: goes on at step "));
  EXPECT_EQ(result.stages[0].steps, 100);
}

TEST_F(Interrupted, RefusesOtherOptionsAndNamesThem) {
  interrupt(load(yaml()), "a");
  EXPECT_THAT(refusal({"stages.a.train.batch=2"}),
              testing::AllOf(HasSubstr("stage 'a' was stopped at step "), HasSubstr(" of 100 with"),
                             HasSubstr("train.batch: 4 -> 2"), HasSubstr("state.safetensors"),
                             HasSubstr("--fresh"), HasSubstr("undo the change")));
  EXPECT_THAT(refusal({"stages.a.train.evaluate.every=25 steps"}),
              HasSubstr("train.evaluate.every: 50 steps -> 25 steps"));
  EXPECT_THAT(refusal({"stages.a.train.evaluate.patience=3"}),
              HasSubstr("train.evaluate.patience: 0 -> 3"));
  EXPECT_THAT(refusal({"stages.a.train.evaluate.select=f1"}),
              HasSubstr("train.evaluate.select: accuracy -> f1"));
  EXPECT_THAT(refusal({"seed=7"}), HasSubstr("seed: 13 -> 7"));
  EXPECT_THAT(refusal({"stages.a.train.objectives=[labels: {weight: 0.5}]"}),
              HasSubstr("train.objectives[0].labels.weight: (none) -> 0.5"));
  EXPECT_THAT(refusal({"data.films.max_length=6"}), HasSubstr("data.max_length: 12 -> 6"));
  write_rows("dev.tsv", 6);
  EXPECT_THAT(refusal({}), HasSubstr("data.validation: other content"));
}

TEST_F(Interrupted, TheTestPartMayChange) {
  interrupt(load(yaml()), "a");
  write_rows("test.tsv", 6);
  run_it(load(yaml()));
  EXPECT_THAT(read_file(root_ / "run/log.txt"), HasSubstr("a: goes on at step "));
}

TEST_F(Interrupted, StartsAnewWhenItIsAskedTo) {
  interrupt(load(yaml()), "a");
  run_it(load(yaml(), {"stages.a.train.for=3 steps"}), /*fresh=*/true);
  EXPECT_THAT(read_file(root_ / "run/log.txt"), Not(HasSubstr("goes on at step")));
  EXPECT_FALSE(fs::exists(state_file("a")));
}

TEST_F(Interrupted, RefusesStatesThatItCannotJudge) {
  interrupt(load(yaml()), "a");
  checkpoint::RunState state = checkpoint::load_state(state_file("a"));
  state.texts.erase("inputs");
  checkpoint::save_state(state, state_file("a"));
  EXPECT_THAT(refusal({}), HasSubstr("of an earlier version of the program"));
  state.texts["inputs"] = "[";
  state.texts["progress"] = "no JSON";
  checkpoint::save_state(state, state_file("a"));
  EXPECT_THAT(refusal({}), testing::AllOf(HasSubstr("at an unknown step"),
                                          HasSubstr("record of the options cannot be read")));
  write_file(state_file("a"), "cut");
  EXPECT_THAT(tiny::error_of(ErrorKind::model, [&] { run_it(load(yaml())); }),
              HasSubstr("the saved state of stage 'a' cannot be read"));
}

TEST_F(Interrupted, AStateOfAFinishedStageIsRemoved) {
  const Recipe recipe = load(text(stage("a", base(), 1)));
  run_it(recipe);
  write_file(state_file("a"), "left by a process that was killed at the end of the stage");
  EXPECT_EQ(how(run_it(recipe)), "skipped");
  EXPECT_FALSE(fs::exists(state_file("a")));
}

TEST_F(Interrupted, AStateOfAnotherModelIsRefused) {
  // The options are the same, but stage a was made anew and came out otherwise.
  const std::string stages = stage("a", base(), 1) + stage("b", "a", 100, ", checkpoint: 1 step");
  interrupt(load(text(stages)), "b");
  nn::TensorMap tensors = tiny::tensors();
  tensors["classifier.bias"] += 1;
  tiny::write(stage_folder("a") / "model", tensors);
  nn::Json json = record("a");
  for (nn::Json& file : json["files"]) {
    const fs::path path = stage_folder("a") / file["path"];
    file["bytes"] = fs::file_size(path);
    file["sha256"] = sha256_file(path);
  }
  write_record("a", json);
  EXPECT_THAT(tiny::error_of(ErrorKind::recipe, [&] { run_it(load(text(stages))); }),
              HasSubstr("trained from other models or data"));
}

TEST_F(Folder, IsRefusedWhileAnotherRunHasIt) {
  const Recipe recipe = load(text(stage("a", base(), 1)));
  {
    const RunFolder held(root_ / "run");
    const std::string error = tiny::error_of(ErrorKind::disk, [&] { run_it(recipe); });
    EXPECT_THAT(error,
                HasSubstr(str("another run works in this folder: process ", ::getpid(), " on ")));
    EXPECT_THAT(error, testing::ContainsRegex("since [0-9]{4}-[0-9]{2}-[0-9]{2} "));
    EXPECT_THAT(error, HasSubstr((root_ / "run").string()));
    EXPECT_FALSE(fs::exists(root_ / "run/recipe.yaml"));
  }
  run_it(recipe);
  EXPECT_EQ(read_file(root_ / "run/run.lock"), "");
}

TEST_F(Folder, AKilledHolderLeavesNoLock) {
  const fs::path run = root_ / "run";
  const pid_t child = ::fork();
  if (child == 0) {
    const RunFolder held(run);
    ::raise(SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_THAT(read_file(run / "run.lock"), HasSubstr(str("process ", child, " on ")));
  EXPECT_NO_THROW(RunFolder held(run));
}

TEST_F(Folder, WhatKilledWritersLeftIsSwept) {
  const fs::path run = root_ / "run", stage = run / "stages/a";
  const std::vector<fs::path> ours = {
      run / ".result.json.77-1.tmp", stage / ".state.safetensors.77-0.tmp",
      stage / "model/.model.safetensors.77-3.tmp", stage / "model/1_Pooling/.config.json.77-3.tmp",
      stage / ".huggingface.77-4.partial"};
  const std::vector<fs::path> others = {
      run / "notes.tmp",        run / ".notes.tmp",         run / ".a.77-1.txt",
      stage / ".x.77-b.tmp",    stage / ".77-1.tmp",        stage / "huggingface.77-4.partial",
      stage / ".kept.77-4.old", stage / "deep/.y.77-4.tmp", root_ / ".z.77-4.tmp"};
  for (const fs::path& path : ours) {
    make_folder(path.parent_path());
    if (path.extension() == ".partial") {
      make_folder(path);
      write_file(path / "model.safetensors", "half");
    } else {
      write_file(path, "half");
    }
  }
  for (const fs::path& path : others) {
    make_folder(path.parent_path());
    write_file(path, "a user's");
  }
  const RunFolder held(run);
  for (const fs::path& path : ours) EXPECT_FALSE(fs::exists(path)) << path;
  for (const fs::path& path : others) EXPECT_TRUE(fs::exists(path)) << path;
}

}  // namespace
}  // namespace compress::pipeline
