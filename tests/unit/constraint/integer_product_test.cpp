// Integer products of a quantised model against the products of its fake-quantised floats.

#include "compress/constraint/quantize.h"
#include "compress/nn/packed.h"
#include "helpers.h"
#include "unit/nn/support.h"

namespace compress::constraint {
namespace {

using torch::Tensor;

// Rows of both signs and many sizes, one of them zeros, one of a single value.
Tensor inputs() {
  torch::manual_seed(5);
  Tensor x = torch::randn({9, 37}) * torch::logspace(-6, 4, 9).unsqueeze(1);
  x[3].zero_();
  x[5].fill_(-2.5f);
  return x;
}

// What `transform` gives as integers, multiplied out.
Tensor multiplied_out(const nn::InputTransform& transform, const Tensor& x) {
  const int64_t stride = x.size(1) + 3;
  Tensor q = torch::full({x.size(0), stride}, 77, torch::kInt8), scales = torch::empty({x.size(0)});
  const nn::IntegerRows* integers = transform.integers();
  integers->round(x.const_data_ptr<float>(), x.size(0), x.size(1), q.mutable_data_ptr<int8_t>(),
                  stride, scales.mutable_data_ptr<float>());
  EXPECT_TRUE(q.narrow(1, x.size(1), stride - x.size(1)).eq(77).all().item<bool>());
  return (q.narrow(1, 0, x.size(1)).to(torch::kFloat32) - integers->zero()) * scales.unsqueeze(1);
}

struct Held {
  TinyModel model;
  nn::Parameter& p;
  std::unique_ptr<Constraint> constraint;
  explicit Held(const std::string& text)
      : p(model.add(torch::randn({6, 37}))), constraint(quantizer(text)) {
    bind(*constraint, model);
  }
  void start() { constraint->before_update(at_step(0)); }
};

TEST(IntegerInputs, TimesTheirScalesAreTheFakeQuantisedOnes) {
  Held token("{}");
  EXPECT_EQ(token.p.input->integers(), nullptr);  // not in force yet
  token.start();
  Tensor x = inputs();
  EXPECT_TRUE(torch::equal(multiplied_out(*token.p.input, x), token.p.input->apply(x, {})));

  Held fixed("{activation_scale: static}");
  fixed.start();
  EXPECT_EQ(fixed.p.input->integers(), nullptr);  // nothing was observed
  fixed.p.input->apply(x / 3, {true, -1});
  // Some values lie beyond the range and are clamped.
  Tensor rounded = fixed.p.input->apply(x, {});
  EXPECT_LT(rounded.abs().max().item<float>(), x.abs().max().item<float>());
  EXPECT_TRUE(torch::equal(multiplied_out(*fixed.p.input, x), rounded));

  Held affine("{activations: uint8, activation_scale: static}");
  affine.start();
  EXPECT_EQ(affine.p.input->integers(), nullptr);
  affine.p.input->apply(x.clamp_min(-1), {true, -1});
  EXPECT_LT(affine.p.input->integers()->zero(), -100);  // hardly anything is negative
  EXPECT_TRUE(torch::equal(multiplied_out(*affine.p.input, x), affine.p.input->apply(x, {})));
}

// Quotients on and beside the middle between integers, of scales that are hard to divide by, and
// rows whose scale or quotients are beyond what is divided by multiplying.
TEST(IntegerInputs, AreRoundedAsADivisionRounds) {
  torch::manual_seed(6);
  constexpr int64_t rows = 300, width = 1024;
  const Tensor middles = (torch::randint(-127, 127, {rows, width}) + 0.5f) / 127.5f;
  const Tensor beside = 1 + torch::randint(-3, 4, {rows, width}) * 0x1p-24f;
  Tensor x = middles * beside * (1 + torch::rand({rows, 1}));
  x.select(1, 0).fill_(2);
  x.select(1, 1).fill_(-2);
  x[0] *= 0x1p-110f;
  x[1] *= 0x1p-120f;
  x[2] *= 0x1p120f;
  Held token("{}");
  token.start();
  EXPECT_TRUE(torch::equal(multiplied_out(*token.p.input, x), token.p.input->apply(x, {})));
  for (const char* text :
       {"{activation_scale: static}", "{activations: uint8, activation_scale: static}"}) {
    Held fixed(text);
    fixed.start();
    fixed.p.input->apply(torch::rand({4, width}) * 1.7f - 0.4f, {true, -1});
    EXPECT_TRUE(torch::equal(multiplied_out(*fixed.p.input, x), fixed.p.input->apply(x, {})))
        << text;
  }
}

TEST(IntegerInputs, WhatIsNotANumberIsNotHidden) {
  Tensor x = inputs();
  x[1][4] = NAN;
  for (const char* text :
       {"{}", "{activation_scale: static}", "{activations: uint8, activation_scale: static}"}) {
    Held held(text);
    held.start();
    held.p.input->apply(inputs(), {true, -1});
    Tensor out = multiplied_out(*held.p.input, x);
    EXPECT_TRUE(out[1].isnan().any().item<bool>()) << text;
    EXPECT_TRUE(out[2].isfinite().all().item<bool>()) << text;
  }
}

TEST(IntegerWeights, StepsAreThoseOfTheRoundedWeight) {
  for (const char* granularity : {"channel", "tensor"}) {
    Held held(str("{weight_granularity: ", granularity, "}"));
    Tensor latent = effective(held.model, held.p);
    EXPECT_FALSE(held.p.steps.defined());
    held.start();
    Tensor weight = effective(held.model, held.p);
    QuantizedWeight q = quantize_weight(latent, parse_granularity(granularity));
    EXPECT_EQ(values(held.p.steps), values(q.scale));
    EXPECT_TRUE(torch::equal(weight, q.values.to(torch::kFloat32) * held.p.steps));
  }
}

// A whole model: the integer sums have no rounding of their own, so outputs agree to float32's
// rounding, unless that puts a value next to a rounding border of the next layer on its other side.
class IntegerModel
    : public testing::TestWithParam<std::tuple<std::string, std::string, nn::IntegerProducts>> {};

TEST_P(IntegerModel, AgreesWithFakeQuantisation) {
  auto [granularity, scale, products] = GetParam();
  auto model = nn::build(nn::tiny_bert(nn::HeadKind::classification), 1);
  const std::string affine = "static, activations: uint8, outputs: uint8";
  auto constraint = quantizer(str("{weight_granularity: ", granularity,
                                  ", activation_scale: ", scale == "affine" ? affine : scale, "}"));
  bind(*constraint, *model);
  constraint->before_update(at_step(0));
  data::Batch many = nn::random_batch({9, 5, 12, 60, 1, 17, 33});
  torch::NoGradGuard no_grad;
  model->params().refresh(nn::Precision::float32);
  model->forward(many, {}, {true, 3, nn::Precision::float32});  // static scales see their inputs
  constraint->before_update(at_step(99));
  for (const data::Batch& batch : {many, nn::random_batch({7}), nn::random_batch({1})}) {
    nn::Capture capture;
    capture.hidden = true;
    nn::Outputs fake = model->forward(batch, capture, {});
    nn::PackedWeights packed(model->params(), products);
    const nn::Parameter& dense = *model->params().find("encoder.layer.0.output.dense.weight");
    const nn::Parameter& query =
        *model->params().find("encoder.layer.1.attention.self.query.weight");
    ASSERT_TRUE(dense.packed != nullptr && dense.packed->integers());
    ASSERT_TRUE(query.fused->packed != nullptr && query.fused->packed->integers());
    nn::Outputs whole = model->forward(batch, capture, {});
    const double scale_of = fake.hidden[1].abs().max().item<double>();
    Tensor off = (whole.hidden[1] - fake.hidden[1]).abs().amax(1) / scale_of;
    EXPECT_LT(off.median().item<double>(), 1e-5);
    EXPECT_LT(off.max().item<double>(), 0.05);  // a step or two of int8
    EXPECT_LT((whole.logits - fake.logits).abs().max().item<double>(),
              0.02 * fake.logits.abs().max().item<double>());
  }
}

INSTANTIATE_TEST_SUITE_P(All, IntegerModel,
                         testing::Combine(testing::Values("channel", "tensor"),
                                          testing::Values("dynamic", "static", "affine"),
                                          testing::ValuesIn(nn::available_integer_products())),
                         [](const auto& tested) {
                           return std::get<0>(tested.param) + "_" + std::get<1>(tested.param) +
                                  "_" + nn::name(std::get<2>(tested.param));
                         });

TEST(IntegerProduct, OneLayerIsTheProductOfTheRoundedFloats) {
  torch::manual_seed(9);
  for (const char* text : {"{}", "{activations: uint8, activation_scale: static}"})
    for (auto [out, in] : {std::pair<int64_t, int64_t>{1, 1}, {5, 3}, {70, 33}, {64, 384}})
      for (int64_t rows : {1, 2, 13, 100}) {
        TinyModel model;
        nn::Parameter& p = model.add(torch::randn({out, in}));
        auto constraint = quantizer(text);
        bind(*constraint, model);
        constraint->before_update(at_step(0));
        model.params().refresh(nn::Precision::float32);
        torch::NoGradGuard no_grad;
        Tensor x = torch::randn({rows, in}), bias = torch::randn({out});
        p.input->apply(at::gelu(x), {true, -1});
        Tensor expected = at::linear(p.input->apply(x, {}).to(torch::kDouble),
                                     p.effective.to(torch::kDouble), bias.to(torch::kDouble));
        for (nn::IntegerProducts products : nn::available_integer_products()) {
          nn::PackedWeights packed(model.params(), products);
          ASSERT_TRUE(p.packed->integers());
          Tensor y = p.packed->multiply(x, {}, bias, false);
          EXPECT_LT(((y - expected).abs() / (expected.abs() + 1)).max().item<double>(), 1e-5)
              << rows << " x " << out << " x " << in;
        }
      }
}

}  // namespace
}  // namespace compress::constraint
