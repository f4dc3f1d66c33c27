// Q8BERT's scheme: affine uint8 inputs and outputs, per-tensor weights whose range widens (Zafrir
// et al. 2019, arXiv 1910.06188, as the code of arXiv 2111.05754 has it).

#include <cmath>

#include "compress/nn/layers.h"
#include "helpers.h"

namespace compress::constraint {
namespace {

using testing::ElementsAre;
using testing::FloatEq;
using testing::HasSubstr;
using torch::Tensor;

const std::string module = "encoder.layer.0.intermediate.dense";
const std::string options =
    "{weight_granularity: tensor, weight_range: widening, activations: uint8, activation_scale: "
    "static, outputs: uint8, averaging: 0.5, freeze_observers: 50 steps";
const std::string scheme_text = options + "}";

struct Bound {
  TinyModel model;
  nn::Parameter& p;
  std::unique_ptr<Constraint> constraint;
  explicit Bound(const std::string& text)
      : p(model.add(torch::tensor({{1.0f, -2.0f, 0.0f}, {12.75f, 3.0f, 0.25f}}))),
        constraint(quantizer(text)) {
    bind(*constraint, model);
    constraint->before_update(at_step(0));
  }
  nn::Json scheme() const { return constraint->export_scheme(); }
};

// The range -51 .. 204 has the scale 1 and 51 stands for 0.
TEST(Affine, RoundsToUnsignedIntegersAroundTheZero) {
  for (torch::ScalarType type : {torch::kFloat32, torch::kDouble, torch::kBFloat16}) {
    Bound b(scheme_text);
    b.p.input->apply(torch::tensor({{-51.0f, 204.0f, 0.0f}}, type), {true});
    b.p.output->apply(torch::zeros({1, 1}), {true});
    b.constraint->before_update(at_step(60));
    EXPECT_EQ(b.scheme()["input_scales"][module], 1.0);
    EXPECT_EQ(b.scheme()["input_zeros"][module], 51);
    // 51 - 60 is clamped to 0, 51 + 300 to 255; 53.5 and 54.5 go to the even 54.
    Tensor x = torch::tensor({{-60.0f, -51.0f, 0.0f, 2.5f, 3.5f, 204.0f, 300.0f}}, type);
    x.requires_grad_(true);
    const Tensor y = b.p.input->apply(x, {true});
    EXPECT_THAT(values(y), ElementsAre(-51, -51, 0, 3, 3, 204, 204));
    y.backward(torch::full({1, 7}, 2.0f, type));
    EXPECT_THAT(values(x.grad()), ElementsAre(0, 2, 2, 2, 2, 2, 0));
  }
}

TEST(Affine, ZeroLiesInTheRange) {
  auto grid_of = [](float low, float high) {
    Bound b(scheme_text);
    b.p.input->apply(torch::tensor({{low, high}}), {true});
    const auto* inputs = b.p.input->integers();
    const Tensor zero = b.p.input->apply(torch::zeros({1, 1}), {false});
    EXPECT_EQ(zero.item<float>(), 0);  // to the bit, wherever it lies
    return inputs->zero() + 128;
  };
  EXPECT_EQ(grid_of(1, 5), 0);
  EXPECT_EQ(grid_of(-5, -1), 255);
  EXPECT_EQ(grid_of(-0.17f, 8), 5);  // round(0.17 / (8.17 / 255))
  EXPECT_EQ(grid_of(0, 0), 0);
}

TEST(Affine, TheRangeIsAMovingMinimumAndMaximum) {
  Bound b(scheme_text);
  EXPECT_THAT(error_of(ErrorKind::recipe, [&] { b.scheme(); }), HasSubstr("never observed"));
  b.p.output->apply(torch::zeros({1, 1}), {true});
  b.p.input->apply(torch::tensor({{-51.0f, 204.0f}}), {true});
  b.p.input->apply(torch::tensor({{-1.0f, 50.0f}}), {true});  // -26, 127
  EXPECT_FLOAT_EQ(b.scheme()["input_scales"][module].get<float>(), 153.0f / 255);
  EXPECT_EQ(b.scheme()["input_zeros"][module], 43);           // 26 / 0.6 = 43.3
  b.p.input->apply(torch::tensor({{-1e4f, 1e4f}}), {false});  // no training pass
  b.constraint->before_update(at_step(50));
  b.p.input->apply(torch::tensor({{-1e4f, 1e4f}}), {true});  // frozen
  EXPECT_EQ(b.scheme()["input_zeros"][module], 43);
}

TEST(Widening, TheWeightsRangeOnlyGrowsInTraining) {
  Bound b(scheme_text);  // the largest magnitude is 12.75: a scale of 0.1
  EXPECT_THAT(values(effective(b.model, b.p)),
              ElementsAre(1, -2, 0, FloatEq(12.7f), 3, FloatEq(0.2f)));
  b.constraint->after_update(at_step(1));
  b.p.latent.detach().div_(2);  // the scale stays: 0.5 is 5 steps still
  b.constraint->before_update(at_step(1));
  EXPECT_THAT(values(effective(b.model, b.p)),
              ElementsAre(0.5, -1, 0, FloatEq(6.4f), 1.5, FloatEq(0.1f)));
  EXPECT_EQ(b.p.steps.item<float>(), 0.1f);
  b.constraint->after_update(at_step(2));
  b.p.latent.detach().mul_(4);  // an evaluation clamps what lies beyond, and widens nothing
  EXPECT_THAT(values(effective(b.model, b.p))[3], FloatEq(12.7f));
  b.constraint->before_update(at_step(2));
  EXPECT_THAT(values(effective(b.model, b.p))[3], FloatEq(25.4f));
  // Straight-through, and as many scales as rows where these have one each.
  EXPECT_THAT(values(latent_gradient(b.model, b.p, torch::ones({2, 3}))),
              ElementsAre(1, 1, 1, 1, 1, 1));
  Bound rows("{weight_range: widening, activations: none}");
  effective(rows.model, rows.p);
  EXPECT_EQ(rows.scheme()["weight_scales"][module].size(), 2u);
}

TEST(Widening, ZerosOfAPatternStayZeros) {
  TinyModel model;
  nn::Parameter& p = model.add(torch::tensor({{0.0f, 3.0f, -1.0f}, {1.0f, 0.0f, 6.31f}}));
  auto pattern = pruner("keep_pattern");
  auto int8 = quantizer(scheme_text);
  bind(*pattern, model);
  bind(*int8, model);
  int8->before_update(at_step(0));
  const Tensor used = effective(model, p);
  EXPECT_EQ(used[0][0].item<float>(), 0);
  EXPECT_EQ(used[1][1].item<float>(), 0);
  EXPECT_EQ(zeros(used), 2);
}

// Query, key and value in one product, the other layers of a block, the pooler and a task head.
struct Block {
  TinyModel model;
  std::vector<nn::Parameter*> all;
  std::unique_ptr<Constraint> constraint = quantizer(options + ", targets: [linear, head]}");
  Block() {
    torch::manual_seed(8);
    const std::string layer = "encoder.layer.0.";
    auto add = [&](const std::string& name, nn::Role role) {
      all.push_back(&model.add(name, role, torch::randn({4, 4})));
    };
    add(layer + "attention.self.query.weight", nn::Role::query);
    add(layer + "attention.self.key.weight", nn::Role::key);
    add(layer + "attention.self.value.weight", nn::Role::value);
    model.params().fuse(all);
    add(layer + "attention.output.dense.weight", nn::Role::attention_output);
    add(layer + "intermediate.dense.weight", nn::Role::ffn_in);
    add(layer + "output.dense.weight", nn::Role::ffn_out);
    add("pooler.dense.weight", nn::Role::pooler);
    add("classifier.weight", nn::Role::head);
    bind(*constraint, model);
    constraint->before_update(at_step(0));
    model.params().refresh(nn::Precision::float32);
  }
};

TEST(Outputs, AreRoundedButForTheThreeExceptions) {
  Block block;
  std::vector<std::string> rounded;
  for (const nn::Parameter* p : block.all) {
    EXPECT_NE(p->input, nullptr) << p->name;
    if (p->output != nullptr) rounded.push_back(p->name);
  }
  EXPECT_THAT(rounded,
              ElementsAre("encoder.layer.0.attention.self.query.weight",
                          "encoder.layer.0.attention.self.key.weight",
                          "encoder.layer.0.intermediate.dense.weight", "pooler.dense.weight"));
  EXPECT_EQ(block.constraint->matches()[0].what,
            "int8 per tensor (a range that widens), activations uint8 per tensor (static), outputs "
            "uint8");
  EXPECT_THAT(block.constraint->matches()[2].what, testing::Not(HasSubstr("outputs")));
}

TEST(Outputs, OfOneProductHaveRangesOfTheirOwn) {
  Block block;
  const nn::FusedLinear fused{
      {{block.all[0], nullptr}, {block.all[1], nullptr}, {block.all[2], nullptr}},
      block.all[0]->fused,
      nullptr};
  const Tensor x = torch::randn({5, 4});
  Tensor seen, kept;
  {
    torch::NoGradGuard no_grad;
    fused(x, {true});  // the ranges
    block.constraint->before_update(at_step(60));
    seen = fused(x, {false});
    const Tensor read = block.all[0]->input->apply(x, {false});
    for (size_t i = 0; i < 3; ++i) {
      const Tensor product = at::linear(read, block.all[i]->effective);
      nn::OutputTransform* output = block.all[i]->output;
      const Tensor expected = output != nullptr ? output->apply(product, {false}) : product;
      const Tensor own = seen.narrow(1, static_cast<int64_t>(4 * i), 4);
      EXPECT_TRUE(torch::allclose(own, expected, 1e-5, 1e-5)) << i;
      EXPECT_EQ(output != nullptr, !torch::allclose(own, product, 1e-5, 1e-5)) << i;
    }
  }
  // The gradient passes through the rounded outputs of a product that others share.
  Tensor in = x.clone().requires_grad_(true);
  fused(in, {true}).sum().backward();
  EXPECT_TRUE(in.grad().isfinite().all().item<bool>());
  EXPECT_GT(in.grad().abs().sum().item<float>(), 0);
}

TEST(Outputs, AreRoundedBeforeTheActivation) {
  Bound b(scheme_text);
  b.model.params().refresh(nn::Precision::float32);
  const nn::Linear layer{&b.p, nullptr};
  torch::NoGradGuard no_grad;
  const Tensor x = torch::randn({3, 3});
  layer(x, {true});
  const Tensor y = layer(x, {false});
  EXPECT_TRUE(torch::equal(layer.activated(x, {false}, "gelu"), at::gelu(y)));
  EXPECT_TRUE(torch::equal(y, b.p.output->apply(y, {false})));  // it lies on the grid
}

TEST(Affine, StateAndSchemeBringItBackToTheBit) {
  Bound a(scheme_text), b(scheme_text);
  torch::manual_seed(6);
  const nn::Linear layer{&a.p, nullptr};
  torch::NoGradGuard no_grad;
  for (int i = 0; i < 4; ++i) {
    a.constraint->before_update(at_step(i));
    a.model.params().refresh(nn::Precision::float32);
    layer(torch::randn({4, 3}), {true});
    a.constraint->after_update(at_step(i + 1));
    a.p.latent.detach().mul_(0.9f);
  }
  b.p.latent.detach().copy_(a.p.latent);
  b.constraint->load_state(a.constraint->state());
  EXPECT_EQ(a.constraint->state().size(), 3u);
  EXPECT_EQ(a.scheme(), b.scheme());
  EXPECT_TRUE(torch::equal(effective(a.model, a.p), effective(b.model, b.p)));

  const nn::Json scheme = nn::Json::parse(a.scheme().dump());
  EXPECT_EQ(scheme["activations"]["symmetric"], false);
  TinyModel model;
  nn::Parameter& p = model.add(a.p.latent.clone());
  auto loaded = from_scheme(scheme, "quantization.json");
  bind(*loaded, model);
  EXPECT_TRUE(torch::equal(effective(model, p), effective(a.model, a.p)));
  const Tensor x = torch::randn({7, 3}) * 3;
  const nn::Linear other{&p, nullptr};
  EXPECT_TRUE(torch::equal(other(x, {false}), layer(x, {false})));
  EXPECT_EQ(loaded->export_scheme(), scheme);
}

TEST(Affine, DamagedStatesAndSchemesAreRefused) {
  Bound b(scheme_text);
  b.model.params().refresh(nn::Precision::float32);
  nn::Linear{&b.p, nullptr}(torch::randn({4, 3}), {true});
  const nn::TensorMap state = b.constraint->state();
  const nn::Json good = b.scheme();
  const std::pair<const char*, const char*> states[] = {{"input_range.", "input range"},
                                                        {"output_range.", "output range"},
                                                        {"weight_range.", "weight range"}};
  for (const auto& [key, word] : states) {
    nn::TensorMap bad = state;
    bad[key + module] = torch::full({2, 2}, NAN);
    EXPECT_THAT(error_of(ErrorKind::model, [&] { b.constraint->load_state(bad); }),
                HasSubstr(word));
  }
  auto refused = [&](const std::function<void(nn::Json&)>& spoil) {
    nn::Json bad = good;
    spoil(bad);
    return error_of(ErrorKind::model, [&] {
      TinyModel model;
      model.add(torch::ones({2, 3}));
      bind(*from_scheme(bad, "quantization.json"), model);
    });
  };
  EXPECT_THAT(refused([](nn::Json& s) { s.erase("input_zeros"); }), HasSubstr("input_zeros"));
  EXPECT_THAT(refused([](nn::Json& s) { s["input_zeros"][module] = 256; }),
              HasSubstr("from 0 to 255"));
  EXPECT_THAT(refused([](nn::Json& s) { s["input_zeros"][module] = 1.5; }),
              HasSubstr("from 0 to 255"));
  EXPECT_THAT(refused([](nn::Json& s) { s["output_scales"][module] = -1; }), HasSubstr("above 0"));
  EXPECT_THAT(refused([](nn::Json& s) { s["output_scales"]["x"] = 1; }),
              HasSubstr("not quantised"));
  EXPECT_THAT(refused([](nn::Json& s) { s["output_zeros"] = 3; }), HasSubstr("not a map"));
  EXPECT_THAT(refused([](nn::Json& s) {
                s["weight_scales"][module] = {0.1, 0.2};
              }),
              HasSubstr("2 weight scales, not 1"));
  EXPECT_THAT(refused([](nn::Json& s) { s["weight_scales"].erase(module); }),
              HasSubstr("no weight scales"));
  EXPECT_THAT(refused([](nn::Json& s) { s["activations"]["dynamic"] = true; }),
              HasSubstr("neither dynamic"));
}

TEST(Affine, WrongOptions) {
  auto wrong = [](const std::string& text) {
    return error_of(ErrorKind::recipe, [&] {
      TinyModel model;
      model.add(torch::ones({2, 3}));
      auto constraint = quantizer(text);
      bind(*constraint, model);
    });
  };
  EXPECT_THAT(wrong("{activations: uint8}"), HasSubstr("activation_scale: static"));
  EXPECT_THAT(wrong("{outputs: uint8, whole_outputs: ['*valeu*']}"), HasSubstr("*valeu*"));
  EXPECT_THAT(wrong("{outputs: uint8, freeze_observers: 0 steps}"), HasSubstr("freeze"));
  EXPECT_FALSE(quantizer(scheme_text)->unrecordable().empty());
}

}  // namespace
}  // namespace compress::constraint
