#include <filesystem>

#include "../../../src/train/loss_scale.h"
#include "support/scene.h"
#include "unit/train/stage.h"

namespace compress::train {
namespace {

struct OneWeight {
  nn::ParamTable table;
  nn::Parameter& weight = table.add("w.weight", nn::Role::query, 0, torch::tensor({{1.0f, -2.0f}}));
  std::vector<nn::Parameter*> all() { return table.trainable(); }
  void gradient(float first, float second) {
    weight.latent.mutable_grad() = torch::tensor({{first, second}});
  }
};

TEST(LossScale, GradientsComeBackToTheirSize) {
  OneWeight model;
  LossScale scale(torch::kCPU);
  EXPECT_EQ(scale.scale(), 65536);
  EXPECT_EQ(scale.scaled(torch::tensor(0.5f)).item<float>(), 32768);
  scale.begin();
  model.gradient(65536, -3 * 65536);
  scale.unscale(model.all());
  EXPECT_TRUE(torch::equal(model.weight.latent.grad(), torch::tensor({{1.0f, -3.0f}})));
  EXPECT_EQ(scale.found().item<float>(), 0);
  scale.update();
  EXPECT_EQ(scale.skipped_updates(), 0);
}

TEST(LossScale, HalvesAfterAnOverflowAndDoublesAfterGoodUpdates) {
  OneWeight model;
  LossScale scale(torch::kCPU);
  for (float bad :
       {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    scale.begin();
    model.gradient(1, bad);
    scale.unscale(model.all());
    EXPECT_EQ(scale.found().item<float>(), 1);
    scale.update();
  }
  EXPECT_EQ(scale.scale(), 16384);
  EXPECT_EQ(scale.skipped_updates(), 2);
  for (int i = 0; i < 2000; ++i) {
    EXPECT_EQ(scale.scale(), 16384) << i;
    scale.begin();
    model.gradient(1, 1);
    scale.unscale(model.all());
    scale.update();
  }
  EXPECT_EQ(scale.scale(), 32768);
  EXPECT_EQ(scale.skipped_updates(), 2);
}

TEST(LossScale, StateComesBackAndNonsenseIsRefused) {
  OneWeight model;
  LossScale scale(torch::kCPU), other(torch::kCPU);
  scale.begin();
  model.gradient(std::numeric_limits<float>::infinity(), 0);
  scale.unscale(model.all());
  scale.update();
  nn::TensorMap state = scale.state();
  other.load_state(state);
  EXPECT_EQ(other.scale(), 32768);
  EXPECT_EQ(other.skipped_updates(), 1);
  EXPECT_THROW(other.load_state({}), Error);
  state["scale"] = torch::tensor(-1.0f);
  EXPECT_THROW(other.load_state(state), Error);
  state["scale"] = torch::tensor(1, torch::kInt32);
  EXPECT_THROW(other.load_state(state), Error);
}

class Skipping : public testing::TestWithParam<const char*> {};

TEST_P(Skipping, AnUpdateLeftOutLeavesNoTrace) {
  auto make = [](OneWeight& model) {
    recipe::Component component;
    recipe::Problems problems;
    optim::optimizers().read(recipe::parse_text(GetParam()), component, problems);
    problems.raise();
    auto optimizer = optim::optimizers().maker(component)(component);
    bind(*optimizer, model.table);
    return optimizer;
  };
  OneWeight skipping, plain;
  auto first = make(skipping), second = make(plain);
  torch::Tensor found = torch::ones({}), skipped = torch::zeros({});
  first->skip_where(found, skipped);
  const torch::Tensor before = skipping.weight.latent.detach().clone();
  skipping.gradient(std::numeric_limits<float>::quiet_NaN(), 1);
  first->step(1, 0);
  EXPECT_TRUE(torch::equal(skipping.weight.latent, before));
  for (const torch::Tensor& moment : first->moments(skipping.weight))
    EXPECT_EQ(moment.abs().sum().item<float>(), 0);
  // The next one is the first as far as bias correction goes.
  found.zero_();
  skipped.fill_(1);
  for (int64_t step = 0; step < 3; ++step) {
    skipping.gradient(0.3f, -0.2f);
    plain.gradient(0.3f, -0.2f);
    first->step(1, step + 1);
    second->step(1, step);
  }
  EXPECT_FALSE(torch::equal(skipping.weight.latent, before));
  EXPECT_TRUE(torch::equal(skipping.weight.latent, plain.weight.latent));
}

INSTANTIATE_TEST_SUITE_P(Optimizers, Skipping,
                         testing::Values("adamw: {lr: 0.1}", "sgd: {lr: 0.1, momentum: 0.9}"));

const Place half{torch::kCPU, nn::Precision::fp16};
const std::string recipe_text =
    "for: 8 steps\nobjectives: [soft_labels: {temperature: 2}, labels: {}]\n"
    "optimizer: {adamw: {lr: 1e-3}}\n";

TEST(Fp16, FollowsFloat32) {
  Bench reference(recipe_text), rough(recipe_text, half), start(recipe_text);
  // The same draws of dropout exist in one precision only.
  auto without_dropout = [](Bench& bench) {
    nn::ModelState state = nn::tiny_bert(nn::HeadKind::classification);
    state.config.hidden_dropout = state.config.attention_dropout = state.config.classifier_dropout =
        0;
    bench.student = nn::build(state, 1);
    bench.job.student = bench.student.get();
  };
  for (Bench* bench : {&reference, &rough, &start}) without_dropout(*bench);
  run(reference.job);
  Result result = run(rough.job);
  const Distance seen = distance(reference.weights(), rough.weights(), start.weights());
  EXPECT_GT(seen.moved, 4e-3);
  EXPECT_LT(seen.between, seen.moved);
  for (const auto& [name, value] : rough.weights())
    EXPECT_TRUE(value.isfinite().all().item<bool>()) << name;
}

TEST(Fp16, UpdatesThatOverflowAreLeftOutAndReported) {
  Bench bench(recipe_text, half);
  {
    // A loss this steep overflows fp16 at the first scales.
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

TEST(Fp16, ResumesToTheBit) {
  const std::filesystem::path file =
      std::filesystem::temp_directory_path() / str("compress-fp16-", getpid());
  Bench whole(recipe_text, half);
  run(whole.job);
  std::atomic<bool> stop{false};
  int64_t evaluations = 0;
  Bench first(recipe_text, half);
  first.job.state_file = file;
  first.job.stop = &stop;
  first.options.evaluate.every = Duration::steps(1);
  first.options.evaluate.keep = "last";
  first.job.evaluate = [&] {
    if (++evaluations == 3) stop = true;
    return Score{{{"accuracy", 0.5}}, 0.5, true};
  };
  EXPECT_THROW(run(first.job), Error);
  Bench second(recipe_text, half);
  second.job.state_file = file;
  run(second.job);
  std::filesystem::remove(file);
  expect_equal(whole.weights(), second.weights());
}

}  // namespace
}  // namespace compress::train
