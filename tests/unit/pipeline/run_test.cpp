// Whole runs on a tiny model: chains of stages, seeds, plans, benches and teachers' answers.

#include <gmock/gmock.h>

#include "compress/base/hash.h"
#include "compress/eval/kept.h"
#include "compress/pipeline/compare.h"
#include "materials/workbench.h"
#include "unit/pipeline/folder.h"

namespace compress::pipeline {
namespace {

using testing::HasSubstr;
using testing::Not;

class Runs : public Folder {
 protected:
  // A teacher, a student of one layer, and the student pruned and in int8, scored and exported.
  std::string chain() const {
    const std::string taught = ", teacher: teacher, objectives: [soft_labels: {temperature: 2}]";
    return text(
        stage("teacher", base(), 6, ", evaluate: {every: 3 steps}") +
            stage("student", "{from: teacher, drop_layers: {strategy: top, keep: 1}}", 4, taught) +
            stage("int8", "student", 4,
                  taught + ", pruning: {magnitude: {sparsity: 50%, pattern: {block: [1, 4]}}}, "
                           "quantization: {weights: int8, activations: int8}") +
            "  - name: scored\n    evaluate: {model: int8, data: films, metrics: [accuracy, f1]}\n"
            "  - name: release\n    export: {model: int8, formats: [huggingface, "
            "compressed-tensors, onnx]}\n",
        "expect:\n  - {stage: int8, metric: accuracy, at_least: 2}\n"
        "  - {stage: student, metric: accuracy, of: teacher, drop_at_most: 1}\n");
  }
};

TEST_F(Runs, ChainStagesToExports) {
  const RunResult result = run_it(load(chain()));
  ASSERT_EQ(result.stages.size(), 5U);
  const StageResult &teacher = result.stages[0], &student = result.stages[1],
                    &int8 = result.stages[2], &scored = result.stages[3],
                    &release = result.stages[4];
  // Each layer has 4 matrices of 8 x 8 and 2 of 8 x 16.
  EXPECT_EQ(teacher.census.encoder_linear, 2 * (4 * 64 + 2 * 128));
  EXPECT_EQ(student.census.encoder_linear, 4 * 64 + 2 * 128);
  EXPECT_EQ(teacher.census.parameters - student.census.parameters,
            4 * (64 + 8) + (128 + 16) + (128 + 8) + 2 * 16);
  EXPECT_GE(int8.census.encoder_linear_zeros, 256);  // rounding may make some more
  EXPECT_EQ(student.pattern, "");
  for (const StageResult* stage : {&int8, &scored, &release})
    EXPECT_THAT(stage->pattern, testing::StartsWith("blocks of 1x4")) << stage->name;
  EXPECT_GT(release.tables, 0);
  EXPECT_EQ(release.tables, teacher.tables);
  EXPECT_TRUE(int8.quantized);
  EXPECT_EQ(int8.bytes, static_cast<int64_t>(fs::file_size(weights("int8"))));
  EXPECT_THAT(student.notes, testing::Contains(HasSubstr("drop_layers: kept")));
  EXPECT_THAT(student.notes, testing::Contains(HasSubstr("teacher 'teacher' on validation")));
  // The same model on the same rows.
  EXPECT_EQ(scored.test.at(0).value, int8.test.at(0).value);
  EXPECT_EQ(scored.test.size(), 2U);
  EXPECT_EQ(scored.validation.at(0).n, 8);
  ASSERT_EQ(release.exports.size(), 3U);
  for (const exports::Report& made : release.exports) EXPECT_EQ(made.rows, 10);
  EXPECT_EQ(release.exports[1].largest_difference, 0);
  // A graph of integers, written by the process that trained (LibTorch has a protobuf of its own).
  EXPECT_LT(release.exports[2].largest_difference, 1e-5);
  EXPECT_TRUE(fs::exists(stage_folder("release") / "onnx/model.onnx"));
  EXPECT_LT(release.exports[1].weight_bytes, release.exports[0].weight_bytes);
  EXPECT_FALSE(result.held());
  EXPECT_FALSE(result.expectations[0].held);
  EXPECT_TRUE(result.expectations[1].held);
  const nn::Json kept = nn::Json::parse(read_file(root_ / "run/result.json"));
  EXPECT_EQ(kept.at("stages").size(), 5U);
  EXPECT_EQ(kept.at("stages").at(2).at("zero_pattern"), int8.pattern);
  EXPECT_THAT(read_file(root_ / "run/result.md"),
              testing::AllOf(HasSubstr("MISSED  int8"), HasSubstr("%, blocks of 1x4 |")));
  EXPECT_THAT(read_file(stage_folder("release") / "huggingface/compress_run.json"),
              HasSubstr("resolved_recipe"));
  EXPECT_THAT(read_file(root_ / "run/metrics.jsonl"), HasSubstr("validation/accuracy"));
}

// Two data sets in one stage: told in the plan, trained, scored on the one that is named.
TEST_F(Runs, MixDataSets) {
  write_rows("more.tsv", 60);
  write_rows("more_dev.tsv", 6);
  const std::string at = root_.string() + "/";
  const std::string data = "  more: {train: " + at + "more.tsv, validation: " + at +
                           "more_dev.tsv, text: text, label: label, max_length: 12}\n";
  const std::string stages =
      "  - name: both\n    train: {model: " + base() +
      ", data: {mix: {films: 2, more: 1}, epoch: 30, validation: more}, for: 2 epochs, " + common +
      "}\n";
  const Recipe recipe = load(text(stages, data));
  EXPECT_THAT(plan_text(recipe),
              HasSubstr("mixture       an epoch has 20 of films (24 rows), 10 of "
                        "more (60 rows); scored on more"));
  const RunResult result = run_it(recipe);
  ASSERT_EQ(result.stages.size(), 1U);
  EXPECT_EQ(result.stages[0].steps, 2 * 8);  // 30 rows in batches of 4
  EXPECT_EQ(result.stages[0].validation.at(0).n, 6);
  EXPECT_THAT(result.stages[0].notes,
              testing::Contains(HasSubstr("an epoch has 20 of films (24 rows), 10 of more")));
  EXPECT_EQ(how(run_it(recipe)), "skipped");
  // Rows of either data set decide what was trained.
  write_rows("train.tsv", 26);
  EXPECT_EQ(how(run_it(recipe)), "ran");
  const Recipe other = load(text(stages, data), {"stages.both.train.data.mix.films=1"});
  EXPECT_EQ(how(run_it(other)), "ran");
}

TEST_F(Runs, DoNotWriteOverWhatIsNoRuns) {
  const Recipe recipe = load(text(stage("a", base(), 1)));
  const std::string written = read_file(root_ / "recipe.yaml");
  RunOptions options;
  // Where the recipe itself lies, and into a model's folder.
  for (const fs::path& folder : {root_, fs::path(base())}) {
    options.folder = folder;
    EXPECT_THAT(tiny::error_of(ErrorKind::disk, [&] { run(recipe, options); }),
                HasSubstr("not one of a run"));
    EXPECT_FALSE(fs::exists(folder / "run.lock"));
  }
  EXPECT_EQ(read_file(root_ / "recipe.yaml"), written);
}

TEST_F(Runs, StopBetweenStages) {
  std::atomic<bool> stop{true};
  RunOptions options;
  options.folder = root_ / "run";
  options.stop = &stop;
  EXPECT_THAT(tiny::error_of(ErrorKind::interrupted, [&] { run(load(chain()), options); }),
              HasSubstr("stopped before stage 'teacher'; finished stages are kept"));
}

TEST_F(Runs, WithSeedsAreJudgedOnTheirMeans) {
  const fs::path file =
      write_recipe(text(stage("a", base(), 6, ", optimizer: {adamw: {lr: 1e-2}}"),
                        "expect:\n  - {stage: a, metric: accuracy, at_least: 0}\n"));
  RunOptions options;
  options.folder = root_ / "seeds";
  const SeedsResult result = run_seeds(file, {}, {1, 2, 3}, options);
  ASSERT_EQ(result.runs.size(), 3U);
  EXPECT_TRUE(result.held());
  double mean = 0, squares = 0;
  for (const RunResult& run : result.runs) mean += run.stages[0].test.at(0).value / 3;
  for (const RunResult& run : result.runs)
    squares += std::pow(run.stages[0].test.at(0).value - mean, 2);
  EXPECT_DOUBLE_EQ(result.expectations.at(0).value, mean);
  EXPECT_THAT(result.table, HasSubstr(fixed(mean, 4)));
  EXPECT_THAT(result.table, HasSubstr(fixed(std::sqrt(squares / 2), 4)));
  EXPECT_THAT(result.table, HasSubstr("seed 3"));
  // Other seeds, other weights; each in a folder of its own, with a lock of its own.
  auto weights_of = [&](int seed) {
    return sha256_file(root_ / str("seeds/seed-", seed, "/stages/a/model/model.safetensors"));
  };
  EXPECT_NE(weights_of(1), weights_of(2));
  EXPECT_TRUE(fs::exists(root_ / "seeds/seed-2/run.lock"));
  EXPECT_THAT(read_file(root_ / "seeds/result.md"), HasSubstr("# tiny: 3 seeds"));
  EXPECT_EQ(nn::Json::parse(read_file(root_ / "seeds/result.json")).at("runs").size(), 3U);
  const SeedsResult missed = run_seeds(file, {"expect[0].at_least=2"}, {1}, options);
  EXPECT_FALSE(missed.held());
  EXPECT_TRUE(missed.runs[0].stages[0].skipped);
  tiny::error_of(ErrorKind::recipe, [&] { run_seeds(file, {}, {}, options); });
  // A run without seeds has a folder of its own, and the other way round.
  EXPECT_THAT(tiny::error_of(ErrorKind::disk, [&] { run(load_recipe(file), options); }),
              HasSubstr("the runs of several seeds"));
  options.folder = root_ / "seeds/seed-2";
  EXPECT_THAT(tiny::error_of(ErrorKind::disk, [&] { run_seeds(file, {}, {1}, options); }),
              HasSubstr("a run without --seeds"));
}

TEST_F(Runs, KeepWhatWasSaidOfEachRowAndCompareIt) {
  const fs::path file = write_recipe(
      text(stage("a", base(), 12, ", optimizer: {adamw: {lr: 1e-2}}") +
               stage("b", base(), 1, ", optimizer: {adamw: {lr: 1e-9}}"),
           "expect:\n  - {stage: a, metric: accuracy, above: b, p: 0.05}\n  - {stage: a, metric: "
           "accuracy, of: b, within: 1, p: 0.5}\n"));
  RunOptions options;
  options.folder = root_ / "seeds";
  const SeedsResult result = run_seeds(file, {}, {1, 2}, options);
  ASSERT_EQ(result.expectations.size(), 2U);
  EXPECT_TRUE(result.expectations[1].held) << result.expectations[1].text;
  const fs::path kept = root_ / "seeds/seed-1/stages/a/predictions-test.jsonl";
  const eval::KeptPredictions said = eval::read_predictions(kept);
  EXPECT_EQ(said.rows.size(), 10U);
  EXPECT_DOUBLE_EQ(accuracy(said.predictions.classes, said.predictions.labels).value,
                   result.runs[0].stages[0].test.at(0).value);
  // A stage whose predictions are gone is run again.
  fs::remove(kept);
  EXPECT_FALSE(run_seeds(file, {}, {1}, options).runs[0].stages[0].skipped);
  const std::string table = compare({{root_ / "seeds", "b"}, {root_ / "seeds", "a"}});
  EXPECT_THAT(table, HasSubstr("b, a"));
  EXPECT_THAT(table, HasSubstr("2 seeds"));
  EXPECT_THAT(table, Not(HasSubstr("recipes differ")));
  EXPECT_THAT(compare({{root_ / "seeds/seed-1", ""}, {root_ / "seeds/seed-2", ""}}),
              HasSubstr("seed: 1 -> 2"));
  tiny::error_of(ErrorKind::recipe, [&] {
    compare({{root_ / "seeds", "c"}, {root_ / "seeds", ""}});
  });
  tiny::error_of(ErrorKind::recipe, [&] {
    compare({{root_ / "none", ""}, {root_ / "seeds", ""}});
  });
}

TEST_F(Runs, TestsNeedAMetricOfRows) {
  auto refused = [&](const std::string& expectation) {
    return tiny::error_of(ErrorKind::recipe, [&] {
      load(text(stage("a", base(), 1) + stage("b", base(), 1),
                "expect:\n  - {stage: a, " + expectation + "}\n"));
    });
  };
  EXPECT_THAT(refused("metric: f1_macro, above: b, p: 0.05"), HasSubstr("a mean over rows"));
  EXPECT_THAT(refused("metric: accuracy, above: b"), HasSubstr("`p` goes with above or within"));
  EXPECT_THAT(refused("metric: accuracy, within: 0.1, p: 0.05"), HasSubstr("`of` goes with"));
  EXPECT_THAT(refused("metric: accuracy, above: c, p: 0.05"), HasSubstr("'c'"));
}

TEST_F(Runs, RefuseATeacherBelowItsFloor) {
  const std::string teacher = ", objectives: [soft_labels: {}], teacher: {from: " + base();
  EXPECT_THAT(
      tiny::error_of(ErrorKind::recipe,
                     [&] { run_it(load(text(stage("a", base(), 1, teacher + ", floor: 1.1}")))); }),
      HasSubstr("and the recipe's floor is 1.1"));
  run_it(load(text(stage("a", base(), 1, teacher + ", floor: 0, metric: f1}"))));
}

TEST_F(Runs, AnswersThatAreKeptAreTheTeachers) {
  const std::string taught = ", objectives: [soft_labels: {}], teacher: {from: " + base();
  auto made = [&](const std::string& teacher) {
    fs::remove_all(root_ / "run");
    run_it(load(text(stage("a", base(), 4, taught + teacher + "}"))));
    return checkpoint::load_model(stage_folder("a") / "model").tensors;
  };
  const nn::TensorMap asked = made(", remember: false"), kept = made("");
  for (const auto& [name, value] : asked)
    EXPECT_TRUE(torch::allclose(value, kept.at(name), 1e-4, 1e-6)) << name;
  const std::string cache = ", cache: " + (root_ / "cache").string();
  const nn::TensorMap written = made(cache), read = made(cache);
  for (const auto& [name, value] : kept) {
    EXPECT_TRUE(torch::equal(value, written.at(name))) << name;
    EXPECT_TRUE(torch::equal(value, read.at(name))) << name;
  }
  EXPECT_THAT(read_file(root_ / "run/log.txt"),
              HasSubstr("a  teacher cache: logits of 24 rows read"));
  // Another folder changes no result, an objective that reads what no cache keeps is refused.
  run_it(load(text(stage("a", base(), 4, taught + ", cache: " + (root_ / "x").string() + "}"))));
  EXPECT_THAT(read_file(root_ / "run/log.txt"), HasSubstr("a: unchanged since an earlier run"));
  EXPECT_THAT(tiny::error_of(ErrorKind::model,
                             [&] {
                               run_it(load(text(stage(
                                   "b", base(), 4,
                                   taught + ", cache: {folder: " + (root_ / "empty").string() +
                                       ", missing: refuse}}"))));
                             }),
              HasSubstr("the teacher cache lacks logits"));
}

// One teacher reads the student's tokens, the other its own of the same rows: "film" is two of
// them.
TEST_F(Runs, TeachersByNameMayReadTheirOwnTokens) {
  nn::TensorMap tensors = tiny::tensors();
  for (auto& [name, tensor] : tensors) tensor = tensor * 0.9;
  tiny::write(root_ / "other", tensors);
  std::string vocabulary = read_file(root_ / "base/vocab.txt");
  for (const auto& [from, to] : {std::pair{"film\n", "fi\n"}, {"and\n", "##lm\n"}})
    vocabulary.replace(vocabulary.find(from), std::string(from).size(), to);
  tiny::write_tokenizer(root_ / "other");
  write_file(root_ / "other/vocab.txt", vocabulary);
  const std::string other = (root_ / "other").string();
  auto taught = [&](const std::string& big, const std::string& own, const std::string& terms) {
    return stage("a", base(), 4,
                 ", teachers: {big: {model: {from: " + base() + big + "}}, other: {model: {from: " +
                     other + own + "}}}, objectives: [" + terms + "]");
  };
  const std::string both = "soft_labels: {teacher: big, weight: 0.5}, logits_mse: {teacher: other}";
  auto made = [&](const std::string& big, const std::string& own) {
    fs::remove_all(root_ / "run");
    run_it(load(text(taught(big, own, both))));
    return checkpoint::load_model(stage_folder("a") / "model").tensors;
  };
  const std::string own = ", tokenizer: own";
  const nn::TensorMap kept = made("", own);
  EXPECT_THAT(read_file(root_ / "run/log.txt"),
              HasSubstr("a  teacher '" + other + "': logits of 24 rows kept in memory"));
  EXPECT_THAT(read_file(root_ / "run/log.txt"),
              HasSubstr("a  teacher '" + other + "' on validation"));
  const nn::TensorMap asked = made(", remember: false", own + ", remember: false");
  // The gradient of a key's bias is 0 but for rounding, which Adam makes as large as any.
  for (const auto& [name, value] : asked)
    if (!name.ends_with("attention.self.key.bias")) {
      EXPECT_TRUE(torch::allclose(value, kept.at(name), 1e-4, 1e-6)) << name;
    }
  const std::string cache = ", cache: " + (root_ / "cache").string();
  for (const nn::TensorMap& again : {made(cache, own + cache), made(cache, own + cache)})
    for (const auto& [name, value] : kept) EXPECT_TRUE(torch::equal(value, again.at(name))) << name;
  size_t entries = 0;
  for (const auto& entry : fs::directory_iterator(root_ / "cache")) entries += entry.is_directory();
  EXPECT_EQ(entries, 2U);  // one a teacher

  EXPECT_THAT(tiny::error_of(ErrorKind::recipe, [&] { run_it(load(text(taught("", "", both)))); }),
              HasSubstr("has another tokenizer than the student"));
  const std::string refused = tiny::error_of(ErrorKind::recipe, [&] {
    plan_text(load(text(taught("", own,
                               "soft_labels: {teacher: big}, hidden_states: {teacher: "
                               "other}"))));
  });
  EXPECT_THAT(refused, HasSubstr("compares hidden states of tokens, but the teacher 'other' reads "
                                 "other tokens"));
  EXPECT_THAT(refused, HasSubstr("objectives[1]"));
  EXPECT_THAT(
      tiny::error_of(ErrorKind::recipe,
                     [&] { load(text(taught("", own, "soft_labels: {}, logits_mse: {}"))); }),
      HasSubstr("which of the stage's teachers it reads"));
  const std::string plan = plan_text(load(text(taught("", own, both))));
  EXPECT_THAT(plan, HasSubstr("as 'other', with its own tokenizer"));
}

// What would else be found when the stages before have been trained, or never.
TEST_F(Runs, TellWhatHasNothingToActOn) {
  const std::string train = "train: " + (root_ / "train.tsv").string() + ", text: text, ";
  const std::string more = "  bare: {" + train + "label: label}\n  short: {" + train +
                           "task: unlabelled, min_length: 3}\n  cut: {" + train +
                           "task: unlabelled, max_length: 4, split_long: true}\n";
  auto told = [&](const std::string& last) {
    return tiny::error_of(ErrorKind::recipe,
                          [&] { plan_text(load(text(stage("a", base(), 2) + last, more))); });
  };
  auto on = [&](const std::string& data, const std::string& how) {
    std::string one = stage("b", "{from: " + base() + ", head: embedding}", 2, how);
    return one.replace(one.find("films"), 5, data);
  };
  const std::string evaluate = "  - name: b\n    evaluate: {model: a, data: ";
  EXPECT_THAT(told(evaluate + "bare}\n"), HasSubstr("neither a validation nor a test part"));
  EXPECT_THAT(told(evaluate + "films, num_beams: 4}\n"),
              HasSubstr("no metric reads what it writes"));
  EXPECT_THAT(told(evaluate + "films, null_threshold: 1}\n"), HasSubstr("for questions"));
  const std::string own =
      ", teacher: {from: " + base() + ", tokenizer: own}, objectives: [contrastive: {}]";
  EXPECT_THAT(told(on("short", own)), HasSubstr("are left out by tokens"));
  EXPECT_THAT(told(on("cut", own)), HasSubstr("are cut by tokens"));
  auto bare = [&](const std::string& how) {
    std::string one = stage("b", base(), 2, how);
    return one.replace(one.find("films"), 5, "bare");
  };
  EXPECT_THAT(told(bare(", evaluate: {select: accuracy}")), HasSubstr("no checkpoint is chosen"));
  EXPECT_THAT(told(bare(", evaluate: {patience: 2}")), HasSubstr("counts scores"));
  EXPECT_THAT(told(bare(", evaluate: {metrics: [accuracy]}")), HasSubstr("no part that is scored"));
  const std::string cache = (root_ / "train.tsv/cache").string();
  EXPECT_THAT(told(stage("b", base(), 2,
                         ", teacher: {from: " + base() + ", cache: " + cache +
                             "}, objectives: [soft_labels: {}]")),
              HasSubstr("train.tsv' is no folder"));
  const std::string masks = ", augment: [masking: {predict: all}, self_replacement: {}]";
  EXPECT_THAT(told(stage("b", "{from: " + base() + ", head: masked_lm}", 2, masks)),
              HasSubstr("those of the first would have no label"));
}

TEST_F(Runs, ACacheHoldsWhatObjectivesRead) {
  auto options = [&](const std::string& more) {
    return load(text(stage("a", base(), 1,
                           ", teacher: {from: " + base() +
                               ", cache: {folder: x, "
                               "hidden: all}}, objectives: " +
                               more)))
        .stage("a")
        ->kind.as<train::TrainOptions>();
  };
  const train::TrainOptions both = options("[soft_labels: {}, hidden_states: {}]");
  EXPECT_TRUE(reads_teacher_logits(both, "teacher"));
  EXPECT_FALSE(reads_teacher_logits(options("[hidden_states: {}]"), "teacher"));
  const std::unique_ptr<nn::Model> model = nn::build(tiny::state(), 1);
  train::Job job;
  job.options = &both;
  job.student = model.get();
  job.given = {{.config = &model->config()}};
  job.rows = 24;
  const train::Binding binding(job);
  const teacher::Wanted wanted = wanted_answers(*both.teacher, "teacher", binding);
  EXPECT_TRUE(wanted.logits);
  EXPECT_EQ(wanted.hidden, (std::vector<int64_t>{0, 1, 2}));
  EXPECT_THROW(options("[labels: {}]"), Error);  // a teacher that nothing reads
}

TEST_F(Runs, PlansTellSizesBeforeAnythingIsTrained) {
  const std::string plan = plan_text(load(chain()));
  // 40 + 12 + 2 rows of 8 and a norm; two layers; the pooler and two classes.
  const int64_t layer = 4 * (64 + 8) + (128 + 16) + (128 + 8) + 2 * 16;
  const int64_t all = 54 * 8 + 16 + 2 * layer + 72 + 18;
  EXPECT_THAT(plan, HasSubstr("model before  " + base() +
                              ": bert, 2 layers, 8 wide, 2 heads, head "
                              "classification {negative, positive}, " +
                              with_commas(all) + " parameters"));
  EXPECT_THAT(plan, HasSubstr("model after   bert, 1 layers, 8 wide, 2 heads, head classification "
                              "{negative, positive}, " +
                              with_commas(all - layer)));
  EXPECT_THAT(plan,
              HasSubstr("teacher       teacher: " + with_commas(all) + " parameters, frozen"));
  EXPECT_THAT(plan,
              HasSubstr("6 steps = 6 updates of 4 rows (24 rows, 6 updates an epoch), float32"));
  EXPECT_THAT(plan, HasSubstr("on disk       " + human_bytes(4.0 * static_cast<double>(all))));
  EXPECT_THAT(plan, HasSubstr("(every row 12 tokens long)"));
  EXPECT_THAT(plan, HasSubstr("pruned to 50% in blocks of 1x4 (global)"));
  EXPECT_THAT(plan, HasSubstr("12 matches, 1,024 weights"));  // 6 matrices, pruned and quantised
  EXPECT_THAT(plan, HasSubstr("evaluate int8 on films"));
  EXPECT_THAT(plan, HasSubstr("export int8 as huggingface, compressed-tensors"));
  EXPECT_FALSE(fs::exists(root_ / "run"));
}

TEST_F(Runs, BindEveryStageBeforeTheFirstIsTrained) {
  const std::string first = stage("a", base(), 2);
  auto refused = [&](const std::string& more) {
    const std::string error = tiny::error_of(
        ErrorKind::recipe, [&] { run_it(load(text(first + stage("b", "a", 2, more)))); });
    EXPECT_FALSE(fs::exists(root_ / "run")) << error;
    return error;
  };
  EXPECT_THAT(refused(", pruning: {magnitude: {sparsity: 50%, targets: [atention]}}"),
              testing::AllOf(HasSubstr("atention"), HasSubstr("(stages.b.train.pruning")));
  EXPECT_THAT(refused(", teacher: " + base() + ", objectives: [hidden_states: {map: {1: 7}}]"),
              HasSubstr("stages.b.train.objectives"));
  const std::string out = "  - name: out\n    export: {model: b, formats: [compressed-tensors]}\n";
  EXPECT_THAT(tiny::error_of(ErrorKind::recipe,
                             [&] { run_it(load(text(first + stage("b", "a", 1) + out))); }),
              testing::AllOf(HasSubstr("needs a model with quantised weights"),
                             HasSubstr("(stages.out.export.model)")));
  const std::string graph = "  - name: out\n    export: {model: b, formats: [onnx]}\n";
  const std::string attached = stage("b", "{from: a, lora: {rank: 2}}", 2);
  EXPECT_THAT(
      tiny::error_of(ErrorKind::recipe, [&] { plan_text(load(text(first + attached + graph))); }),
      testing::AllOf(HasSubstr("the format onnx has no graph for what is attached"),
                     HasSubstr("(stages.out.export.model)")));
  EXPECT_FALSE(fs::exists(root_ / "run"));
}

TEST_F(Runs, JudgeTheLabelsOfAllStagesBeforeTheFirstIsTrained) {
  auto refused = [&](const std::string& data) {
    const Recipe recipe = load(text(stage("a", base(), 2) +
                                        "  - name: b\n    train: {model: a, data: others, for: 1 " +
                                        "step, " + common + "}\n",
                                    "  others: {text: text, label: label, " + data + "}\n"));
    const std::string planned = tiny::error_of(ErrorKind::data, [&] { plan_text(recipe); });
    EXPECT_EQ(tiny::error_of(ErrorKind::data, [&] { run_it(recipe); }), planned);
    EXPECT_FALSE(fs::exists(root_ / "run")) << planned;
    return planned;
  };
  const std::string train = "train: " + (root_ / "train.tsv").string();
  EXPECT_THAT(refused(train + ", labels: [positive, neutral]"),
              testing::AllOf(HasSubstr("12 of 24 rows"), HasSubstr("train.tsv:3"),
                             HasSubstr("label \"negative\" is none of the 2 classes")));
  write_file(root_ / "odd.tsv", "text\tlabel\nthe film\tpositive\nthe plot\tpositvie\n");
  write_file(root_ / "short.tsv", "text\tlabel\nthe film\tpositive\nthe plot\n");
  EXPECT_THAT(refused(train + ", validation: " + (root_ / "short.tsv").string()),
              testing::AllOf(HasSubstr("short.tsv:3"), HasSubstr("a short row")));
  EXPECT_THAT(refused(train + ", test: " + (root_ / "odd.tsv").string()),
              testing::AllOf(HasSubstr("odd.tsv:3"), HasSubstr("did you mean \"positive\"?")));
}

TEST_F(Runs, BenchesTimeAStage) {
  const Recipe recipe = load(chain());
  EXPECT_THAT(
      tiny::error_of(ErrorKind::recipe, [&] { bench_stage(recipe, "student", 2, root_ / "run"); }),
      HasSubstr("which " + (root_ / "run").string() + " does not hold"));
  EXPECT_THAT(tiny::error_of(ErrorKind::recipe, [&] { bench_stage(recipe, "release", 2, ""); }),
              HasSubstr("no training stage 'release'"));
  const BenchResult result = bench_stage(recipe, "teacher", 3, root_ / "run");
  EXPECT_EQ(result.steps, 3);
  EXPECT_EQ(result.rows, 12);
  EXPECT_GT(result.samples_per_second, 0);
  EXPECT_GT(result.seconds_to_first_step, 0);
  EXPECT_FALSE(fs::exists(root_ / "run"));
}

TEST_F(Runs, ContentHashesAreOfNamesAndFiles) {
  const std::string before = content_hash(base());
  EXPECT_EQ(content_hash(base()), before);
  make_folder(root_ / "base/checkpoint-1");  // folders inside are no part of the model
  EXPECT_EQ(content_hash(base()), before);
  make_folder(root_ / "base/1_Pooling");
  write_file(root_ / "base/1_Pooling/config.json", "{}");
  EXPECT_NE(content_hash(base()), before);
  fs::remove_all(root_ / "base/1_Pooling");
  fs::rename(root_ / "base/vocab.txt", root_ / "base/words.txt");
  EXPECT_NE(content_hash(base()), before);
  EXPECT_EQ(content_hash(root_ / "train.tsv"), sha256_file(root_ / "train.tsv"));
}

TEST_F(Runs, APlanNeedsNoWeightsAndTellsThePaper) {
  const std::string yaml =
      text(stage("a", base(), 2),
           "paper: {title: A paper, arxiv: \"1\", numbers: [{what: accuracy of "
           "a, value: 92.5}], unverified: [\"lr: the default\"]}\n");
  const std::string with_weights = plan_text(load(yaml));
  fs::remove(fs::path(base()) / "model.safetensors");
  const std::string plan = plan_text(load(yaml));
  EXPECT_EQ(plan, with_weights);
  EXPECT_THAT(plan, HasSubstr("A paper (arXiv 1)\npublished     92.5  accuracy of a\n"
                              "not verified  lr: the default\n"));
  EXPECT_THROW(run_it(load(yaml)), Error);
}

}  // namespace
}  // namespace compress::pipeline
