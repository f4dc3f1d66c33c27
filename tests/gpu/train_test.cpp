// Stages on a card.

#ifdef COMPRESS_CUDA
#include <c10/cuda/CUDAFunctions.h>
#endif

#include <numeric>

#include "compress/train/binding.h"
#include "gpu.h"
#include "graphs/graph.h"
#include "support/failure.h"
#include "unit/augment/words.h"

namespace compress::train {
namespace {

const std::string distillation =
    "objectives: [soft_labels: {temperature: 2}, labels: {weight: 0.5}]\n"
    "optimizer: {adamw: {lr: 1e-3}}\n";

void drop_dropout(Bench& bench) {
  nn::ModelState state = bench.student->state();
  state.config.hidden_dropout = state.config.attention_dropout = state.config.classifier_dropout =
      0;
  bench.student = nn::build(state, 1);
  bench.job.student = bench.student.get();
}

nn::TensorMap trained(const std::string& yaml, Place place, bool with_dropout = false) {
  Bench bench(yaml, place);
  if (!with_dropout) drop_dropout(bench);
  run(bench.job);
  return bench.weights();
}

nn::TensorMap untrained(const std::string& model = {}) {
  Bench bench(distillation + "for: 1 step\n" + model);
  drop_dropout(bench);
  return bench.weights();
}

// How far two runs ended from one another, as a part of how far the first one went (all weights
// together). Adam's first steps have the size of its rate whatever a gradient's size, so that a
// gradient of pure rounding, such as that of a key's bias, moves a weight as far as any other;
// where the two sides round differently these tests use SGD, whose steps are linear in gradients.
double apart(const nn::TensorMap& a, const nn::TensorMap& b, const nn::TensorMap& start) {
  double between = 0, moved = 0;
  for (const auto& [name, value] : a) {
    between += (value - b.at(name)).square().sum().item<double>();
    moved += (value - start.at(name)).square().sum().item<double>();
  }
  EXPECT_GT(moved, 1e-4);
  return std::sqrt(between / moved);
}

const std::string plain_steps =
    "for: 8 steps\nobjectives: [soft_labels: {temperature: 2}, labels: {weight: 0.5}]\n"
    "optimizer: {sgd: {lr: 0.05}}\n";

// The student's average and the student itself as teachers; a stage with them records no graph.
TEST_F(OnCard, TheStudentTeachesAsOnTheCpu) {
  const std::string yaml =
      "for: 8 steps\nteachers: {old: {average: {decay: 0.8}}, self: student}\nobjectives: [labels: "
      "{}, soft_labels: {teacher: old}, logits_mse: {teacher: self, weight: 0.1}]\n"
      "optimizer: {sgd: {lr: 0.05}}\n";
  EXPECT_LT(apart(trained(yaml, {}), trained(yaml, {card_}), untrained()), 1e-4);
  need_flash();
  trained(yaml, {card_, nn::Precision::bf16});
}

// A model without layers averages its tokens on the card as on the CPU; such a stage records no
// graph, and leaves no rows alone.
TEST_F(OnCard, AModelWithoutLayersTrainsAsOnTheCpu) {
  const std::string yaml = averaged + plain_steps;
  auto averages = [&](Place place) {
    Bench bench(yaml, place);
    nn::ModelState state = bench.student->state();
    state.config.embedding_dropout = state.config.classifier_dropout = 0;
    bench.student = nn::build(state, 1);
    bench.job.student = bench.student.get();
    const nn::TensorMap before = bench.weights();
    run(bench.job);
    return std::pair{before, bench.weights()};
  };
  const auto [start, on_cpu] = averages({});
  EXPECT_LT(apart(on_cpu, averages({card_}).second, start), 1e-4);
  averages({card_, nn::Precision::bf16});
  Bench lazy(averaged + ("for: 2 steps\n" + distillation), {card_});
  lazy.options.optimizer = options_from(
                               "data: none\nprecision: float32\nbatch: 8\nfor: 1 "
                               "step\noptimizer: {adamw: {rows: lazy}}\n")
                               .optimizer;
  const Error error = failure([&] { run(lazy.job); });
  EXPECT_NE(error.message().find("rows: lazy is for the CPU"), std::string::npos);
}

// What the model says on the card is read by rows an epoch later.
TEST_F(OnCard, WordsOfAnEpochAreReadInTheNext) {
  const augment::Words words;
  Bench bench(
      "for: 15 steps\nobjectives: [labels: {}]\naugment: [self_replacement: {}]\n"
      "optimizer: {sgd: {lr: 0.05}}\n",
      {card_});
  bench.student = nn::build(masked_lm(), 1);
  bench.job.student = bench.student.get();
  bench.job.tokenizer = &words;
  Binding binding(bench.job);
  run(bench.job, binding);
  std::vector<int64_t> rows(50);
  std::iota(rows.begin(), rows.end(), 0);
  const roles::RowStore::Values said = binding.scene().values->get("self_replacement", rows);
  for (int64_t count : said.counts) EXPECT_GT(count, 0);
  const Tensor drawn = said.values.select(1, 1);
  EXPECT_TRUE(drawn.ge(0).logical_and(drawn.lt(50)).all().item<bool>());
}

TEST_F(OnCard, TrainsAsTheCpuDoes) {
  for (const char* more :
       {"", "sharpness: {sam: {rho: 0.05}}\naveraging: {swa: {start: 50%}}\n", "accumulate: 2\n"})
    EXPECT_LT(
        apart(trained(plain_steps + more, {}), trained(plain_steps + more, {card_}), untrained()),
        1e-4)
        << more;
  const std::string adam = "for: 8 steps\n" + distillation;
  EXPECT_LT(apart(trained(adam, {}), trained(adam, {card_}), untrained()), 1e-2);
}

const std::string attached =
    "model: {from: none, lora: {rank: 2}, adapter: {size: 4}, prefix: {length: 3}, "
    "train: [attachment, value, head]}\n";

TEST_F(OnCard, AttachmentsTrainAsOnTheCpu) {
  const std::string yaml = plain_steps + attached;
  EXPECT_LT(apart(trained(yaml, {}), trained(yaml, {card_}), untrained(attached)), 1e-3);
}

// The parts that no other test here has: tests/structure looks for each component's name.
TEST_F(OnCard, FurtherPartsTrainAsOnTheCpu) {
  for (const char* more :
       {"sharpness: {asam: {rho: 0.5}}\naveraging: {ema: {decay: 0.5, start: 50%}}\n",
        "schedule: {constant: {warmup: 2 steps}}\n", "schedule: {cosine: {warmup: 2 steps}}\n",
        "schedule: {rewound_linear: {every: 3 steps, end: 6 steps}}\n"})
    EXPECT_LT(
        apart(trained(plain_steps + more, {}), trained(plain_steps + more, {card_}), untrained()),
        1e-3)
        << more;
  const std::string phm =
      "model: {from: none, phm_adapter: {n: 2, reduction: 2}, train: [attachment, head]}\n";
  EXPECT_LT(
      apart(trained(plain_steps + phm, {}), trained(plain_steps + phm, {card_}), untrained(phm)),
      1e-3);
}

// Zeros stay where they are, to the bit.
TEST_F(OnCard, AKeptPatternTrainsAsOnTheCpu) {
  const auto thinned = [](Bench& bench) {
    drop_dropout(bench);
    torch::NoGradGuard no_grad;
    for (nn::Parameter& parameter : bench.student->params().list())
      if (parameter.is_matrix())
        parameter.latent.masked_fill_(parameter.latent.abs() < parameter.latent.abs().median(), 0);
  };
  auto weights = [&](Place place, bool trains) {
    Bench bench(plain_steps + "pruning: {keep_pattern: {}}\n", place);
    thinned(bench);
    if (trains) run(bench.job);
    return bench.weights();
  };
  const nn::TensorMap start = weights({}, false), on_cpu = weights({}, true),
                      on_card = weights({card_}, true);
  EXPECT_LT(apart(on_cpu, on_card, start), 1e-3);
  int64_t zeros = 0;
  for (const auto& [name, value] : start)
    if (name.starts_with("encoder.") && value.dim() == 2) {
      zeros += value.eq(0).sum().item<int64_t>();
      EXPECT_TRUE(on_card.at(name).masked_select(value.eq(0)).eq(0).all().item<bool>()) << name;
    }
  EXPECT_GT(zeros, 100);
}

// Noise on hidden states is drawn by the card: another than the CPU's, the same in each run.
TEST_F(OnCard, HiddenNoiseRepeats) {
  for (nn::Precision precision : {nn::Precision::float32, nn::Precision::bf16})
    for (const char* more : {"", "graphs: false\n", "sharpness: {sam: {rho: 0.1}}\n"}) {
      const std::string yaml = "for: 12 steps\n" + distillation + more +
                               "augment: [hidden_noise: {sigma: 0.05, where: both}]\n";
      const Place place{card_, precision};
      const nn::TensorMap once = trained(yaml, place, true);
      expect_equal(once, trained(yaml, place, true));
      EXPECT_GT(
          distance(once, trained("for: 12 steps\n" + distillation + more, place, true), untrained())
              .between,
          1e-5);
    }
}

// Attention's padded scores, a bank beside a learnt temperature, and rows that are weighed anew are
// not recorded in graphs: these run as they are.
TEST_F(OnCard, TermsAndMoversTrainAsOnTheCpu) {
  const std::string sgd = "for: 8 steps\noptimizer: {sgd: {lr: 0.05}}\n";
  for (const char* more :
       {"objectives: [attention: {}]\n", "objectives: [continuation: {scale: 0.5, margin: 0.1}]\n",
        "objectives: [contrastive: {bank: 20, learn_temperature: true}]\n",
        "objectives: [contrastive: {}]\n",
        "objectives: [attention: {padded_to: 64}, soft_labels: {loss: cross_entropy, classes: "
        "mean}, "
        "hidden_states: {include_embeddings: true, projection: always, projections: each, "
        "projection_bias: true}]\n"})
    EXPECT_LT(apart(trained(sgd + more, {}), trained(sgd + more, {card_}), untrained()), 1e-3)
        << more;
  // BERT's own optimizer: the same moments and clipped gradients on both.
  const std::string bert =
      "for: 8 steps\nobjectives: [labels: {}]\nclip: 0\noptimizer: {adamw: {lr: 1e-3, eps: 1e-2, "
      "bias_correction: false, clip_each: 0.1}}\n";
  EXPECT_LT(apart(trained(bert, {}), trained(bert, {card_}), untrained()), 1e-3);
  // Second differences of losses keep few of float32's digits.
  const std::string probed =
      sgd + "objectives: [labels: {}]\nsharpness: {delta_sam: {sigma: 0.05}}\n";
  EXPECT_LT(apart(trained(probed, {}), trained(probed, {card_}), untrained()), 1e-2);
  const std::string parts =
      sgd +
      "objectives: [labels: {}]\naccumulate: 2\nsharpness: {delta_sam: {sigma: 0.05, "
      "accumulation: per_micro_batch}}\n";
  EXPECT_LT(apart(trained(parts, {}), trained(parts, {card_}), untrained()), 1e-2);
}

// Hidden noise of no size takes dropout on hidden states away: nothing is drawn, and the card does
// what the CPU does.
TEST_F(OnCard, WithoutHiddenDropoutItTrainsAsOnTheCpu) {
  auto weights = [&](Place place, const char* more) {
    Bench bench(plain_steps + more, place);
    drop_dropout(bench);
    nn::ModelState state = bench.student->state();
    state.config.hidden_dropout = 0.3;
    bench.student = nn::build(state, 1);
    bench.job.student = bench.student.get();
    run(bench.job);
    return bench.weights();
  };
  const char* off = "augment: [hidden_noise: {sigma: 0}]\n";
  const nn::TensorMap on_cpu = weights({}, off);
  EXPECT_LT(apart(on_cpu, weights({card_}, off), untrained()), 1e-4);
  EXPECT_GT(apart(on_cpu, weights({card_}, ""), untrained()), 1e-3) << "dropout was there";
}

// A mean of the weights from the stage's own on; zeros for good behind a large first step, with a
// rate that starts again. Ties and rounding may mask another weight: few of the encoder's.
TEST_F(OnCard, AveragesAndFrequentPruningTrainAsOnTheCpu) {
  const std::string sgd = "for: 8 steps\noptimizer: {sgd: {lr: 0.05}}\n";
  const std::string averaged =
      sgd +
      "objectives: [continuation: {scale: {from: 0.1, to: 1}, margin: 0.1, reduction: mean}, "
      "labels: {weight: {from: 0, to: 1}}]\n"
      "averaging: {swa: {start: 0%, every: 2 steps, lr: 0.05, start_weights: true}}\n";
  EXPECT_LT(apart(trained(averaged, {}), trained(averaged, {card_}), untrained()), 1e-3);
  const std::string pruned =
      sgd +
      "objectives: [soft_labels: {temperature: 5.5}]\nschedule: {cyclic_linear: {cycle: 4 "
      "steps}}\npruning: {magnitude: {sparsity: 90%, initial: 50%, begin: 1 step, end: 6 steps, "
      "every: 1 step, regrowth: false}}\n";
  EXPECT_LT(apart(trained(pruned, {}), trained(pruned, {card_}), untrained()), 0.02);
}

// Units of several weights are scored on the CPU and held on the card.
TEST_F(OnCard, BlocksAndGroupsArePrunedAsOnTheCpu) {
  for (const char* pattern :
       {"sparsity: 75%, pattern: {block: [1, 4]}", "pattern: {n: 2, of: 4}"}) {
    const std::string pruned = plain_steps + "pruning: {magnitude: {" + pattern +
                               ", begin: 1 step, end: 6 steps, every: 1 step}}\n";
    EXPECT_LT(apart(trained(pruned, {}), trained(pruned, {card_}), untrained()), 0.02) << pattern;
  }
}

TEST_F(OnCard, SeveralHeadsTrainAsOnTheCpu) {
  const std::string yaml =
      std::string("for: 8 steps\noptimizer: {sgd: {lr: 0.05}}\n") + several_terms;
  EXPECT_LT(apart(trained(yaml, {}), trained(yaml, {card_}), Bench(yaml).weights()), 1e-3);
}

TEST_F(OnCard, LabelSetsTrainAsOnTheCpu) {
  const std::string yaml = sets + plain_steps;
  EXPECT_LT(apart(trained(yaml, {}), trained(yaml, {card_}), Bench(yaml).weights()), 1e-4);
}

// Rows with weights of two data sets, in steps and in graphs.
TEST_F(OnCard, MixturesTrainAsOnTheCpu) {
  const std::string yaml = mixed + plain_steps;
  EXPECT_LT(apart(trained(yaml, {}), trained(yaml, {card_}), untrained()), 1e-4);
  const Place place{card_, nn::Precision::bf16};
  const std::string steps = mixed + ("for: 18 steps\n" + distillation);
  const Distance seen =
      distance(trained(steps + "graphs: false\n", place), trained(steps, place), untrained());
  EXPECT_GT(seen.moved, 1e-3);
  EXPECT_LT(seen.between, seen.moved / 4);
}

// Rows with others in front of them.
TEST_F(OnCard, ComposedRowsTrainAsOnTheCpu) {
  const std::string yaml = composed + plain_steps;
  EXPECT_LT(apart(trained(yaml, {}), trained(yaml, {card_}), untrained()), 1e-4);
  EXPECT_GT(apart(trained(yaml, {card_}), trained(plain_steps, {card_}), untrained()), 1e-3);
}

// An activation near the middle of two integers may round either way: a step of 1 / 127 of its
// row's largest value, in few of them. On the CPU alone, weights that differ by 1e-7 end 0.01
// apart.
TEST_F(OnCard, Int8TrainsAsTheCpuDoes) {
  const std::string yaml = plain_steps + "quantization: {weights: int8, activations: int8}\n";
  EXPECT_LT(apart(trained(yaml, {}), trained(yaml, {card_}), untrained()), 0.04);
}

TEST_F(OnCard, Int8EmbeddingsTrainAsOnTheCpu) {
  const std::string yaml =
      plain_steps + "quantization: {weights: none, activations: none, embeddings: int8}\n";
  EXPECT_LT(apart(trained(yaml, {}), trained(yaml, {card_}), untrained()), 0.04);
  EXPECT_GT(apart(trained(yaml, {card_}), trained(plain_steps, {card_}), untrained()), 1e-4);
}

// Eight roundings of a product's operands and results, one after another.
TEST_F(OnCard, LowerPrecisionsFollow) {
  const nn::TensorMap exact = trained(plain_steps, {}), start = untrained();
  auto far = [&](nn::Precision precision) {
    return apart(exact, trained(plain_steps, {card_, precision}), start);
  };
  EXPECT_LT(far(nn::Precision::bf16), 8 * std::ldexp(1.0, -8));
  EXPECT_LT(far(nn::Precision::fp16), 8 * std::ldexp(1.0, -11));
}

TEST_F(OnCard, RunsRepeatToTheBit) {
  for (nn::Precision precision : {nn::Precision::float32, nn::Precision::bf16, nn::Precision::fp16})
    for (const char* more :
         {"", "graphs: false\n", "sharpness: {sam: {rho: 0.1}}\naveraging: {swa: {start: 50%}}\n",
          "quantization: {weights: int8, activations: int8, activation_scale: static}\n",
          "quantization: {weight_granularity: tensor, weight_range: widening, activations: uint8, "
          "activation_scale: static, outputs: uint8}\n",
          "quantization: {embeddings: int8}\n",
          "pruning: {magnitude: {sparsity: 50%, begin: 2 steps, end: 8 steps, every: 2 "
          "steps}}\n",
          "pruning: {magnitude: {sparsity: 75%, begin: 2 steps, end: 8 steps, every: 2 steps, "
          "pattern: {block: [1, 4]}}}\n"}) {
      const std::string yaml = "for: 12 steps\n" + distillation + more;
      const Place place{card_, precision};
      expect_equal(trained(yaml, place, true), trained(yaml, place, true));
      if (HasFailure()) {
        ADD_FAILURE() << nn::precision_name(precision) << " " << more;
        return;
      }
    }
}

#ifdef COMPRESS_CUDA
TEST_F(OnCard, StepsDoNotSynchronise) {
  using c10::cuda::SyncDebugMode;
  for (nn::Precision precision : {nn::Precision::float32, nn::Precision::bf16, nn::Precision::fp16})
    for (const char* more :
         {"", "sharpness: {sam: {rho: 0.1}}\naveraging: {swa: {start: 2 steps}}\naccumulate: 2\n",
          "quantization: {weights: int8, activations: int8, activation_scale: static}\n",
          "quantization: {weight_granularity: tensor, weight_range: widening, activations: uint8, "
          "activation_scale: static, outputs: uint8}\n",
          "quantization: {embeddings: int8}\n", "graphs: false\n"}) {
      Bench bench("for: 9 steps\n" + distillation + more, {card_, precision});
      // From the end of the third update to the end of the eighth, waiting is an error.
      bench.job.after_update = [](int64_t step) {
        c10::cuda::warning_state().set_sync_debug_mode(
            step >= 3 && step < 8 ? SyncDebugMode::L_ERROR : SyncDebugMode::L_DISABLED);
      };
      EXPECT_NO_THROW(run(bench.job)) << nn::precision_name(precision) << " " << more;
      c10::cuda::warning_state().set_sync_debug_mode(SyncDebugMode::L_DISABLED);
    }
}
#endif

TEST_F(OnCard, GraphsTrainAsStepsDo) {
  need_flash();
  for (const char* more : {"", "sharpness: {sam: {rho: 0.1}}\n",
                           "pruning: {magnitude: {sparsity: 50%, begin: 2 steps, end: 8 steps, "
                           "every: 3 steps}}\n"}) {
    const std::string yaml = "for: 18 steps\n" + distillation + more;
    const Place place{card_, nn::Precision::bf16};
    const Distance seen =
        distance(trained(yaml + "graphs: false\n", place), trained(yaml, place), untrained());
    EXPECT_GT(seen.moved, 1e-3) << more;
    EXPECT_LT(seen.between, seen.moved / 4) << more;
  }
}

// One forward and backward pass of a model with dropout.
struct OnePass {
  std::unique_ptr<nn::Model> model = nn::build(nn::tiny_bert(nn::HeadKind::classification), 1);
  explicit OnePass(torch::Device card) {
    model->to(card);
    for (nn::Parameter& parameter : model->params().list()) parameter.row_gradient = false;
    model->params().refresh(nn::Precision::bf16);
  }
  PassLosses operator()(const data::Batch& batch, uint64_t seed) {
    nn::Outputs out = model->forward(batch, {}, {true, seed, nn::Precision::bf16});
    torch::Tensor loss = out.logits.square().mean();
    loss.backward();
    model->params().collect_gradients(false);
    return {{{"loss", loss.detach()}}, loss.detach()};
  }
};

TEST_F(OnCard, APlayedPassEqualsTheFirst) {
  need_flash();
  OnePass pass(card_);
  StepGraphs graphs(card_, pass.model->params().trainable());
  const data::Batch batch = nn::random_batch({9, 20, 4, 31});
  auto once = [&](uint64_t seed) {
    const data::Batch staged = graphs.stage(batch);
    PassLosses losses = graphs.run(seed, [&] { return pass(staged, seed); });
    std::vector<torch::Tensor> seen = {losses.total.cpu()};
    for (nn::Parameter* parameter : pass.model->params().trainable())
      if (parameter->latent.grad().defined()) seen.push_back(parameter->latent.grad().cpu());
    pass.model->params().clear_gradients();
    return seen;
  };
  const auto computed = once(3), recorded = once(3), played = once(3), other = once(4);
  EXPECT_EQ(graphs.recorded(), 1);
  ASSERT_EQ(computed.size(), played.size());
  EXPECT_GT(computed.size(), 30u);
  EXPECT_EQ(computed[0].item<float>(), recorded[0].item<float>());
  EXPECT_EQ(computed[0].item<float>(), played[0].item<float>());
  EXPECT_NE(computed[0].item<float>(), other[0].item<float>());
  for (size_t i = 1; i < computed.size(); ++i)
    EXPECT_LT(furthest(computed[i], played[i]), 1e-3 * (1 + computed[i].abs().max().item<float>()));
}

TEST_F(OnCard, GraphsAreRecordedAgainAfterAllWereForgotten) {
  need_flash();
  OnePass pass(card_);
  StepGraphs graphs(card_, pass.model->params().trainable());
  const data::Batch batch = nn::random_batch({9, 20, 4, 31});
  auto once = [&] {
    const data::Batch staged = graphs.stage(batch);
    const PassLosses losses = graphs.run(3, [&] { return pass(staged, 3); });
    pass.model->params().clear_gradients();
    return losses.total.item<float>();
  };
  const float first = once();
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(once(), first);
    EXPECT_EQ(once(), first);
    EXPECT_EQ(graphs.recorded(), 1) << round;
    graphs.forget();
    EXPECT_EQ(once(), first);  // a bucket's first pass is computed
  }
}

TEST_F(OnCard, APassThatCannotBeRecordedIsComputed) {
  need_flash();
  OnePass pass(card_);
  StepGraphs graphs(card_, pass.model->params().trainable());
  const data::Batch batch = nn::random_batch({9, 20, 4, 31}), other = nn::random_batch({40, 50, 3});
  auto once = [&](const data::Batch& rows, bool reads) {
    const data::Batch staged = graphs.stage(rows);
    const PassLosses losses = graphs.run(3, [&] {
      PassLosses found = pass(staged, 3);
      if (reads) (void)found.total.item<float>();  // a captured stream cannot be waited for
      return found;
    });
    pass.model->params().clear_gradients();
    return losses.total.item<float>();
  };
  const float first = once(batch, false), second = once(batch, false);
  EXPECT_EQ(graphs.recorded(), 1);
  EXPECT_EQ(first, second);
  const float third = once(other, true);
  EXPECT_EQ(once(other, true), third);
  EXPECT_EQ(graphs.recorded(), 0);
  EXPECT_EQ(once(other, true), third);
  EXPECT_EQ(once(batch, false), first);
}

TEST_F(OnCard, UpdatesThatOverflowInFp16AreLeftOut) {
  Bench bench("for: 8 steps\n" + distillation, {card_, nn::Precision::fp16});
  {
    torch::NoGradGuard no_grad;
    bench.student->params().find("classifier.weight")->latent.mul_(200);
  }
  Result result = run(bench.job);
  bool told = false;
  for (const std::string& note : result.notes)
    told = told || note.find("not finite in fp16") != std::string::npos;
  EXPECT_TRUE(told);
  for (const auto& [name, value] : bench.weights())
    EXPECT_TRUE(value.isfinite().all().item<bool>()) << name;
}

}  // namespace
}  // namespace compress::train
