// Mistakes in a recipe's last lines are told by its plan and by a run that has written nothing yet.

#include <gmock/gmock.h>

#include "unit/pipeline/folder.h"

namespace compress::pipeline {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class Mistakes : public Folder {
 protected:
  // What the plan and the run say alike.
  std::string refused(const std::string& yaml) const {
    const Recipe recipe = load(yaml);
    const std::string planned = tiny::error_of(ErrorKind::recipe, [&] { plan_text(recipe); });
    EXPECT_EQ(tiny::error_of(ErrorKind::recipe, [&] { run_it(recipe); }), planned);
    EXPECT_FALSE(fs::exists(root_ / "run"));
    return planned;
  }
  // What the run warns of before it writes anything; the plan has it among its lines.
  std::string warned(const std::string& yaml, const std::string& line) const {
    const Recipe recipe = load(yaml);
    EXPECT_THAT(plan_text(recipe), HasSubstr("warning       " + (root_ / "recipe.yaml").string()));
    EXPECT_THAT(plan_text(recipe), HasSubstr(line));
    std::atomic<bool> stop{true};
    RunOptions options;
    options.folder = root_ / "run";
    options.stop = &stop;
    log::set_level(log::Level::warning);
    testing::internal::CaptureStderr();
    tiny::error_of(ErrorKind::interrupted, [&] { run(recipe, options); });
    log::set_level(log::Level::error);
    return testing::internal::GetCapturedStderr();
  }
  std::string expecting(const std::string& stages, const std::string& expectation,
                        const std::string& data = "") const {
    return text(stages, data + "expect:\n  - {" + expectation + "}\n");
  }
  std::string measure(const std::string& name, const std::string& more = "") const {
    return "  - name: " + name + "\n    measure: {model: " + base() + ", data: films" + more +
           "}\n";
  }
  static std::string kept(const std::string& more = "{}") {
    return ", pruning: {keep_pattern: " + more + "}";
  }
};

TEST_F(Mistakes, AMetricThatAStageDoesNotScore) {
  const std::string one = stage("a", base(), 1);
  EXPECT_THAT(refused(expecting(one, "stage: a, metric: map, at_least: 0")),
              AllOf(HasSubstr("stage 'a' does not score 'map'"),
                    HasSubstr("it scores accuracy, f1_macro, f1, matthews"),
                    HasSubstr("recipe.yaml:5:"), HasSubstr("expect[0].metric")));
  const std::string chosen = stage("a", base(), 1, ", evaluate: {metrics: [f1], select: matthews}");
  EXPECT_THAT(refused(expecting(chosen, "stage: a, metric: accuracy, at_least: 0")),
              HasSubstr("it scores f1, matthews"));
  EXPECT_NO_THROW(plan_text(load(expecting(chosen, "stage: a, metric: matthews, at_least: -1"))));
  // Kinds that score without training, and one of them beside a stage that is right.
  const std::string scored =
      one + "  - name: s\n    evaluate: {model: a, data: films, metrics: [f1]}\n";
  EXPECT_THAT(refused(expecting(scored, "stage: a, metric: accuracy, of: s, drop_at_most: 1")),
              HasSubstr("stage 's' does not score 'accuracy'"));
  EXPECT_NO_THROW(
      plan_text(load(expecting(scored, "stage: s, metric: f1, of: a, drop_at_most: 1"))));
  const std::string rounded = one + "  - name: q\n    calibrate: {model: a, data: films}\n";
  EXPECT_THAT(refused(expecting(rounded, "stage: q, metric: map, at_least: 0")),
              HasSubstr("it scores accuracy"));
  EXPECT_NO_THROW(plan_text(load(expecting(rounded, "stage: q, metric: f1, at_least: 0"))));
  const std::string left = one + "  - name: e\n    export: {model: a, formats: [huggingface]}\n";
  EXPECT_THAT(refused(expecting(left, "stage: e, metric: accuracy, at_least: 0")),
              HasSubstr("stage 'e' scores nothing"));
}

TEST_F(Mistakes, APartThatNobodyScores) {
  const std::string data = "  few: {train: " + (root_ / "train.tsv").string() +
                           ", validation: " + (root_ / "dev.tsv").string() +
                           ", text: text, label: label, max_length: 12}\n";
  const std::string few =
      "  - name: a\n    train: {model: " + base() + ", data: few, for: 1 step, " + common + "}\n";
  EXPECT_THAT(
      refused(expecting(few, "stage: a, metric: accuracy, at_least: 0", data)),
      AllOf(HasSubstr("stage 'a' is not scored on a part 'test'"), HasSubstr("split: validation")));
  EXPECT_NO_THROW(plan_text(
      load(expecting(few, "stage: a, metric: accuracy, split: validation, at_least: 0", data))));
}

TEST_F(Mistakes, ANumberThatNobodyLeaves) {
  EXPECT_THAT(refused(expecting(measure("m"), "stage: m, number: layers.77, at_least: 0")),
              AllOf(HasSubstr("stage 'm' leaves no number 'layers.77'"),
                    HasSubstr("its numbers: layers.0 to layers.1, tokens, rows"),
                    HasSubstr("recipe.yaml:5:")));
  EXPECT_THAT(refused(expecting(measure("m", ", what: token_counts"),
                                "stage: m, number: layers.0, at_least: 0")),
              HasSubstr("its numbers: tokens, seen, rows"));
  // All at once.
  EXPECT_THAT(refused(text(measure("m"),
                           "expect:\n  - {stage: m, number: loss, at_least: 0}\n"
                           "  - {stage: m, metric: accuracy, at_least: 0}\n")),
              AllOf(HasSubstr("2 problems"), HasSubstr("no number 'loss'"),
                    HasSubstr("stage 'm' scores nothing")));
  // What is promised is what is left.
  const RunResult result = run_it(load(text(
      measure("m") + measure("c", ", what: token_counts"),
      "expect:\n  - {stage: m, number: layers.1, at_least: -1}\n"
      "  - {stage: m, number: tokens, at_least: 8}\n  - {stage: c, number: seen, at_least: 2}\n")));
  EXPECT_TRUE(result.held());
}

// A stage whose model's layers are known when another has measured them.
TEST_F(Mistakes, NumbersOfAnOpenModelAreNotKnown) {
  const std::string open =
      measure("m") + stage("short", "{from: " + base() + ", drop_layers: {by: m, above: 0.5}}", 1);
  const std::string again = "  - name: n\n    measure: {model: short, data: films}\n";
  EXPECT_NO_THROW(
      plan_text(load(expecting(open + again, "stage: n, number: layers.1, at_least: -1"))));
  EXPECT_THAT(refused(expecting(open, "stage: short, metric: map, at_least: 0")),
              HasSubstr("does not score 'map'"));
}

TEST_F(Mistakes, ZerosThatNobodyLeft) {
  const std::string dense =
      stage("a", base(), 1) + stage("b", "{from: a, drop_layers: {keep: 1}}", 1);
  EXPECT_THAT(refused(text(dense + stage("c", "b", 1, kept()))),
              AllOf(HasSubstr("'keep_pattern' needs a model with zeros, and 'b' has none: no stage "
                              "that it comes from left any"),
                    HasSubstr("stages.c.train.pruning"), HasSubstr("recipe.yaml:")));
  EXPECT_THAT(refused(text(stage("c", base(), 1, kept()))),
              AllOf(HasSubstr("'" + base() + "' has none"), Not(HasSubstr("no stage"))));
  auto planned = [&](const std::string& stages) { return plan_text(load(text(stages))); };
  // Masks and rounding leave zeros, behind further stages too; what an edit adds may be zeros.
  const std::string pruned = stage("p", "a", 1, ", pruning: {magnitude: {sparsity: 50%}}");
  EXPECT_NO_THROW(planned(dense + pruned + stage("d", "p", 1) + stage("c", "d", 1, kept())));
  EXPECT_NO_THROW(planned(dense + stage("q", "b", 1, ", quantization: {weights: int8}") +
                          stage("c", "q", 1, kept())));
  // New weights have values in a plan.
  EXPECT_THAT(refused(text(stage("c", "{from: " + base() + ", initialise: {intermediate_size: 12}}",
                                 1, kept()))),
              HasSubstr("nothing to keep"));
  const std::string lora = "{from: " + base() + ", lora: {rank: 2}}";
  EXPECT_NO_THROW(planned(stage("c", lora, 1, kept("{targets: [attachment]}"))));
  EXPECT_THAT(refused(text(stage("c", lora, 1, kept()))), HasSubstr("has none"));
  // A stage beside the pruned one.
  EXPECT_THAT(refused(text(dense + pruned + stage("c", "b", 1, kept()))), HasSubstr("'b'"));
}

// One zero in a matrix will do; those of tables and biases are held by nobody.
TEST_F(Mistakes, AFolderThatHasZeros) {
  auto written = [&](const std::string& name, const std::string& tensor) {
    nn::TensorMap tensors = tiny::tensors();
    tensors.at(tensor).view(-1)[3].zero_();
    tiny::write(root_ / name, tensors);
    tiny::write_tokenizer(root_ / name);
    return text(stage("a", (root_ / name).string(), 1) + stage("c", "a", 1, kept()));
  };
  EXPECT_NO_THROW(plan_text(load(written("sparse", "encoder.layer.1.output.dense.weight"))));
  refused(written("table", "embeddings.word_embeddings.weight"));
  refused(written("bias", "encoder.layer.1.output.dense.bias"));
}

TEST_F(Mistakes, AWarmUpThatDoesNotEnd) {
  const std::string warm = ", schedule: {linear: {warmup: 50 steps}}";
  const std::string line = "the learning rate comes to 8.0% of its base in the stage's 5 updates";
  EXPECT_THAT(warned(text(stage("a", base(), 5, warm)), line),
              AllOf(HasSubstr(line), HasSubstr("recipe.yaml:"), HasSubstr("schedule"),
                    HasSubstr("longer than the stage?")));
  for (const char* schedule :
       {"linear: {warmup: 4 steps}", "constant: {}", "cosine: {}",
        "cyclic_linear: {cycle: 2 steps, warmup: 10%}", "rewound_linear: {every: 1 step}"})
    EXPECT_THAT(plan_text(load(text(stage("a", base(), 5, str(", schedule: {", schedule, "}"))))),
                Not(HasSubstr("warning")))
        << schedule;
}

TEST_F(Mistakes, ScoresWithoutAPart) {
  const std::string data = "  rows: {train: " + (root_ / "train.tsv").string() +
                           ", text: text, label: label, max_length: 12}\n";
  auto recipe = [&](const std::string& more) {
    return text("  - name: a\n    train: {model: " + base() + ", data: rows, for: 2 steps, " +
                    common + more + "}\n",
                data);
  };
  const std::string line = "says when the validation part is scored, and there is none";
  EXPECT_THAT(warned(recipe(", evaluate: {every: 1 step}"), line), HasSubstr(line));
  EXPECT_THAT(plan_text(load(recipe(", evaluate: {before: true}"))), HasSubstr(line));
  EXPECT_THAT(plan_text(load(recipe(""))), Not(HasSubstr(line)));
}

}  // namespace
}  // namespace compress::pipeline
