// Stages on a card.

#ifdef COMPRESS_CUDA
#include <c10/cuda/CUDAFunctions.h>
#endif

#include "../../src/train/graph.h"
#include "gpu.h"

namespace compress::train {
namespace {

const std::string distillation =
    "objectives: [soft_labels: {temperature: 2}, labels: {weight: 0.5}]\n"
    "optimizer: {adamw: {lr: 1e-3}}\n";

void drop_dropout(Bench& bench) {
  bench.student = without_dropout();
  bench.job.student = bench.student.get();
}

nn::TensorMap trained(const std::string& yaml, Place place, bool with_dropout = false) {
  Bench bench(yaml, place);
  if (!with_dropout) drop_dropout(bench);
  run(bench.job);
  return bench.weights();
}

nn::TensorMap untrained() {
  Bench bench(distillation + "for: 1 step\n");
  drop_dropout(bench);
  return bench.weights();
}

TEST_F(OnCard, TrainsAsTheCpuDoes) {
  for (const char* more : {"", "sharpness: {sam: {rho: 0.05}}\naveraging: {swa: {start: 50%}}\n",
                           "accumulate: 2\noptimizer: {sgd: {lr: 0.05}}\n",
                           "quantization: {weights: int8, activations: int8}\n"}) {
    std::string yaml = "for: 8 steps\n" + distillation;
    if (std::string(more).find("optimizer") != std::string::npos)
      yaml = "for: 8 steps\nobjectives: [soft_labels: {temperature: 2}]\n";
    yaml += more;
    const Distance seen = distance(trained(yaml, {}), trained(yaml, {card_}), untrained());
    EXPECT_GT(seen.moved, 1e-3) << more;
    EXPECT_LT(seen.between, seen.moved / 10) << more;
  }
}

TEST_F(OnCard, LowerPrecisionsFollow) {
  const std::string yaml = "for: 8 steps\n" + distillation;
  for (nn::Precision precision : {nn::Precision::bf16, nn::Precision::fp16}) {
    const Distance seen =
        distance(trained(yaml, {}), trained(yaml, {card_, precision}), untrained());
    EXPECT_LT(seen.between, seen.moved) << nn::precision_name(precision);
  }
}

#ifdef COMPRESS_CUDA
TEST_F(OnCard, StepsDoNotSynchronise) {
  using c10::cuda::SyncDebugMode;
  for (nn::Precision precision : {nn::Precision::float32, nn::Precision::bf16, nn::Precision::fp16})
    for (const char* more :
         {"", "sharpness: {sam: {rho: 0.1}}\naveraging: {swa: {start: 2 steps}}\naccumulate: 2\n",
          "quantization: {weights: int8, activations: int8, activation_scale: static}\n",
          "graphs: true\n"}) {
      Bench bench("for: 9 steps\n" + distillation + more, {card_, precision});
      bench.options.evaluate.every = Duration::steps(1);
      bench.options.evaluate.keep = "last";
      int64_t step = 0;
      bench.job.evaluate = [&] {
        // From the end of the third update to the end of the sixth, waiting is an error.
        ++step;
        c10::cuda::warning_state().set_sync_debug_mode(
            step >= 3 && step < 6 ? SyncDebugMode::L_ERROR : SyncDebugMode::L_DISABLED);
        return Score{{{"accuracy", 0.5}}, 0.5, true};
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
        distance(trained(yaml, place), trained(yaml + "graphs: true\n", place), untrained());
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
