#include <cmath>

#include "compress/constraint/quantize.h"
#include "helpers.h"

namespace compress::constraint {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::string module = "encoder.layer.0.intermediate.dense";

// Made with compressed-tensors 0.20 (calculate_qparams, quantize, fake_quantize in float32). Row 2
// is all zeros, row 3 ends exactly at -128.
torch::Tensor fixture() {
  return torch::tensor({0x1.794f260000000p-4f,
                        0x1.a912860000000p-6f,
                        -0x1.5e99fc0000000p-4f,
                        -0x1.5c71460000000p-4f,
                        0x1.9d93be0000000p-4f,
                        0x1.12e0be0000000p-30f,
                        -0x1.ac55ca0000000p-8f,
                        -0x1.2661e20000000p-4f,
                        0.f,
                        -0x1.638d360000000p-6f,
                        0x1.20a21a0000000p-6f,
                        -0x1.a70b6a0000000p-9f,
                        0.f,
                        0.f,
                        0.f,
                        0.f,
                        0.f,
                        0.f,
                        -0x1.99999a0000000p-3f,
                        0x1.34679a0000000p-9f,
                        -0x1.e54f2a0000000p-8f,
                        0x1.304bb60000000p-6f,
                        0x1.7454260000000p-7f,
                        -0x1.a83f9a0000000p-9f})
      .view({4, 6});
}
torch::Tensor channel_values() {
  return torch::tensor({0x1.78462a0000000p-4f,
                        0x1.ac2c880000000p-6f,
                        -0x1.5e52fa0000000p-4f,
                        -0x1.5b14940000000p-4f,
                        0x1.9bf48a0000000p-4f,
                        0.f,
                        -0x1.bb4e220000000p-8f,
                        -0x1.253a5a0000000p-4f,
                        0.f,
                        -0x1.5ef3300000000p-6f,
                        0x1.1e4d200000000p-6f,
                        -0x1.bb4e220000000p-9f,
                        0.f,
                        0.f,
                        0.f,
                        0.f,
                        0.f,
                        0.f,
                        -0x1.9b34ce0000000p-3f,
                        0x1.9b34ce0000000p-9f,
                        -0x1.0101000000000p-7f,
                        0x1.34679a0000000p-6f,
                        0x1.67ce340000000p-7f,
                        -0x1.9b34ce0000000p-9f})
      .view({4, 6});
}
const std::vector<int> channel_integers = {116, 33,  -108, -107, 127, 0,  -12, -127,
                                           0,   -38, 31,   -6,   0,   0,  0,   0,
                                           0,   0,   -128, 2,    -5,  12, 7,   -2};
const std::vector<int> tensor_integers = {59, 17, -55, -54, 64, 0, -4,   -46, 0,  -14, 11, -2,
                                          0,  0,  0,   0,   0,  0, -128, 2,   -5, 12,  7,  -2};

std::vector<int> integers(const torch::Tensor& tensor) {
  torch::Tensor wide = tensor.to(torch::kInt).contiguous();
  const int* p = wide.const_data_ptr<int>();
  return {p, p + wide.numel()};
}

// A model with one [4, 6] matrix, and a quantization bound to it and in force.
struct Bound {
  TinyModel model;
  nn::Parameter& p;
  std::unique_ptr<Constraint> constraint;
  explicit Bound(const std::string& text) : p(model.add(fixture())), constraint(quantizer(text)) {
    bind(*constraint, model);
    constraint->before_update(at_step(0));
  }
};

TEST(QuantizeWeight, EqualsCompressedTensorsPerChannel) {
  QuantizedWeight q = quantize_weight(fixture(), Granularity::channel);
  EXPECT_EQ(q.scale.sizes(), (std::vector<int64_t>{4, 1}));
  EXPECT_THAT(values(q.scale),
              ElementsAre(0x1.9f32f0p-11f, 0x1.27896cp-11f, 0x1p-23f, 0x1.9b34cep-10f));
  EXPECT_EQ(integers(q.values), channel_integers);
  EXPECT_EQ(values(dequantize_weight(q)), values(channel_values()));
}

TEST(QuantizeWeight, EqualsCompressedTensorsPerTensor) {
  QuantizedWeight q = quantize_weight(fixture(), Granularity::tensor);
  EXPECT_EQ(q.scale.sizes(), (std::vector<int64_t>{1}));
  EXPECT_THAT(values(q.scale), ElementsAre(0x1.9b34cep-10f));
  EXPECT_EQ(integers(q.values), tensor_integers);
}

TEST(QuantizeWeight, ExportIsWhatTrainingUsed) {
  torch::manual_seed(11);
  torch::Tensor weight = torch::randn({67, 129}) * torch::logspace(-30, 3, 67).unsqueeze(1);
  weight.masked_fill_(torch::rand({67, 129}) < 0.5, 0);
  for (Granularity granularity : {Granularity::channel, Granularity::tensor}) {
    torch::Tensor trained = weight.clone();
    fake_quantize_weight(trained, granularity);
    torch::Tensor exported = dequantize_weight(quantize_weight(weight, granularity));
    EXPECT_TRUE(torch::equal(trained.view(torch::kInt), exported.view(torch::kInt)));
    // The way of other devices gives the same bits.
    torch::Tensor strided = weight.t().contiguous().t();
    fake_quantize_weight(strided, granularity);
    EXPECT_TRUE(torch::equal(strided.contiguous().view(torch::kInt), trained.view(torch::kInt)));
  }
}

TEST(QuantizeWeight, WhatIsNotFiniteIsNotHidden) {
  torch::Tensor weight = torch::tensor({{1.f, NAN, 2.f}, {1.f, 2.f, 127.5f}});
  EXPECT_THAT(error_of(ErrorKind::diverged, [&] { quantize_weight(weight, Granularity::channel); }),
              HasSubstr("not finite"));
  fake_quantize_weight(weight, Granularity::channel);
  EXPECT_TRUE(weight[0].isnan().all().item<bool>());
  EXPECT_THAT(values(weight[1]), ElementsAre(1, 2, 127));
  EXPECT_THAT(error_of(ErrorKind::model, [] { parse_granularity("row"); }), HasSubstr("channel"));
}

TEST(Quantization, WeightsRoundHalfToEvenAndGradientsPass) {
  Bound b("{}");
  EXPECT_EQ(values(effective(b.model, b.p)), values(channel_values()));
  torch::Tensor gradient = torch::randn({4, 6});
  EXPECT_TRUE(torch::equal(latent_gradient(b.model, b.p, gradient), gradient));
  // The scale is 1: halves go to the even neighbour, 127.5 is clamped.
  b.p.latent.detach().copy_(
      torch::tensor({{0.5f, 1.5f, 2.5f, -0.5f, -1.5f, 127.5f}}).repeat({4, 1}));
  EXPECT_THAT(values(effective(b.model, b.p)[0]), ElementsAre(0, 2, 2, 0, -2, 127));
}

TEST(Quantization, NothingHappensBeforeTheStart) {
  TinyModel model;
  nn::Parameter& p = model.add(fixture());
  auto constraint = quantizer("{start: 20 steps}");
  bind(*constraint, model);
  EXPECT_FALSE(constraint->before_update(at_step(19)));
  EXPECT_TRUE(torch::equal(effective(model, p), fixture()));
  torch::Tensor x = torch::randn({3, 6});
  EXPECT_TRUE(p.input->apply(x, {true}).is_same(x));
  EXPECT_TRUE(constraint->export_scheme().is_null());
  EXPECT_THAT(constraint->report(), HasSubstr("from update 20 on"));
  EXPECT_TRUE(constraint->before_update(at_step(20)));
  EXPECT_FALSE(constraint->before_update(at_step(21)));
  EXPECT_FALSE(torch::equal(effective(model, p), fixture()));
  EXPECT_FALSE(p.input->apply(x, {true}).is_same(x));
}

TEST(Quantization, TheMaskComesFirst) {
  TinyModel model;
  nn::Parameter& p = model.add(torch::tensor({{1000.f, 3.f, -1.f}, {1.f, 12.75f, 6.31f}}));
  auto pattern = pruner("magnitude: {sparsity: 50%, schedule: constant}");
  auto int8 = quantizer("{}");
  bind(*pattern, model);
  bind(*int8, model);
  pattern->before_update(at_step(0));
  int8->before_update(at_step(0));
  // Masked: 3, -1 and 1. The second row's scale is 0.1: 12.75 -> 127 steps, 6.31 -> 63.
  torch::Tensor used = effective(model, p);
  EXPECT_THAT(values(used[1]), ElementsAre(0, testing::FloatEq(12.7f), testing::FloatEq(6.3f)));
  EXPECT_EQ(zeros(used[0]), 2);
  EXPECT_THAT(values(latent_gradient(model, p, torch::ones({2, 3}))),
              ElementsAre(1, 0, 0, 0, 1, 1));
}

TEST(Quantization, DynamicActivationsHaveOneScaleAToken) {
  Bound b("{}");
  EXPECT_TRUE(b.p.input->shareable());
  torch::Tensor x = fixture().requires_grad_(true);
  torch::Tensor y = b.p.input->apply(x, {false});
  EXPECT_EQ(values(y), values(channel_values()));
  EXPECT_TRUE(torch::equal(x, fixture()));
  torch::Tensor gradient = torch::randn({4, 6});
  y.backward(gradient);
  EXPECT_TRUE(torch::equal(x.grad(), gradient));
  torch::Tensor wide = fixture().to(torch::kDouble);  // the way of other devices
  EXPECT_EQ(values(b.p.input->apply(wide, {false})), values(channel_values()));
  EXPECT_EQ(b.p.input->apply(torch::empty({0, 6}), {true}).numel(), 0);
}

TEST(Quantization, Bfloat16ActivationsRoundOnce) {
  Bound b("{}");
  torch::manual_seed(4);
  torch::Tensor x = torch::randn({9, 101}).to(torch::kBFloat16);
  torch::Tensor exact = b.p.input->apply(x.to(torch::kFloat32), {false});
  torch::Tensor y = b.p.input->apply(x, {false});
  EXPECT_EQ(y.scalar_type(), torch::kBFloat16);
  EXPECT_TRUE(torch::equal(y, exact.to(torch::kBFloat16)));
}

TEST(Quantization, StaticActivationsFollowAMovingRange) {
  Bound b("{activation_scale: static, averaging: 0.25, freeze_observers: 50 steps}");
  EXPECT_FALSE(b.p.input->shareable());
  torch::Tensor unseen = torch::ones({1, 6});
  EXPECT_TRUE(b.p.input->apply(unseen, {false}).is_same(unseen));
  EXPECT_THAT(error_of(ErrorKind::recipe, [&] { b.constraint->export_scheme(); }),
              HasSubstr("never observed"));
  auto scale = [&] { return b.constraint->export_scheme()["input_scales"][module].get<double>(); };
  b.p.input->apply(torch::tensor({{-51.f, 0.f, 25.5f}}), {true});  // the first batch as it is
  EXPECT_FLOAT_EQ(scale(), 0.4);
  b.p.input->apply(torch::tensor({{1.f, 2.f, 3.f}}), {true});  // low: -51 + 0.25 * 52 = -38
  EXPECT_FLOAT_EQ(scale(), 38 / 127.5);
  b.p.input->apply(torch::full({1, 3}, 1e6f), {false});  // no training pass
  EXPECT_FLOAT_EQ(scale(), 38 / 127.5);
  b.constraint->before_update(at_step(50));
  b.p.input->apply(torch::full({1, 3}, 1e6f), {true});  // frozen
  EXPECT_FLOAT_EQ(scale(), 38 / 127.5);
}

TEST(Quantization, StaticGradientsStopWhereValuesWereClamped) {
  Bound b("{activation_scale: static, freeze_observers: 50 steps}");
  b.p.input->apply(torch::tensor({{-127.5f, 100.f}}), {true});  // scale 1
  b.constraint->before_update(at_step(60));
  for (torch::ScalarType type : {torch::kFloat32, torch::kDouble, torch::kBFloat16}) {
    torch::Tensor x = torch::tensor({{-129.f, -128.f, 0.375f, 2.5f, 127.f, 127.5f, 300.f}}, type);
    x.requires_grad_(true);
    torch::Tensor y = b.p.input->apply(x, {true});
    EXPECT_THAT(values(y), ElementsAre(-128, -128, 0, 2, 127, 127, 127));
    y.backward(torch::full({1, 7}, 3.f, type));
    EXPECT_THAT(values(x.grad()), ElementsAre(0, 3, 3, 3, 3, 0, 0));
  }
}

TEST(Quantization, StaticStateIsRestoredToTheBit) {
  const std::string text = "{activation_scale: static}";
  Bound a(text), b(text);
  torch::manual_seed(6);
  for (int i = 0; i < 5; ++i) a.p.input->apply(torch::randn({4, 6}), {true});
  b.constraint->load_state(a.constraint->state());
  torch::Tensor x = torch::randn({4, 6}) * 3;
  EXPECT_TRUE(torch::equal(a.p.input->apply(x, {true}), b.p.input->apply(x, {true})));
  EXPECT_EQ(a.constraint->export_scheme(), b.constraint->export_scheme());
  auto refused = [&](const nn::TensorMap& state) {
    return error_of(ErrorKind::model, [&] { b.constraint->load_state(state); });
  };
  EXPECT_THAT(refused({}), HasSubstr("other layers"));
  EXPECT_THAT(refused({{"x", torch::zeros({3})}}), HasSubstr("no input range"));
  EXPECT_THAT(refused({{"input_range." + module, torch::zeros({2})}}), HasSubstr("damaged"));
  EXPECT_THAT(refused({{"input_range." + module, torch::full({3}, NAN)}}), HasSubstr("damaged"));
}

TEST(Quantization, LayersOfAFusedProductShareAnObserver) {
  TinyModel model;
  std::vector<nn::Parameter*> parts;
  for (auto [name, role] : {std::pair{"query", nn::Role::query}, {"key", nn::Role::key}})
    parts.push_back(&model.add(str("encoder.layer.0.attention.self.", name, ".weight"), role,
                               torch::ones({2, 2})));
  nn::Parameter& other = model.add(torch::ones({2, 2}));
  model.params().fuse(parts);
  auto all = quantizer("{activation_scale: static}");
  bind(*all, model);
  EXPECT_EQ(parts[0]->input, parts[1]->input);
  EXPECT_NE(parts[0]->input, other.input);
  EXPECT_EQ(all->state().size(), 3u);
  parts[0]->input = parts[1]->input = nullptr;
  auto some = quantizer("{activation_scale: static, exclude: '*key*'}");
  bind(*some, model);
  EXPECT_NE(parts[0]->input, nullptr);
  EXPECT_EQ(parts[1]->input, nullptr);
}

TEST(Quantization, OnlyWhatWasAskedForIsQuantised) {
  Bound weights("{activations: none, weight_granularity: tensor}");
  EXPECT_EQ(weights.p.input, nullptr);
  EXPECT_EQ(weights.constraint->matches()[0].what, "int8 per tensor");
  EXPECT_TRUE(weights.constraint->export_scheme()["activations"].is_null());
  Bound inputs("{weights: none}");
  EXPECT_TRUE(inputs.p.transforms.empty());
  EXPECT_EQ(inputs.constraint->matches()[0].what, "activations per token");
}

TEST(Quantization, ATaskHeadMustBeNamed) {
  auto held = [](const std::string& targets) {
    TinyModel model;
    model.add("embeddings.word_embeddings.weight", nn::Role::embedding, torch::ones({5, 2}));
    model.add("pooler.dense.weight", nn::Role::pooler, torch::ones({2, 2}));
    model.add("classifier.weight", nn::Role::head, torch::ones({2, 2}));
    auto constraint = quantizer("{targets: " + targets + "}");
    bind(*constraint, model);
    std::vector<std::string> names;
    for (const Match& match : constraint->matches()) names.push_back(match.tensor);
    return names;
  };
  EXPECT_THAT(held("linear"), ElementsAre("pooler.dense.weight"));
  EXPECT_THAT(held("all"), ElementsAre("pooler.dense.weight"));
  EXPECT_THAT(held("[pooler, head]"), ElementsAre("pooler.dense.weight", "classifier.weight"));
  EXPECT_THAT(held("'classifier.*'"), ElementsAre("classifier.weight"));
}

TEST(Scheme, DescribesAndBringsBackTheQuantization) {
  for (const char* text : {"{}", "{activation_scale: static, weight_granularity: tensor}"}) {
    Bound trained(text);
    trained.p.input->apply(torch::randn({4, 6}), {true});
    nn::Json scheme = trained.constraint->export_scheme();
    EXPECT_EQ(scheme["num_bits"], 8);
    EXPECT_EQ(scheme["modules"], nn::Json::array({module}));
    TinyModel model;
    nn::Parameter& p = model.add(fixture());
    auto loaded = from_scheme(nn::Json::parse(scheme.dump()), "quantization.json");
    bind(*loaded, model);
    EXPECT_TRUE(torch::equal(effective(model, p), effective(trained.model, trained.p)));
    torch::Tensor x = torch::randn({4, 6});
    EXPECT_TRUE(torch::equal(p.input->apply(x, {false}), trained.p.input->apply(x, {false})));
    EXPECT_EQ(loaded->export_scheme(), scheme);
  }
}

TEST(Scheme, FilesThatDoNotFitAreRefused) {
  Bound trained("{activation_scale: static}");
  trained.p.input->apply(torch::randn({4, 6}), {true});
  const nn::Json good = trained.constraint->export_scheme();
  auto refused = [&](const std::function<void(nn::Json&)>& spoil) {
    nn::Json bad = good;
    spoil(bad);
    TinyModel model;
    model.add(fixture());
    return error_of(ErrorKind::model, [&] { bind(*from_scheme(bad, "q.json"), model); });
  };
  EXPECT_THAT(refused([](auto& s) { s = 3; }), HasSubstr("not a map"));
  EXPECT_THAT(refused([](auto& s) { s["num_bits"] = 4; }), HasSubstr("num_bits"));
  EXPECT_THAT(refused([](auto& s) { s.erase("weights"); }), HasSubstr("no 'weights'"));
  EXPECT_THAT(refused([](auto& s) { s["weights"] = 1; }), HasSubstr("no 'weights'"));
  EXPECT_THAT(refused([](auto& s) { s["weights"]["strategy"] = "group"; }), HasSubstr("channel"));
  EXPECT_THAT(refused([](auto& s) { s["activations"]["dynamic"] = true; }), HasSubstr("dynamic"));
  EXPECT_THAT(refused([](auto& s) { s["modules"] = nn::Json::array(); }), HasSubstr("modules"));
  EXPECT_THAT(refused([](auto& s) { s["modules"][0] = 1; }), HasSubstr("not a name"));
  EXPECT_THAT(refused([](auto& s) { s["modules"].push_back(s["modules"][0]); }),
              HasSubstr("twice"));
  EXPECT_THAT(refused([](auto& s) { s.erase("input_scales"); }), HasSubstr("input_scales"));
  EXPECT_THAT(refused([](auto& s) { s["input_scales"][module] = 0; }), HasSubstr("not above 0"));
  EXPECT_THAT(refused([](auto& s) { s["input_scales"][module] = "x"; }),
              HasSubstr("no input scale"));
  EXPECT_THAT(refused([](auto& s) {
                s["modules"][0] = "other";
                s["input_scales"]["other"] = 1;
              }),
              HasSubstr("which the model has not"));
}

// A model whose family has the tables of BERT.
struct WithTables : TinyModel {
  explicit WithTables(int64_t width = 6) {
    config_.family = "bert";
    add(torch::randn({8, 6}));
    for (const auto& [name, rows] : std::initializer_list<std::pair<const char*, int64_t>>{
             {"word_embeddings", 20}, {"position_embeddings", 9}, {"token_type_embeddings", 2}})
      add(std::string("embeddings.") + name + ".weight", nn::Role::embedding,
          torch::randn({rows, width}))
          .row_gradient = true;
  }
  nn::Parameter& table(const char* name = "word_embeddings") {
    return *params_.find(std::string("embeddings.") + name + ".weight");
  }
  void bind(Constraint& constraint) {
    constraint.bind({.student = config_,
                     .weights = params_,
                     .helpers = helpers_,
                     .length = {100, 10},
                     .precision = nn::Precision::float32});
  }
  nn::ParamTable helpers_;
};

TEST(QuantizeTable, FourBitsInGroups) {
  // Two groups of three: 3.75 / 7.5 is a step of 0.5; a group of zeros stays one.
  torch::Tensor rows = torch::tensor(
      {{3.75f, -0.25f, 0.75f, 0.f, -0.f, 0.f}, {-7.5f, 1.5f, 2.5f, 15.f, -15.f, 1.f}});
  const QuantizedWeight q = quantize_table(rows, {4, 3});
  EXPECT_THAT(integers(q.values), ElementsAre(7, 0, 2, 0, 0, 0, -8, 2, 2, 7, -8, 0));
  EXPECT_EQ(q.scale.sizes(), (std::vector<int64_t>{2, 2}));
  EXPECT_THAT(values(q.scale), ElementsAre(0.5f, 0x1p-23f, 1.f, 2.f));
  fake_quantize_table(rows, {4, 3});
  EXPECT_THAT(values(rows), ElementsAre(3.5f, 0, 1, 0, 0, 0, -8, 2, 2, 14, -16, 0));
  EXPECT_FALSE(rows.signbit()[0].any().item<bool>());
  EXPECT_THAT(error_of(ErrorKind::internal,
                       [&] {
                         fake_quantize_table(rows, {4, 4});
                       }),
              HasSubstr("groups"));
  rows[0][1] = NAN;
  EXPECT_THAT(error_of(ErrorKind::diverged,
                       [&] {
                         quantize_table(rows, {4, 3});
                       }),
              HasSubstr("not finite"));
}

TEST(QuantizeTable, ARowIsAFunctionOfItselfAlone) {
  torch::manual_seed(5);
  const torch::Tensor table = torch::randn({30, 24});
  const torch::Tensor ids = torch::tensor({3, 29, 3, 0});
  for (const RowGrid& grid : {RowGrid{8, 0}, RowGrid{4, 8}}) {
    torch::Tensor whole = table.clone(), some = table.index_select(0, ids);
    fake_quantize_table(whole, grid);
    fake_quantize_table(some, grid);
    EXPECT_TRUE(torch::equal(some, whole.index_select(0, ids)));
    const QuantizedWeight q = quantize_table(table, grid);
    const torch::Tensor exported =
        q.values.to(torch::kFloat32).view({30, q.scale.size(1), -1}) * q.scale.unsqueeze(2);
    EXPECT_TRUE(torch::equal(exported.view({30, 24}), whole));
  }
}

TEST(Quantization, HoldsTheTablesOfTheModel) {
  WithTables model;
  auto constraint = quantizer("{embeddings: int8, start: 20 steps, exclude: ['*token_type*']}");
  model.bind(*constraint);
  std::vector<std::string> held;
  for (const Match& match : constraint->matches()) held.push_back(match.tensor + ": " + match.what);
  EXPECT_THAT(held, ElementsAre(HasSubstr("int8 per channel"),
                                "embeddings.word_embeddings.weight: int8 per row",
                                "embeddings.position_embeddings.weight: int8 per row"));
  EXPECT_THAT(constraint->report(), HasSubstr("174 values of 2 embeddings int8 per row"));
  // Not before the start; then each row by itself, and nothing of the table that nobody reads.
  nn::Parameter& table = model.table();
  torch::Tensor rows = table.latent.detach().slice(0, 4, 6).clone();
  table.transforms.at(0)->forward(table, rows);
  EXPECT_TRUE(torch::equal(rows, table.latent.detach().slice(0, 4, 6)));
  EXPECT_TRUE(constraint->export_scheme().is_null());
  constraint->before_update(at_step(20));
  table.transforms.at(0)->forward(table, rows);
  const torch::Tensor whole = dequantize_weight(quantize_table(table.latent, {}));
  EXPECT_TRUE(torch::equal(rows, whole.slice(0, 4, 6)));
  model.params().refresh(nn::Precision::float32);
  EXPECT_TRUE(table.effective.is_same(table.latent));
  EXPECT_TRUE(model.table("token_type_embeddings").transforms.empty());
}

TEST(Scheme, BringsBackTables) {
  for (const char* text : {"{embeddings: int8}", "{embeddings: int4, embedding_group: 3}",
                           "{weights: none, activations: none, embeddings: int4, "
                           "embedding_group: 2}"}) {
    WithTables model;
    auto trained = quantizer(text);
    model.bind(*trained);
    trained->before_update(at_step(0));
    const nn::Json scheme = trained->export_scheme();
    EXPECT_EQ(scheme["embeddings"]["tables"].size(), 3u);
    const torch::Tensor before = model.table().latent.detach().clone();
    torch::Tensor expected = before.clone();
    model.table().transforms.at(0)->forward(model.table(), expected);
    for (nn::Parameter& parameter : model.params().list()) parameter.transforms.clear();
    auto loaded = from_scheme(nn::Json::parse(scheme.dump()), "quantization.json");
    model.bind(*loaded);
    model.table().row_gradient = false;  // all of it, as an export asks
    model.params().refresh(nn::Precision::float32);
    EXPECT_TRUE(torch::equal(model.table().effective, expected)) << text;
    EXPECT_TRUE(torch::equal(model.table().latent, before));
    EXPECT_EQ(loaded->export_scheme(), scheme);
  }
}

TEST(Scheme, TablesThatDoNotFitAreRefused) {
  WithTables first;
  auto trained = quantizer("{embeddings: int4, embedding_group: 3}");
  first.bind(*trained);
  trained->before_update(at_step(0));
  const nn::Json good = trained->export_scheme();
  auto refused = [&](const std::function<void(nn::Json&)>& spoil) {
    nn::Json bad = good;
    spoil(bad["embeddings"]);
    WithTables model;
    return error_of(ErrorKind::model, [&] { model.bind(*from_scheme(bad, "q.json")); });
  };
  EXPECT_THAT(refused([](auto& e) { e = 1; }), HasSubstr("not a map"));
  EXPECT_THAT(refused([](auto& e) { e["num_bits"] = 2; }), HasSubstr("neither 8 bits"));
  EXPECT_THAT(refused([](auto& e) { e["group_size"] = 0; }), HasSubstr("group_size"));
  EXPECT_THAT(refused([](auto& e) { e["group_size"] = 4; }), HasSubstr("another width"));
  EXPECT_THAT(refused([](auto& e) { e["tables"] = nn::Json::array(); }), HasSubstr("tables"));
  EXPECT_THAT(refused([](auto& e) { e["tables"][0] = module; }), HasSubstr("which the model"));
}

TEST(Quantization, WrongTables) {
  auto refused = [](const std::string& text) {
    WithTables model(10);
    return error_of(ErrorKind::recipe, [&] { model.bind(*quantizer(text)); });
  };
  EXPECT_THAT(refused("{embeddings: int4}"), HasSubstr("embedding_group: 10"));
  EXPECT_THAT(refused("{embeddings: int4, embedding_group: 4}"), HasSubstr("embedding_group: 2"));
  EXPECT_THAT(refused("{embeddings: int8, exclude: ['embeddings.*']}"), HasSubstr("no embedding"));
  EXPECT_THAT(refused("{embeddings: int8, exclude: ['embedings.*']}"), HasSubstr("matches no"));
  EXPECT_THAT(refused("{embeddings: int2}"), HasSubstr("int8"));
}

TEST(Quantization, WrongOptions) {
  auto refused = [](const std::string& text) {
    return error_of(ErrorKind::recipe, [&] { quantizer(text); });
  };
  EXPECT_THAT(refused("{weights: int4}"), HasSubstr("int8"));
  EXPECT_THAT(refused("{activations: fp8}"), HasSubstr("int8"));
  EXPECT_THAT(refused("{weight_granularity: row}"), HasSubstr("channel"));
  EXPECT_THAT(refused("{activation_scale: token}"), HasSubstr("dynamic"));
  EXPECT_THAT(refused("{weights: none, activations: none}"), HasSubstr("neither"));
  EXPECT_THAT(refused("{averaging: 0}"), HasSubstr("above 0"));
  EXPECT_THAT(refused("{averaging: 1.5}"), HasSubstr("between 0 and 1"));
  EXPECT_THAT(refused("{activation_scale: static, start: 50%, freeze_observers: 50%}"),
              HasSubstr("leaves no update"));
  EXPECT_THAT(refused("{targets: []}"), HasSubstr("targets is empty"));
  EXPECT_THAT(refused("{weight: int8}"), HasSubstr("weights"));
}

TEST(Quantization, WrongPlans) {
  auto refused = [](const std::string& text) {
    TinyModel model;
    model.add(fixture());
    return error_of(ErrorKind::recipe, [&] { bind(*quantizer(text), model); });
  };
  EXPECT_THAT(refused("{start: 10 epochs}"), HasSubstr("start at update 100, after the stage"));
  EXPECT_THAT(refused("{activation_scale: static, start: 3 epochs, freeze_observers: 20%}"),
              HasSubstr("freeze at update 20"));
  EXPECT_THAT(refused("{targets: head}"), HasSubstr("'head' matches no"));
}

}  // namespace
}  // namespace compress::constraint
