// A stage that is stopped and goes on gives the same bits as one that is not, with every role in
// play.

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "unit/augment/words.h"
#include "unit/train/stage.h"

namespace compress::train {
namespace {

class Resume : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / str("compress-resume-", getpid());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_;
};

class ResumeRecipe : public Resume, public testing::WithParamInterface<std::string> {};

TEST_P(ResumeRecipe, IsExactAtEveryStep) {
  Bench whole(GetParam());
  run(whole.job);
  nn::TensorMap expected = whole.weights();
  double moved = 0;
  for (const auto& [name, value] : Bench(GetParam()).weights())
    moved += (value - expected[name]).abs().sum().item<double>();
  ASSERT_GT(moved, 1e-3);
  for (int stop_at : {1, 4, 8, 11}) {
    std::filesystem::path state = folder_ / str("state-", stop_at);
    std::atomic<bool> stop{false};
    Bench first(GetParam());
    first.job.state_file = state;
    first.job.stop = &stop;
    int64_t evaluations = 0;  // one after each update: the clock of this test
    first.options.evaluate.every = Duration::steps(1);
    first.options.evaluate.keep = "last";
    first.job.evaluate = [&] {
      if (++evaluations == stop_at) stop = true;
      return Score{{{"accuracy", 0.5}}, 0.5, true};
    };
    EXPECT_THROW(
        {
          try {
            run(first.job);
          } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::interrupted);
            throw;
          }
        },
        Error);
    Bench second(GetParam());
    second.job.state_file = state;
    Result result = run(second.job);
    EXPECT_EQ(result.steps, 12);
    expect_equal(expected, second.weights());
  }
}

INSTANTIATE_TEST_SUITE_P(
    Recipes, ResumeRecipe,
    testing::Values<std::string>(
        "for: 12 steps\nobjectives: [labels: {}]\n",
        // Labels that are true or not by themselves, and a teacher's probability of each.
        "# sets\nfor: 12 steps\nobjectives: [soft_labels: {temperature: 2}, labels: {weight: "
        "0.5}]\n"
        "sharpness: {sam: {rho: 0.05}}\naccumulate: 2\n",
        // Rows with weights, of two data sets, of which one is dealt out several times an epoch.
        "# mixture\nfor: 12 steps\nobjectives: [labels: {}]\naccumulate: 2\n",
        // Rows with others in front of them, drawn in the second epoch anew.
        "# composed\nfor: 12 steps\nobjectives: [soft_labels: {}, labels: {}]\naccumulate: 2\n",
        "for: 12 steps\nobjectives: [soft_labels: {temperature: 2}, labels: {weight: 0.5}]\n"
        "sharpness: {sam: {rho: 0.05}}\naveraging: {swa: {start: 50%}}\naccumulate: 3\n",
        // A bank that is pushed once an update, a learnt temperature, attention.
        "for: 12 steps\nobjectives: [contrastive: {bank: 20, learn_temperature: true, projection: "
        "always}, attention: {}]\nsharpness: {sam: {rho: 0.05}}\n",
        "for: 12 steps\nobjectives: [labels: {}]\nsharpness: {delta_sam: {sigma: 0.01}}\n"
        "accumulate: 2\n",
        "for: 12 steps\nobjectives: [labels: {}]\nsharpness: {delta_sam: {sigma: 0.01, weighting: "
        "curvature_over_slope, renormalise: false, accumulation: per_micro_batch}}\n"
        "accumulate: 2\n",
        "for: 12 steps\nobjectives: [continuation: {scale: {from: 0.1, to: 1}, margin: 0.1}, "
        "labels: {weight: {from: 0, to: 1}}]\naccumulate: 2\n",
        // Several heads, one with a layer of its own.
        std::string("for: 12 steps\nsharpness: {sam: {rho: 0.05}}\naccumulate: 2\n") +
            several_terms,
        // An average of the student and the student itself as teachers, under a mover that asks
        // twice; embeddings whose rows are late.
        "for: 12 steps\nteachers: {old: {average: {decay: 0.8}}, self: student}\n"
        "objectives: [labels: {}, soft_labels: {teacher: old}, logits_mse: {teacher: self, weight: "
        "0.1}]\nsharpness: {sam: {rho: 0.05}}\naccumulate: 2\n",
        "for: 12 steps\nteachers: {old: {average: {decay: {from: 0.5, to: 0.9}}}}\n"
        "objectives: [labels: {}, hidden_states: {}]\n"
        "pruning: {magnitude: {sparsity: 60%, begin: 2 steps, end: 8 steps, every: 2 steps}}\n",
        // A trained helper beside an average.
        "for: 12 steps\nobjectives: [logits_mse: {}, hidden_states: {projection: always}]\n"
        "averaging: {swa: {start: 4 steps}}\n",
        // TinyBERT's layers, a projection with a bias for each, and its optimizer.
        "for: 12 steps\nobjectives: [attention: {padded_to: 64}, hidden_states: {layers: even, "
        "include_embeddings: true, projection: always, projections: each, projection_bias: true}]\n"
        "clip: 0\noptimizer: {adamw: {lr: 1e-3, bias_correction: false, clip_each: 1}}\n",
        "for: 12 steps\nobjectives: [soft_labels: {loss: cross_entropy, classes: mean}]\n",
        "for: 12 steps\nobjectives: [soft_labels: {}]\noptimizer: {sgd: {lr: 0.01, momentum: "
        "0.9}}\n"
        "pruning: {magnitude: {sparsity: 60%, begin: 2 steps, end: 8 steps, every: 2 steps}}\n"
        "averaging: {ema: {start: 10 steps}}\n",
        "for: 12 steps\nobjectives: [logits_mse: {}, hidden_states: {layers: uniform, projection: "
        "always}]\n"
        "pruning: {magnitude: {sparsity: 60%, begin: 1 step, end: 6 steps, every: 2 steps, "
        "regrowth: false}}\n"
        "quantization: {weights: int8, activations: int8, activation_scale: static, start: 3 "
        "steps}\n"
        "sharpness: {asam: {accumulation: per_micro_batch}}\naccumulate: 2\n",
        // Rows of tables that are rounded as they are read, from the middle of the stage on.
        "for: 12 steps\nobjectives: [soft_labels: {}, labels: {}]\nquantization: {embeddings: "
        "int8, start: 3 steps}\nsharpness: {sam: {rho: 0.05}}\naveraging: {swa: {start: 4 "
        "steps}}\naccumulate: 2\n",
        "# dan\nfor: 12 steps\nobjectives: [labels: {}]\nquantization: {weights: none, "
        "activations: none, embeddings: int4, embedding_group: 4}\naccumulate: 2\n",
        // GMP*: a large first step, zeros for good; a rate that is put back.
        "for: 12 steps\nobjectives: [soft_labels: {temperature: 5.5}]\nschedule: {rewound_linear: "
        "{every: 2 steps, begin: 2 steps, end: 8 steps}}\npruning: {magnitude: {sparsity: 80%, "
        "initial: 50%, begin: 2 steps, end: 8 steps, every: 1 step, regrowth: false}}\n",
        // Blocks of inputs, and two of four inputs, with zeros that return.
        "for: 12 steps\nobjectives: [soft_labels: {}]\npruning: {magnitude: {sparsity: 75%, begin: "
        "2 steps, end: 8 steps, every: 2 steps, pattern: {block: [1, 4]}}}\nquantization: {start: "
        "5 "
        "steps}\n",
        "for: 12 steps\nobjectives: [soft_labels: {}]\npruning: {magnitude: {begin: 2 steps, end: "
        "8 "
        "steps, every: 3 steps, pattern: {n: 2, of: 4}}}\n",
        // Zeros that are there already, and a rate along half a cosine.
        "# zeros\nfor: 12 steps\nobjectives: [soft_labels: {}, labels: {}]\nschedule: {cosine: "
        "{warmup: 2 steps}}\npruning: {keep_pattern: {}}\naccumulate: 2\n",
        // Prune Once for All: a strict threshold a tensor, a rate that is put back, and Q8BERT's
        // scheme, whose ranges of weights, inputs and outputs go on.
        "for: 12 steps\nobjectives: [soft_labels: {temperature: 2}]\nschedule: {rewound_linear: "
        "{every: 2 steps, end: 6 steps, warmup: 1 step}}\npruning: {magnitude: {sparsity: 80%, "
        "end: 6 steps, every: 2 steps, until: 10 steps, scope: uniform, threshold: strict, "
        "targets: [encoder, pooler]}}\nquantization: {weight_granularity: tensor, weight_range: "
        "widening, activations: uint8, activation_scale: static, outputs: uint8, start: 3 steps, "
        "targets: [linear, head]}\naccumulate: 2\n",
        // A mean from the stage's own weights on, rows that wait beside it.
        "for: 12 steps\nobjectives: [labels: {}]\n"
        "averaging: {swa: {start: 0%, every: 2 steps, lr: 1e-3, start_weights: true}}\n",
        // A model without layers: rows that wait, and rows that stay, between a mover's passes.
        "# dan\nfor: 12 steps\nobjectives: [soft_labels: {}, labels: {}]\nsharpness: {sam: {rho: "
        "0.05}}\naveraging: {swa: {start: 4 steps}}\naccumulate: 2\n",
        "# dan\nfor: 12 steps\nobjectives: [labels: {}]\noptimizer: {adamw: {lr: 1e-2, rows: "
        "lazy}}\naveraging: {ema: {start: 2 steps}}\naccumulate: 3\n",
        // Noise that a second pass replays.
        "for: 12 steps\nobjectives: [labels: {}]\naugment: [hidden_noise: {sigma: 0.05, where: "
        "both}]\nsharpness: {sam: {rho: 0.05}}\naccumulate: 2\n",
        "for: 12 steps\nobjectives: [labels: {}]\naugment: [hidden_noise: {sigma: 0}]\n"
        "accumulate: 2\n",
        // Attachments, most weights frozen, rates of their own.
        "for: 12 steps\nobjectives: [labels: {}]\nmodel: {from: none, lora: {rank: 2, dropout: "
        "0.1}, adapter: {size: 4}, prefix: {length: 3, hidden: 6}, phm_adapter: {n: 2, reduction: "
        "4}, train: [attachment, norm, head]}\noptimizer: {adamw: {lr: 1e-2, groups: [{match: "
        "[head], lr: 1e-3, weight_decay: 0}]}}\nsharpness: {sam: {rho: 0.05}}\naveraging: {swa: "
        "{start: 50%}}\n"));

// Rows whose words the model drew itself an epoch ago, and rows that a set of hidden words is read
// of: stopped inside the first epoch (seven updates) and inside the second.
TEST_F(Resume, IsExactWithValuesOfRows) {
  const augment::Words words;
  auto trained = [&](const std::string& hides, int stop_at, const std::filesystem::path& state) {
    Bench bench(
        "for: 12 steps\nteachers: {self: student}\nobjectives: [labels: {}, soft_labels: "
        "{}]\nlength_width: 4\naugment: [" +
        hides + "]\n");
    bench.student = nn::build(masked_lm(), 1);
    bench.job.student = bench.student.get();
    bench.job.tokenizer = &words;
    bench.job.state_file = state;
    std::atomic<bool> stop{false};
    if (stop_at > 0) {
      bench.job.stop = &stop;
      bench.job.after_update = [&](int64_t step) { stop = step == stop_at; };
    }
    try {
      run(bench.job);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::interrupted);
    }
    return bench.weights();
  };
  for (const std::string hides : {"self_replacement: {}", "masking: {draw: update}"}) {
    const nn::TensorMap whole = trained(hides, 0, "");
    for (int stop_at : {3, 7, 9}) {
      const std::filesystem::path state = folder_ / str(hides.front(), "-rows-", stop_at);
      trained(hides, stop_at, state);
      expect_equal(whole, trained(hides, 0, state));
    }
  }
}

TEST(Loop, SwaLeavesTheTrajectoryAlone) {
  // With a constant schedule the held rate is the schedule's: every live weight is the same with
  // and without.
  const char* plain = "for: 10 steps\nschedule: constant\nobjectives: [labels: {}]\n";
  Bench without(plain, false),
      with(std::string(plain) + "averaging: {ema: {decay: 0.5, start: 90%}}\n", false);
  run(without.job);
  nn::TensorMap live = without.weights();
  run(with.job);
  double moved = 0;
  for (const auto& [name, value] : with.weights())
    moved += (value - live[name]).abs().sum().item<double>();
  EXPECT_GT(moved, 0);  // the stage ends with the average
  Bench again(std::string(plain) + "averaging: {swa: {start: 10 steps}}\n",
              false);  // the mean of one snapshot, the last
  run(again.job);
  expect_equal(live, again.weights());
}

// What is scored, and kept as the best, is the mean; scores before there is one do not count.
TEST(Loop, TheMeanIsScoredAndKept) {
  const std::string plain =
      "for: 12 steps\nschedule: constant\nobjectives: [labels: {}]\nevaluate: {every: 4 steps}\n";
  // The weights that each evaluation saw; the scores say 0.9, 0.5, 0.1.
  auto scored = [](Bench& bench) {
    std::vector<nn::TensorMap> seen;
    bench.job.evaluate = [&] {
      seen.push_back(bench.weights());
      const double score = 1.3 - 0.4 * static_cast<double>(seen.size());
      return Score{{{"accuracy", score}}, score, true};
    };
    const Result result = run(bench.job);
    return std::pair(seen, result.best_step);
  };
  Bench live(plain, false), averaged(plain + "averaging: {swa: {start: 6 steps}}\n", false);
  const auto [live_seen, live_best] = scored(live);
  const auto [seen, best] = scored(averaged);
  EXPECT_EQ(live_best, 4);
  EXPECT_EQ(best, 8);
  expect_equal(seen[0], live_seen[0]);
  expect_equal(seen[1], averaged.weights());
  double apart = 0;
  for (const auto& [name, value] : seen[1])
    apart += (value - live_seen[1].at(name)).abs().sum().item<double>();
  EXPECT_GT(apart, 0);
}

TEST(Loop, LearnsAndKeepsTheBest) {
  Bench bench(
      "for: 60 steps\nobjectives: [labels: {}]\noptimizer: {adamw: {lr: 3e-3}}\nevaluate: {every: "
      "10 steps}\n",
      false);
  int64_t calls = 0;
  nn::TensorMap at_best;
  bench.job.evaluate = [&] {
    ++calls;
    double score = calls == 3 ? 0.9 : 0.1;
    if (calls == 3) at_best = bench.weights();
    return Score{{{"accuracy", score}}, score, true};
  };
  Result result = run(bench.job);
  EXPECT_EQ(calls, 6);
  EXPECT_EQ(result.best_step, 30);
  EXPECT_DOUBLE_EQ(*result.best, 0.9);
  expect_equal(at_best, bench.weights());
}

TEST(Loop, StopsEarly) {
  Bench bench("for: 60 steps\nobjectives: [labels: {}]\nevaluate: {every: 5 steps, patience: 2}\n",
              false);
  int64_t calls = 0;
  bench.job.evaluate = [&] { return Score{{{"accuracy", 1.0 / ++calls}}, 1.0 / calls, true}; };
  Result result = run(bench.job);
  EXPECT_EQ(result.steps, 15);
  EXPECT_EQ(result.best_step, 5);
}

TEST(Loop, TellsTheScoreBeforeTraining) {
  const char* options =
      "for: 4 steps\nobjectives: [labels: {}]\nevaluate: {before: true, every: 2 steps}\n";
  const std::string wanted = "before training, on validation: accuracy 1.0000";
  const std::filesystem::path state =
      std::filesystem::temp_directory_path() / str("compress-before-", getpid());
  std::atomic<bool> stop{false};
  int64_t calls = 0;
  auto scores = [&] {
    if (++calls == 2) stop = true;  // after the second update
    return Score{{{"accuracy", 1.0 / calls}}, 1.0 / calls, true};
  };
  Bench whole(options, false);
  whole.job.evaluate = scores;
  EXPECT_EQ(run(whole.job).notes.at(0), wanted);
  calls = 0;
  stop = false;
  Bench first(options, false);
  first.job.state_file = state;
  first.job.stop = &stop;
  first.job.evaluate = scores;
  EXPECT_THROW(run(first.job), Error);
  Bench second(options, false);
  second.job.state_file = state;
  second.job.evaluate = scores;
  EXPECT_EQ(run(second.job).notes.at(0), wanted);
  std::filesystem::remove(state);
}

TEST(Loop, ANonFiniteLossNamesStepAndRows) {
  Bench bench("for: 10 steps\nobjectives: [labels: {}]\n", false);
  {
    torch::NoGradGuard no_grad;
    bench.student->params().find("classifier.bias")->latent[0] =
        std::numeric_limits<float>::quiet_NaN();
  }
  try {
    run(bench.job);
    FAIL() << "trained on";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::diverged);
    EXPECT_NE(error.message().find("step 0"), std::string::npos) << error.message();
    EXPECT_NE(error.message().find("synthetic.tsv:"), std::string::npos) << error.message();
  }
}

TEST(Loop, AccumulationEqualsTheWholeBatch) {
  // Without dropout (another draw in each part) both compute the same sum.
  auto prepare = [](Bench& bench) {
    nn::ModelState state = nn::tiny_bert(nn::HeadKind::classification);
    state.config.hidden_dropout = state.config.attention_dropout = state.config.classifier_dropout =
        0;
    bench.student = nn::build(state, 1);
    bench.job.student = bench.student.get();
  };
  const char* plain = "for: 6 steps\nobjectives: [labels: {}]\noptimizer: {sgd: {lr: 0.05}}\n";
  Bench whole(plain, false), parts(std::string(plain) + "accumulate: 4\n", false);
  prepare(whole);
  prepare(parts);
  run(whole.job);
  run(parts.job);
  nn::TensorMap a = whole.weights(), b = parts.weights();
  for (const auto& [name, value] : a)
    EXPECT_LT((value - b[name]).abs().max().item<float>(), 2e-5f) << name;
}

// Noise and dropout of a row are those of its place in the update.
TEST(Loop, NoiseIsTheSameHoweverABatchIsCut) {
  const char* yaml =
      "for: 6 steps\nobjectives: [labels: {}]\noptimizer: {sgd: {lr: 0.05}}\n"
      "model: {from: none, lora: {dropout: 0.2}}\n"
      "augment: [hidden_noise: {sigma: 0.1, where: both}]\n";
  Bench whole(yaml, false), parts(str(yaml, "accumulate: 4\n"), false);
  std::string louder = yaml;
  louder.replace(louder.find("0.1,"), 3, "0.4");
  Bench other(louder, false);
  const nn::TensorMap start = whole.weights();
  run(whole.job);
  run(parts.job);
  run(other.job);
  const Distance cut = distance(whole.weights(), parts.weights(), start);
  EXPECT_LT(cut.between, 2e-5);
  EXPECT_GT(cut.moved, 1e-2);
  EXPECT_GT(distance(whole.weights(), other.weights(), start).between, 1e-3);
}

// The noise is gone with the stage.
TEST(Loop, NoiseEndsWithItsStage) {
  Bench bench("for: 2 steps\nobjectives: [labels: {}]\naugment: [hidden_noise: {sigma: 0.1}]\n",
              false);
  run(bench.job);
  EXPECT_TRUE(bench.student->plugs().empty());
}

TEST(Loop, FrozenWeightsStayAsTheyAre) {
  Bench bench(
      "for: 6 steps\nobjectives: [labels: {}]\n"
      "model: {from: none, adapter: {size: 4}, train: [attachment, head]}\n",
      false);
  const nn::TensorMap before = bench.weights();
  run(bench.job);
  for (const auto& [name, value] : bench.weights())
    EXPECT_EQ(torch::equal(value, before.at(name)),
              !name.starts_with("attachments.") && !name.starts_with("classifier."))
        << name;
}

// What is saved of a stage that trains little is little.
TEST(Loop, FrozenWeightsAreNotInTheState) {
  const std::filesystem::path state =
      std::filesystem::temp_directory_path() / str("compress-frozen-", getpid());
  std::atomic<bool> stop{true};
  Bench bench(
      "for: 6 steps\nobjectives: [labels: {}]\nevaluate: {every: 1 step}\n"
      "model: {from: none, lora: {rank: 2}, train: [attachment]}\n",
      false);
  bench.job.state_file = state;
  bench.job.stop = &stop;
  bench.job.evaluate = [] { return Score{{{"accuracy", 0.5}}, 0.5, true}; };
  EXPECT_THROW(run(bench.job), Error);
  // Weights, two moments and the best ones of 2 * 2 * (2 * 32 + 32 * 2) numbers.
  EXPECT_LT(std::filesystem::file_size(state), 4 * 512 * 4 + 8192);
  std::filesystem::remove(state);
}

TEST(Loop, RefusesWhatDoesNotFit) {
  auto message = [](const std::string& yaml, bool with_teacher) {
    Bench bench(yaml, with_teacher);
    try {
      plan(bench.job);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::recipe);
      return error.message();
    }
    return std::string();
  };
  EXPECT_NE(message("for: 3 steps\nobjectives: [soft_labels: {}]\n", false).find("needs a teacher"),
            std::string::npos);
  EXPECT_NE(message("for: 3 steps\nobjectives: [labels: {}]\n", true).find("no objective uses"),
            std::string::npos);
  EXPECT_NE(message("for: 100 steps\nobjectives: [labels: {}]\naveraging: {swa: {start: 10%}}\n"
                    "pruning: {magnitude: {sparsity: 50%, end: 60%}}\n",
                    false)
                .find("averaging starts"),
            std::string::npos);
  EXPECT_NE(message("for: 3 steps\nmodel: {from: none, train: [heads]}\n", false)
                .find("`train` names 'heads'"),
            std::string::npos);
}

}  // namespace
}  // namespace compress::train
