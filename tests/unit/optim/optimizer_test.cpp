#include <torch/optim.h>

#include <gmock/gmock.h>

#include "helpers.h"

namespace compress::optim {
namespace {

using testing::HasSubstr;

// Runs `steps` updates with the same gradients through our optimizer and torch's, in one group with
// decay and one without, and compares the weights.
template <class TorchOptimizer, class TorchOptions>
void expect_as_torch(const std::string& text, const TorchOptions& with_decay, int64_t steps) {
  SmallModel model;
  auto ours = made(optimizers(), text);
  bind(*ours, model.table);
  auto leaf = [](const nn::Parameter* p) {
    return p->latent.detach().clone().set_requires_grad(true);
  };
  torch::Tensor matrix = leaf(model.matrix), bias = leaf(model.bias), norm = leaf(model.norm),
                words = leaf(model.embedding);
  TorchOptions plain = with_decay;
  plain.weight_decay(0);
  TorchOptimizer decayed({matrix, words}, with_decay), undecayed({bias, norm}, plain);
  for (int64_t step = 0; step < steps; ++step) {
    const double factor = 1.0 / static_cast<double>(step + 1);
    model.random_gradients();
    matrix.mutable_grad() = model.matrix->latent.grad().clone();
    bias.mutable_grad() = model.bias->latent.grad().clone();
    norm.mutable_grad() = model.norm->latent.grad().clone();
    words.mutable_grad() = model.embedding->latent.grad().clone();
    ours->step(factor, step);
    for (auto* optimizer : {&decayed, &undecayed}) {
      for (auto& group : optimizer->param_groups())
        group.options().set_lr(ours->learning_rate() * factor);
      optimizer->step();
    }
  }
  EXPECT_LT(furthest(model.matrix->latent, matrix), 2e-6);
  EXPECT_LT(furthest(model.bias->latent, bias), 2e-6);
  EXPECT_LT(furthest(model.norm->latent, norm), 2e-6);
  EXPECT_LT(furthest(model.embedding->latent, words), 2e-6);
}

TEST(AdamW, EqualsTorch) {
  expect_as_torch<torch::optim::AdamW>(
      "adamw: {lr: 0.05, beta1: 0.8, beta2: 0.95, weight_decay: 0.3}",
      torch::optim::AdamWOptions(0.05).betas({0.8, 0.95}).weight_decay(0.3), 12);
}

TEST(Sgd, EqualsTorch) {
  expect_as_torch<torch::optim::SGD>("sgd: {lr: 0.05, weight_decay: 0.3}",
                                     torch::optim::SGDOptions(0.05).momentum(0.9).weight_decay(0.3),
                                     12);
  expect_as_torch<torch::optim::SGD>("sgd: {lr: 0.05, momentum: 0.7, nesterov: true}",
                                     torch::optim::SGDOptions(0.05).momentum(0.7).nesterov(true),
                                     12);
  expect_as_torch<torch::optim::SGD>("sgd: {lr: 0.05, momentum: 0}", torch::optim::SGDOptions(0.05),
                                     5);
}

TEST(AdamW, FirstStepByHand) {
  nn::ParamTable table;
  nn::Parameter& w = table.add("w.weight", nn::Role::query, 0, torch::full({1, 1}, 2.0));
  auto optimizer = made(optimizers(), "adamw: {lr: 0.1, weight_decay: 0.5}");
  bind(*optimizer, table);
  w.latent.mutable_grad() = torch::full({1, 1}, 3.0);
  optimizer->step(0.5, 0);
  // rate 0.05: 2 (1 - 0.05 * 0.5) = 1.95; m / v = 3 / sqrt(9), so one rate further down.
  EXPECT_NEAR(w.latent.item<double>(), 1.95 - 0.05, 1e-6);
  auto moments = optimizer->moments(w);
  ASSERT_EQ(moments.size(), 2u);
  EXPECT_NEAR(moments[0].item<double>(), 0.3, 1e-6);
  EXPECT_NEAR(moments[1].item<double>(), 0.009, 1e-7);
}

// BERT's own optimizer: the moments as they are, and each gradient clipped by itself.
TEST(AdamW, WithoutCorrectionByHand) {
  for (const bool own_pass : {true, false}) {
    nn::ParamTable table;
    nn::Parameter& w = table.add("w.weight", nn::Role::query, 0, torch::full({2, 2}, 2.0));
    auto optimizer =
        made(optimizers(), "adamw: {lr: 0.1, weight_decay: 0.5, bias_correction: false}");
    bind(*optimizer, table);
    torch::Tensor gradient = torch::full({2, 2}, 3.0);
    w.latent.mutable_grad() = own_pass ? gradient : gradient.t();
    optimizer->step(0.5, 0);
    // rate 0.05: 1.95 by decay; m / sqrt(v) = 0.3 / sqrt(0.009)
    EXPECT_NEAR(w.latent[0][1].item<double>(), 1.95 - 0.05 * 0.3 / std::sqrt(0.009), 1e-5);
  }
}

TEST(AdamW, ClipsEachGradientByItself) {
  nn::ParamTable table;
  nn::Parameter& a = table.add("a", nn::Role::query, 0, torch::zeros({2, 1}));
  nn::Parameter& small = table.add("small", nn::Role::bias, 0, torch::zeros({1}));
  nn::Parameter& words = table.add("words", nn::Role::embedding, -1, torch::zeros({3, 1}));
  words.row_gradient = true;
  words.touched = {torch::tensor({2, 1, 2})};
  auto optimizer = made(optimizers(), "adamw: {clip_each: 1}");
  bind(*optimizer, table);
  a.latent.mutable_grad() = torch::tensor({{3.0f}, {-4.0f}});
  small.latent.mutable_grad() = torch::tensor({0.5f});
  words.latent.mutable_grad() = torch::tensor({{0.0f}, {6.0f}, {8.0f}});
  optimizer->step(1, 0);
  EXPECT_LT(furthest(a.latent.grad(), torch::tensor({{0.6f}, {-0.8f}})), 1e-6);
  EXPECT_EQ(small.latent.grad().item<float>(), 0.5f);
  EXPECT_LT(furthest(words.latent.grad(), torch::tensor({{0.0f}, {0.6f}, {0.8f}})), 1e-6);
  EXPECT_NEAR(optimizer->moments(a)[0][0].item<double>(), 0.06, 1e-6);
}

TEST(AdamW, LeavesParametersWithoutGradientAlone) {
  SmallModel model;
  auto optimizer = made(optimizers(), "adamw: {lr: 0.1, weight_decay: 0.5}");
  bind(*optimizer, model.table);
  auto before = model.copies();
  model.bias->latent.mutable_grad() = torch::ones({3});
  optimizer->step(1, 0);
  EXPECT_TRUE(torch::equal(model.matrix->latent, before[0]));
  EXPECT_FALSE(torch::equal(model.bias->latent, before[1]));
  EXPECT_TRUE(torch::equal(model.embedding->latent, before[3]));
}

void expect_resumes_exactly(const std::string& text) {
  auto run = [&](int64_t stop_at) {
    SmallModel model;
    auto optimizer = made(optimizers(), text);
    bind(*optimizer, model.table);
    for (int64_t step = 0; step < 6; ++step) {
      if (step == stop_at) {
        nn::TensorMap kept;
        for (const auto& [name, tensor] : optimizer->state()) kept[name] = tensor.clone();
        optimizer = made(optimizers(), text);
        bind(*optimizer, model.table);
        optimizer->load_state(kept);
      }
      model.random_gradients();
      optimizer->step(1, step);
    }
    return model.copies();
  };
  auto straight = run(-1), resumed = run(3);
  for (size_t i = 0; i < straight.size(); ++i) EXPECT_TRUE(torch::equal(straight[i], resumed[i]));
}

TEST(AdamW, ResumesExactly) {
  expect_resumes_exactly("adamw: {lr: 0.05}");
}
TEST(Sgd, ResumesExactly) {
  expect_resumes_exactly("sgd: {lr: 0.05}");
}

TEST(Optimizers, StateOfAnotherModelIsRefused) {
  SmallModel model;
  auto optimizer = made(optimizers(), "adamw: {lr: 0.1}");
  bind(*optimizer, model.table);
  nn::TensorMap state = optimizer->state();
  state["exp_avg.layer.weight"] = torch::zeros({4, 3});
  Error shape = failure([&] { optimizer->load_state(state); });
  EXPECT_EQ(shape.kind(), ErrorKind::model);
  EXPECT_THAT(shape.message(), HasSubstr("[4, 3], expected [3, 4]"));
  state.erase("exp_avg.layer.weight");
  EXPECT_THAT(failure([&] { optimizer->load_state(state); }).message(),
              HasSubstr("no tensor exp_avg.layer.weight"));
}

TEST(Optimizers, WrongOptionsAreRefused) {
  for (const char* text :
       {"adamw: {lr: 0}", "adamw: {lr: 1e-3, beta1: 1}", "adamw: {lr: 1e-3, weight_decay: -1}",
        "sgd: {momentum: 0.9}", "sgd: {lr: 1, momentum: 0, nesterov: true}"})
    EXPECT_EQ(failure([&] { made(optimizers(), text); }).kind(), ErrorKind::recipe) << text;
}

TEST(Clip, ByHand) {
  nn::ParamTable table;
  nn::Parameter& a = table.add("a", nn::Role::query, 0, torch::zeros({2, 1}));
  nn::Parameter& words = table.add("words", nn::Role::embedding, -1, torch::zeros({4, 1}));
  table.add("none", nn::Role::bias, 0, torch::zeros({2}));
  words.row_gradient = true;
  words.touched = {torch::tensor({2, 1, 2}), torch::tensor({1})};
  a.latent.mutable_grad() = torch::tensor({{2.0f}, {-4.0f}});
  words.latent.mutable_grad() = torch::tensor({{0.0f}, {1.0f}, {2.0f}, {0.0f}});
  EXPECT_NEAR(clip_gradients(table.trainable(), 10).item<double>(), 5, 1e-6);  // sqrt(4+16+1+4)
  EXPECT_TRUE(torch::equal(a.latent.grad(), torch::tensor({{2.0f}, {-4.0f}})));
  EXPECT_NEAR(clip_gradients(table.trainable(), 0.5).item<double>(), 5, 1e-6);
  EXPECT_LT(furthest(a.latent.grad(), torch::tensor({{0.2f}, {-0.4f}})), 1e-6);
  EXPECT_LT(furthest(words.latent.grad(), torch::tensor({{0.0f}, {0.1f}, {0.2f}, {0.0f}})), 1e-6);
}

TEST(Clip, WithoutGradientsIsZero) {
  SmallModel model;
  EXPECT_EQ(clip_gradients(model.all(), 1).item<double>(), 0);
}

TEST(Components, EveryOneTellsItsStory) {
  const std::initializer_list<const recipe::Registry*> all = {&optimizers(), &schedules(),
                                                              &movers(), &averagings()};
  for (const recipe::Registry* registry : all)
    for (const auto& info : registry->list()) {
      EXPECT_FALSE(info->summary.empty()) << info->name;
      EXPECT_FALSE(info->equation.empty()) << info->name;
    }
  EXPECT_THAT(optimizers().names(), testing::ElementsAre("adamw", "sgd"));
  EXPECT_THAT(averagings().names(), testing::ElementsAre("swa", "ema"));
}

}  // namespace
}  // namespace compress::optim
