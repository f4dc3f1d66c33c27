#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "compress/augment/augment.h"
#include "compress/base/error.h"
#include "compress/nn/plugs.h"
#include "unit/augment/made.h"
#include "unit/nn/support.h"

namespace compress::augment {
namespace {

using testing::HasSubstr;
using torch::Tensor;

std::unique_ptr<nn::Model> model(double dropout = 0, int64_t layers = 2, double of_attention = 0) {
  nn::ModelState state = nn::tiny_bert(nn::HeadKind::masked_lm, layers);
  state.config.hidden_dropout = dropout;
  state.config.attention_dropout = of_attention;
  auto made = nn::build(state, 1);
  made->params().refresh(nn::Precision::float32);
  return made;
}

void bind(Augment& augment, nn::Model& model, nn::Precision precision = nn::Precision::float32) {
  nn::ParamTable none;
  augment.bind({.student = model.config(),
                .weights = model.params(),
                .helpers = none,
                .precision = precision});
}

// What the noise adds to states that are zero, at each place that it is asked at.
struct Seen {
  std::vector<Tensor> before, between;
};
Seen added(const std::string& text, const nn::RowInfo& rows, int64_t layers = 4) {
  auto student = model(0, layers);
  auto augment = made(text);
  bind(*augment, *student);
  const Tensor zeros = torch::zeros({600, 32});
  Seen seen;
  for (int64_t layer = 0; layer < layers; ++layer) {
    seen.before.push_back(augment->plugs()->before_layer(zeros, layer, rows));
    seen.between.push_back(augment->plugs()->before_feed_forward(zeros, layer, rows));
  }
  return seen;
}

const nn::RowInfo training{true, 600, 11, 0};

TEST(HiddenNoise, FollowsTheNamedLaw) {
  const double sigma = 0.02;
  const Tensor normal = added("hidden_noise: {sigma: 0.02}", training).before[1];
  EXPECT_NEAR(normal.mean().item<double>(), 0, sigma * 0.03);
  EXPECT_NEAR(normal.std().item<double>(), sigma, sigma * 0.03);
  EXPECT_GT(normal.abs().max().item<double>(), 3 * sigma);
  const Tensor uniform = added("hidden_noise: {law: uniform, sigma: 0.02}", training).before[1];
  EXPECT_NEAR(uniform.mean().item<double>(), 0, sigma * 0.03);
  EXPECT_NEAR(uniform.std().item<double>(), sigma / std::sqrt(3.0), sigma * 0.03);
  EXPECT_LE(uniform.abs().max().item<double>(), sigma);
  const Tensor one_sided =
      added("hidden_noise: {law: uniform_01, sigma: 0.02}", training).before[1];
  EXPECT_NEAR(one_sided.mean().item<double>(), sigma / 2, sigma * 0.03);
  EXPECT_GE(one_sided.min().item<double>(), 0);
}

TEST(HiddenNoise, ActsWhereItIsAskedTo) {
  struct Case {
    const char* text;
    std::vector<bool> before, between;
  };
  for (const Case& each : {Case{"hidden_noise: {}", {1, 1, 1, 1}, {0, 0, 0, 0}},
                           Case{"hidden_noise: {where: within}", {0, 0, 0, 0}, {1, 1, 1, 1}},
                           Case{"hidden_noise: {where: both, first_layer: 1, last_layer: 2}",
                                {0, 1, 1, 0},
                                {0, 1, 1, 0}},
                           Case{"hidden_noise: {first_layer: 3}", {0, 0, 0, 1}, {0, 0, 0, 0}}}) {
    const Seen seen = added(each.text, training), still = added(each.text, {false, 600, 11, 0});
    for (size_t layer = 0; layer < 4; ++layer) {
      EXPECT_EQ(seen.before[layer].any().item<bool>(), each.before[layer]) << each.text;
      EXPECT_EQ(seen.between[layer].any().item<bool>(), each.between[layer]) << each.text;
      EXPECT_FALSE(still.before[layer].any().item<bool>());
      EXPECT_FALSE(still.between[layer].any().item<bool>());
    }
  }
  const Seen both = added("hidden_noise: {where: both}", training);
  EXPECT_FALSE(torch::equal(both.before[0], both.before[1]));
  EXPECT_FALSE(torch::equal(both.before[0], both.between[0]));
}

// In a model: none outside of training, the same for the same pass, of a part what the whole has.
TEST(HiddenNoise, IsDrawnByPassAndPlace) {
  auto student = model();
  auto augment = made("hidden_noise: {sigma: 0.1, where: both}");
  bind(*augment, *student);
  const data::Batch batch = nn::random_batch({3, 5, 2});
  torch::NoGradGuard no_grad;
  auto logits = [&](const data::Batch& rows, const nn::Pass& pass) {
    return student->forward(rows, {}, pass).token_logits;
  };
  const Tensor plain = logits(batch, {});
  student->plug(augment->plugs());
  EXPECT_TRUE(torch::equal(logits(batch, {}), plain));
  const nn::Pass pass{true, 7, nn::Precision::float32};
  const Tensor noisy = logits(batch, pass);
  EXPECT_FALSE(torch::allclose(noisy, plain));
  EXPECT_TRUE(torch::equal(logits(batch, pass), noisy));
  EXPECT_FALSE(torch::equal(logits(batch, {true, 8, nn::Precision::float32}), noisy));
  EXPECT_TRUE(
      torch::allclose(logits(data::slice(batch, 1, 3), pass), noisy.narrow(0, 3, 7), 1e-5, 1e-5));
}

// E[L(h + e)] - L(h) = sigma^2 tr(H) / 2 of a loss that is quadratic in h, here |W h|^2 with
// H = 2 W^T W.
TEST(HiddenNoise, RaisesAQuadraticLossByItsVariance) {
  const Tensor weight = torch::linspace(-1, 1, 4 * 32).reshape({4, 32});
  const Tensor noise = added("hidden_noise: {sigma: 0.5}", training).before[0];
  const double seen = torch::mm(noise, weight.t()).square().sum(1).mean().item<double>();
  const double expected = 0.25 * weight.square().sum().item<double>();
  EXPECT_NEAR(seen, expected, 0.15 * expected);
}

TEST(HiddenNoise, TurnsDropoutOffUnlessItIsWanted) {
  EXPECT_FALSE(made("hidden_noise: {}")->plugs()->drops_hidden());
  EXPECT_TRUE(made("hidden_noise: {dropout: true}")->plugs()->drops_hidden());
  auto dropping = model(0.5);
  auto without = model(0);
  auto augment = made("hidden_noise: {sigma: 0.1}");
  bind(*augment, *dropping);
  dropping->plug(augment->plugs());
  without->plug(augment->plugs());
  torch::NoGradGuard no_grad;
  const data::Batch batch = nn::random_batch({3, 5, 2});
  const nn::Pass pass{true, 7, nn::Precision::float32};
  EXPECT_TRUE(torch::equal(dropping->forward(batch, {}, pass).token_logits,
                           without->forward(batch, {}, pass).token_logits));
}

Tensor logits_of(nn::Model& student, const std::string& text, const nn::Pass& pass) {
  std::unique_ptr<Augment> augment;
  if (!text.empty()) {
    augment = made(text);
    bind(*augment, student);
    student.plug(augment->plugs());
  }
  torch::NoGradGuard no_grad;
  Tensor logits = student.forward(nn::random_batch({3, 5, 2}), {}, pass).token_logits;
  if (augment) student.unplug(augment->plugs());
  return logits;
}

// What HyPe changes besides the noise, alone: dropout on hidden states goes, that of attention
// stays.
TEST(HiddenNoise, SigmaZeroTakesDropoutAlone) {
  const nn::Pass pass{true, 7, nn::Precision::float32};
  auto dropping = model(0.5, 2, 0.5), attending = model(0, 2, 0.5);
  const Tensor found = logits_of(*dropping, "hidden_noise: {sigma: 0}", pass);
  EXPECT_TRUE(torch::equal(found, logits_of(*attending, "", pass)));
  EXPECT_FALSE(torch::allclose(found, logits_of(*model(), "", pass)));
  EXPECT_TRUE(torch::equal(logits_of(*dropping, "hidden_noise: {sigma: 0, dropout: true}", pass),
                           logits_of(*dropping, "", pass)));
  EXPECT_TRUE(torch::equal(logits_of(*dropping, "hidden_noise: {sigma: 0.1}", {}),
                           logits_of(*dropping, "", {})));
}

// Counts what it is asked for, in the order of the pass.
struct Counter final : nn::Plugs {
  std::vector<int64_t> layers;
  Tensor before_layer(const Tensor& x, int64_t layer, const nn::RowInfo&) override {
    layers.push_back(layer);
    return x;
  }
};

TEST(HiddenNoise, EachLayerReadsItOnce) {
  auto student = model(0, 4);
  Counter counter;
  student->plug(&counter);
  torch::NoGradGuard no_grad;
  (void)student->forward(nn::random_batch({3, 5, 2}), {}, {true, 7, nn::Precision::float32});
  EXPECT_THAT(counter.layers, testing::ElementsAre(0, 1, 2, 3));
}

TEST(HiddenNoise, RefusesWhatWouldBeLost) {
  auto student = model();
  auto message = [&](const std::string& text, nn::Precision precision) {
    try {
      bind(*made(text), *student, precision);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::recipe);
      return error.message();
    }
    return std::string();
  };
  EXPECT_EQ(message("hidden_noise: {sigma: 1e-5}", nn::Precision::float32), "");
  EXPECT_THAT(message("hidden_noise: {sigma: 1e-5}", nn::Precision::bf16), HasSubstr("lost"));
  EXPECT_THAT(message("hidden_noise: {sigma: 1e-5}", nn::Precision::fp16), HasSubstr("lost"));
  EXPECT_EQ(message("hidden_noise: {sigma: 0.01}", nn::Precision::bf16), "");
  EXPECT_EQ(message("hidden_noise: {sigma: 0}", nn::Precision::bf16), "");
  EXPECT_THROW(made("hidden_noise: {sigma: -1}"), Error);
  EXPECT_THAT(message("hidden_noise: {first_layer: 2}", nn::Precision::float32),
              HasSubstr("layer 2"));
  EXPECT_THAT(message("hidden_noise: {last_layer: 9}", nn::Precision::float32),
              HasSubstr("layer 9"));
  EXPECT_THROW(made("hidden_noise: {first_layer: 2, last_layer: 1}"), Error);
  EXPECT_THROW(made("hidden_noise: {law: cauchy}"), Error);
}

}  // namespace
}  // namespace compress::augment
