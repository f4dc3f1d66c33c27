#include <cmath>

#include "helpers.h"

namespace compress::constraint {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::string w = "encoder.layer.0.intermediate.dense.weight";

// Zeros of the effective weight after the step at each of `steps`.
std::vector<int64_t> zeros_at(const std::string& text, const std::vector<int64_t>& steps) {
  TinyModel model;
  torch::manual_seed(3);
  nn::Parameter& p = model.add(torch::randn({1000, 1000}));
  auto constraint = pruner(text);
  bind(*constraint, model);
  std::vector<int64_t> out;
  for (int64_t step : steps) {
    constraint->before_update(at_step(step));
    out.push_back(zeros(effective(model, p)));
  }
  return out;
}

TEST(Magnitude, CubicScheduleWithALargeFirstStep) {
  EXPECT_THAT(zeros_at("magnitude: {sparsity: 90%, initial: 70%, begin: 10 steps, end: 16 steps, "
                       "every: 1 step}",
                       {9, 10, 11, 12, 13, 14, 15, 16, 17}),
              ElementsAre(0, 700000, 784259, 840741, 875000, 892593, 899074, 900000, 900000));
}

TEST(Magnitude, LinearAndConstantSchedules) {
  EXPECT_THAT(zeros_at("magnitude: {sparsity: 0.8, schedule: linear, end: 40 steps}",
                       {0, 10, 15, 20, 30, 40, 50}),
              ElementsAre(0, 200000, 200000, 400000, 600000, 800000, 800000));
  EXPECT_THAT(zeros_at("magnitude: {sparsity: 0.8, schedule: constant, begin: 20%}", {19, 20, 21}),
              ElementsAre(0, 800000, 800000));
}

TEST(Magnitude, LastStepComesAtTheEndWhateverEveryIs) {
  EXPECT_THAT(zeros_at("magnitude: {sparsity: 50%, end: 25 steps, schedule: linear}",
                       {0, 10, 20, 24, 25, 30}),
              ElementsAre(0, 200000, 400000, 400000, 500000, 500000));
  // An end at the end of the stage is the last update.
  EXPECT_THAT(zeros_at("magnitude: {sparsity: 50%, end: 100%}", {99}), ElementsAre(500000));
}

TEST(Magnitude, PatternIsFixedFromTheEnd) {
  TinyModel model;
  nn::Parameter& p = model.add(torch::arange(1.0f, 11.0f).view({2, 5}));
  auto constraint = pruner("magnitude: {sparsity: 50%, end: 30 steps}");
  bind(*constraint, model);
  EXPECT_EQ(constraint->pattern_fixed_from(), 31);
  EXPECT_TRUE(constraint->before_update(at_step(30)));
  torch::Tensor before = effective(model, p) != 0;
  p.latent.detach().neg_().add_(11);  // the order is now the other way round
  EXPECT_FALSE(constraint->before_update(at_step(40)));
  EXPECT_TRUE(torch::equal(effective(model, p) != 0, before));
}

TEST(Magnitude, GlobalAndUniformScopes) {
  for (bool global : {true, false}) {
    TinyModel model;
    nn::Parameter& a = model.add(torch::tensor({{1.f, -2.f}, {3.f, -4.f}}));
    nn::Parameter& b = model.add("encoder.layer.0.output.dense.weight", nn::Role::ffn_out,
                                 torch::tensor({{-10.f, 20.f}, {2.5f, 40.f}}));
    auto constraint = pruner(str("magnitude: {sparsity: 50%, schedule: constant, scope: ",
                                 global ? "global" : "uniform", "}"));
    bind(*constraint, model);
    constraint->before_update(at_step(0));
    if (global) {
      EXPECT_THAT(values(effective(model, a)), ElementsAre(0, 0, 0, -4));
      EXPECT_THAT(values(effective(model, b)), ElementsAre(-10, 20, 0, 40));
    } else {
      EXPECT_THAT(values(effective(model, a)), ElementsAre(0, 0, 3, -4));
      EXPECT_THAT(values(effective(model, b)), ElementsAre(0, 20, 0, 40));
    }
    EXPECT_THAT(constraint->report(), HasSubstr("sparsity 50.00% of 8 weights"));
  }
}

TEST(Magnitude, AmongEqualMagnitudesTheEarlierGoesFirst) {
  TinyModel model;
  nn::Parameter& a = model.add(torch::tensor({{2.f, -1.f, 1.f}}));
  nn::Parameter& b = model.add("encoder.layer.0.output.dense.weight", nn::Role::ffn_out,
                               torch::tensor({{1.f, -1.f, 0.5f}}));
  auto constraint = pruner("magnitude: {sparsity: 0.66, schedule: constant}");  // round(3.96) = 4
  bind(*constraint, model);
  constraint->before_update(at_step(0));
  EXPECT_THAT(values(effective(model, a)), ElementsAre(2, 0, 0));
  EXPECT_THAT(values(effective(model, b)), ElementsAre(0, -1, 0));
}

// As in the published code of Prune Once for All: k = floor(s n), and what is above the k-th
// smallest magnitude stays.
TEST(Magnitude, AStrictThresholdTakesAllTies) {
  auto left = [](const std::string& options, const std::vector<float>& weights) {
    TinyModel model;
    nn::Parameter& p = model.add(torch::tensor(weights).view({1, -1}));
    auto constraint = pruner("magnitude: {schedule: constant, " + options + "}");
    bind(*constraint, model);
    constraint->before_update(at_step(0));
    return values(effective(model, p));
  };
  const std::vector<float> ties = {-2, 1, 2, -2, 3, 4};
  EXPECT_THAT(left("sparsity: 0.5", ties), ElementsAre(0, 0, 0, -2, 3, 4));
  EXPECT_THAT(left("sparsity: 0.5, threshold: strict", ties), ElementsAre(0, 0, 0, 0, 3, 4));
  EXPECT_THAT(left("sparsity: 0.5, threshold: strict, scope: uniform", ties),
              ElementsAre(0, 0, 0, 0, 3, 4));
  // round(3.6) = 4, floor(3.6) = 3.
  const std::vector<float> apart = {1, -2, 3, -4, 5, 6};
  EXPECT_THAT(left("sparsity: 0.6", apart), ElementsAre(0, 0, 0, 0, 5, 6));
  EXPECT_THAT(left("sparsity: 0.6, threshold: strict", apart), ElementsAre(0, 0, 0, -4, 5, 6));
  // k = 0 keeps all, equal ones too.
  EXPECT_THAT(left("sparsity: 0.3, threshold: strict", {1, 1, 1}), ElementsAre(1, 1, 1));
  EXPECT_THAT(left("sparsity: 0.4, threshold: strict", {1, 1, 1}), ElementsAre(0, 0, 0));
}

TEST(Magnitude, AStrictThresholdLeavesOldZerosAlone) {
  TinyModel model;
  nn::Parameter& p = model.add(torch::tensor({{1.f, 2.f, 3.f, 4.f, 5.f}}));
  auto constraint = pruner(
      "magnitude: {sparsity: 80%, initial: 40%, schedule: linear, end: 10 steps, threshold: "
      "strict, "
      "regrowth: false}");
  bind(*constraint, model);
  constraint->before_update(at_step(0));
  EXPECT_THAT(values(effective(model, p)), ElementsAre(0, 0, 3, 4, 5));
  p.latent.detach().copy_(torch::tensor({{9.f, 9.f, 4.f, 4.f, 5.f}}));  // what is masked may drift
  constraint->before_update(at_step(10));
  EXPECT_THAT(values(effective(model, p)), ElementsAre(0, 0, 0, 0, 5));
}

TEST(Magnitude, AllEqualWeightsGiveExactCountsForAnyNumberOfThreads) {
  const int threads = at::get_num_threads();
  for (int n : {1, 3}) {
    at::set_num_threads(n);
    TinyModel model;
    nn::Parameter& p = model.add(torch::full({300, 500}, -0.25f));
    auto constraint = pruner("magnitude: {sparsity: 0.7, schedule: constant}");
    bind(*constraint, model);
    constraint->before_update(at_step(0));
    torch::Tensor flat = effective(model, p).flatten();
    EXPECT_EQ(zeros(flat), 105000);
    EXPECT_EQ(zeros(flat.slice(0, 0, 105000)), 105000);
  }
  at::set_num_threads(threads);
}

TEST(Magnitude, AgreesWithASortOnRandomWeights) {
  torch::manual_seed(7);
  torch::Tensor value = torch::randn({321, 257});
  value = (value * 200).round() / 200;  // many ties
  TinyModel model;
  nn::Parameter& p = model.add(value.clone());
  auto constraint = pruner("magnitude: {sparsity: 0.613, schedule: constant}");
  bind(*constraint, model);
  constraint->before_update(at_step(0));
  torch::Tensor order = at::argsort(value.abs().flatten(), true, 0, false);
  torch::Tensor expected = value.clone().flatten();
  expected.index_fill_(0, order.slice(0, 0, std::llround(0.613 * 321 * 257)), 0);
  EXPECT_TRUE(torch::equal(effective(model, p).flatten(), expected));
}

TEST(Magnitude, RegrowthKeepsValuesAndLetsThemReturn) {
  TinyModel model;
  nn::Parameter& p = model.add(torch::tensor({{1.f, 2.f, 3.f, 4.f}}));
  auto constraint = pruner("magnitude: {sparsity: 50%, initial: 50%, end: 20 steps}");
  bind(*constraint, model);
  constraint->before_update(at_step(0));
  EXPECT_THAT(values(effective(model, p)), ElementsAre(0, 0, 3, 4));
  EXPECT_THAT(values(latent_gradient(model, p, torch::full({1, 4}, -5.f))),
              ElementsAre(0, 0, -5, -5));
  p.latent.detach().select(1, 3).fill_(0.5f);
  constraint->after_update(at_step(0));
  EXPECT_THAT(values(p.latent), ElementsAre(1, 2, 3, 0.5));
  constraint->before_update(at_step(10));
  EXPECT_THAT(values(effective(model, p)), ElementsAre(0, 2, 3, 0));
  constraint->finish();
  EXPECT_THAT(values(p.latent), ElementsAre(0, 2, 3, 0));
}

TEST(Magnitude, WithoutRegrowthZerosAreForGood) {
  TinyModel model;
  nn::Parameter& p = model.add(torch::tensor({{0.f, 2.f, -1.f, 4.f}}));
  auto constraint =
      pruner("magnitude: {sparsity: 75%, initial: 25%, end: 20 steps, regrowth: false}");
  bind(*constraint, model);
  constraint->before_update(at_step(0));  // takes the first
  p.latent.detach().copy_(torch::tensor({{9.f, 0.f, 0.f, -4.f}}));
  constraint->after_update(at_step(0));
  EXPECT_THAT(values(p.latent), ElementsAre(0, 0, 0, -4));
  // The masked one of three zeros stays first, then they go by index: round(0.6875 * 4) = 3.
  p.latent.detach().copy_(torch::tensor({{9.f, 5.f, 6.f, -4.f}}));
  constraint->before_update(at_step(10));
  EXPECT_THAT(values(p.latent), ElementsAre(0, 0, 6, 0));
}

TEST(Magnitude, ZerosSurviveMomentumAndWeightDecay) {
  TinyModel model;
  torch::manual_seed(1);
  nn::Parameter& p = model.add(torch::randn({40, 50}));
  auto constraint = pruner(
      "magnitude: {sparsity: 80%, end: 20 steps, every: 5 steps, "
      "regrowth: false}");
  torch::Tensor momentum = torch::zeros({40, 50});
  bind(*constraint, model, at_step(0).length(), nn::Precision::float32,
       [&](const nn::Parameter&) { return std::vector<torch::Tensor>{momentum}; });
  torch::Tensor masked = torch::zeros({40, 50}, torch::kBool);
  for (int64_t step = 0; step < 40; ++step) {
    constraint->before_update(at_step(step));
    EXPECT_TRUE(masked.logical_and(p.latent.detach() != 0).sum().item<int64_t>() == 0);
    masked = masked.logical_or(p.latent.detach() == 0);
    EXPECT_EQ(momentum.masked_select(masked).count_nonzero().item<int64_t>(), 0);
    torch::Tensor gradient = latent_gradient(model, p, torch::randn({40, 50}));
    momentum.mul_(0.9).add_(gradient);
    p.latent.detach().mul_(0.99).sub_(momentum, 0.05);
    constraint->after_update(at_step(0));
  }
  EXPECT_EQ(zeros(p.latent), 1600);
  EXPECT_EQ(zeros(p.latent.detach().masked_select(masked)), 1600);
}

TEST(Magnitude, ResumedRunGoesOnAsTheOther) {
  for (const char* regrowth : {"true", "false"}) {
    std::string text =
        str("magnitude: {sparsity: 80%, end: 30 steps, every: 3 steps, regrowth: ", regrowth, "}");
    ResumedRun run(text, {31, 33});
    EXPECT_TRUE(torch::equal(effective(run.one, *run.p), effective(run.two, *run.q)));
    EXPECT_GT(zeros(effective(run.two, *run.q)), 300);
    run.go_on();
    EXPECT_TRUE(torch::equal(run.p->latent, run.q->latent)) << regrowth;
    EXPECT_TRUE(torch::equal(effective(run.one, *run.p), effective(run.two, *run.q))) << regrowth;
    EXPECT_EQ(run.a->report(), run.b->report());
  }
}

TEST(Magnitude, StateBeforeTheFirstStepHasNoMask) {
  TinyModel model;
  model.add(torch::ones({4, 4}));
  auto constraint = pruner("magnitude: {sparsity: 80%, begin: 10 steps}");
  bind(*constraint, model);
  EXPECT_EQ(constraint->state().size(), 1u);
  constraint->load_state(constraint->state());
}

TEST(Magnitude, DamagedStatesAreRefused) {
  TinyModel model;
  model.add(torch::arange(1.0f, 10.0f).view({3, 3}));
  auto constraint = pruner("magnitude: {sparsity: 50%, schedule: constant}");
  bind(*constraint, model);
  constraint->before_update(at_step(0));
  const nn::TensorMap good = constraint->state();
  auto refused = [&](const std::function<void(nn::TensorMap&)>& spoil) {
    nn::TensorMap bad = good;
    spoil(bad);
    return error_of(ErrorKind::model, [&] { constraint->load_state(bad); });
  };
  EXPECT_THAT(refused([](auto& s) { s.clear(); }), HasSubstr("no count of zeros"));
  EXPECT_THAT(refused([](auto& s) { s["mask." + w] = torch::zeros({1}, torch::kUInt8); }),
              HasSubstr("another size"));
  EXPECT_THAT(refused([](auto& s) { s["mask." + w] = torch::zeros({2}); }),
              HasSubstr("another size"));
  EXPECT_THAT(refused([](auto& s) { s["mask." + w] = torch::zeros({2}, torch::kUInt8); }),
              HasSubstr("number of zeros"));
  EXPECT_THAT(refused([](auto& s) { s["mask.other"] = torch::zeros({2}, torch::kUInt8); }),
              HasSubstr("not pruned here"));
}

TEST(Magnitude, WeightsThatAreNotFiniteStopTheRun) {
  for (float bad : {NAN, INFINITY, -INFINITY}) {
    TinyModel model;
    model.add(torch::tensor({{1.f, bad}}));
    auto constraint = pruner("magnitude: {sparsity: 50%, schedule: constant}");
    bind(*constraint, model);
    EXPECT_THAT(error_of(ErrorKind::diverged, [&] { constraint->before_update(at_step(0)); }),
                HasSubstr(w));
  }
}

TEST(Magnitude, WrongOptions) {
  auto refused = [](const std::string& options) {
    return error_of(ErrorKind::recipe, [&] { pruner("magnitude: " + options); });
  };
  EXPECT_THAT(refused("{}"), HasSubstr("sparsity"));
  EXPECT_THAT(refused("{sparsity: 1.2}"), HasSubstr("between 0 and 1"));
  EXPECT_THAT(refused("{sparsity: 1}"), HasSubstr("below 1"));
  EXPECT_THAT(refused("{sparsity: -0.1}"), HasSubstr("between 0 and 1"));
  EXPECT_THAT(refused("{sparsity: 50%, initial: 60%}"), HasSubstr("above the final"));
  EXPECT_THAT(refused("{sparsity: 50%, begin: 60%, end: 50%}"), HasSubstr("after its end"));
  EXPECT_THAT(refused("{sparsity: 50%, every: 0 steps}"), HasSubstr("above 0"));
  EXPECT_THAT(refused("{sparsity: 50%, schedule: cubik}"), HasSubstr("cubic"));
  EXPECT_THAT(refused("{sparsity: 50%, scope: layer}"), HasSubstr("uniform"));
  EXPECT_THAT(refused("{sparsity: 50%, targets: []}"), HasSubstr("targets is empty"));
  EXPECT_THAT(refused("{sparsity: 50%, regrow: true}"), HasSubstr("regrowth"));
}

TEST(Magnitude, WrongPlans) {
  auto refused = [](const std::string& options) {
    TinyModel model;
    model.add(torch::ones({2, 2}));
    return error_of(ErrorKind::recipe, [&] { bind(*pruner("magnitude: " + options), model); });
  };
  EXPECT_THAT(refused("{sparsity: 50%, end: 101 steps}"), HasSubstr("update 101, after the stage"));
  EXPECT_THAT(refused("{sparsity: 50%, begin: 100 steps}"), HasSubstr("begin at update 100"));
  EXPECT_THAT(refused("{sparsity: 50%, begin: 6 epochs, end: 50%}"), HasSubstr("after its end"));
  EXPECT_THAT(refused("{sparsity: 50%, targets: fnn}"), HasSubstr("did you mean 'ffn'"));
  EXPECT_THAT(refused("{sparsity: 50%, targets: [encoder, 'x.*']}"), HasSubstr("'x.*' matches no"));
  EXPECT_THAT(refused("{sparsity: 50%, exclude: 'pooler.*'}"), HasSubstr("exclude 'pooler.*'"));
  EXPECT_THAT(refused("{sparsity: 50%, exclude: '*'}"), HasSubstr("leave no weight"));
}

TEST(Magnitude, MatchesAreWhatTargetsAndExcludeLeave) {
  TinyModel model;
  model.add("embeddings.word_embeddings.weight", nn::Role::embedding, torch::ones({5, 2}));
  model.add("encoder.layer.0.attention.self.query.weight", nn::Role::query, torch::ones({2, 2}));
  model.add(torch::ones({3, 2}));
  model.add("pooler.dense.weight", nn::Role::pooler, torch::ones({2, 2}));
  auto constraint = pruner("magnitude: {sparsity: 62.5%, exclude: '*query*'}");
  bind(*constraint, model);
  std::vector<Match> matches = constraint->matches();
  ASSERT_EQ(matches.size(), 1u);
  EXPECT_EQ(matches[0].tensor, w);
  EXPECT_THAT(matches[0].shape, ElementsAre(3, 2));
  EXPECT_EQ(matches[0].count, 6);
  EXPECT_EQ(matches[0].what, "pruned to 62.5% (global)");
}

TEST(Magnitude, PatternGoesOnChangingUntil) {
  TinyModel model;
  nn::Parameter& p = model.add(torch::arange(1.0f, 11.0f).view({2, 5}));
  auto constraint =
      pruner("magnitude: {sparsity: 50%, end: 30 steps, until: 60 steps, every: 10 steps}");
  bind(*constraint, model);
  EXPECT_EQ(constraint->pattern_fixed_from(), 61);
  EXPECT_TRUE(constraint->before_update(at_step(30)));
  torch::Tensor before = effective(model, p) != 0;
  p.latent.detach().neg_().add_(11);  // the order is now the other way round
  EXPECT_TRUE(constraint->before_update(at_step(40)));
  EXPECT_TRUE(torch::equal(effective(model, p) != 0, before.logical_not()));
  EXPECT_TRUE(constraint->before_update(at_step(60)));
  EXPECT_FALSE(constraint->before_update(at_step(70)));
}

// Small weights in one layer: by global rank it goes as a whole, which the report says; tensors
// that are pruned alike keep their part.
TEST(Magnitude, SparsityOfEachLayerIsTold) {
  auto pruned = [](const std::string& text) {
    TinyModel model;
    auto add = [&](int layer, const char* name, float first) {
      model.params().add(str("encoder.layer.", layer, ".", name), nn::Role::ffn_in, layer,
                         first * torch::arange(1.0f, 5.0f).view({2, 2}));
    };
    add(0, "intermediate.dense.weight", 1);
    add(1, "intermediate.dense.weight", 0.01f);
    add(1, "output.dense.weight", 0.02f);
    add(2, "intermediate.dense.weight", 0.05f);
    auto constraint = pruner(text);
    bind(*constraint, model);
    constraint->before_update(at_step(0));
    return constraint->report();
  };
  EXPECT_EQ(pruned("magnitude: {sparsity: 75%, schedule: constant}"),
            "sparsity 75.00% of 16 weights (tensors 0.0% to 100.0%; encoder.layer 0: 0.0%, 1: "
            "100.0%, 2: 100.0%), nothing is left of encoder.layer.1, encoder.layer.2");
  EXPECT_EQ(pruned("magnitude: {sparsity: 75%, schedule: constant, scope: uniform}"),
            "sparsity 75.00% of 16 weights (tensors 75.0% to 75.0%; encoder.layer 0: 75.0%, 1: "
            "75.0%, 2: 75.0%)");
  EXPECT_EQ(pruned("magnitude: {sparsity: 25%, schedule: constant}"),
            "sparsity 25.00% of 16 weights (tensors 0.0% to 75.0%; encoder.layer 0: 0.0%, 1: "
            "50.0%, 2: 0.0%)");
}

TEST(KeepPattern, ZerosStayUnderManyUpdatesWithInt8) {
  TinyModel model;
  torch::manual_seed(2);
  torch::Tensor start = torch::randn({20, 30});
  start.masked_fill_(torch::rand({20, 30}) < 0.8, 0);
  start.flatten()[0] = -0.0f;
  nn::Parameter& p = model.add(start.clone());
  auto pattern = pruner("keep_pattern: {at_least: 70%}");
  auto int8 = quantizer("{weights: int8}");
  bind(*pattern, model);
  bind(*int8, model);
  torch::Tensor dense = start != 0;
  EXPECT_EQ(pattern->pattern_fixed_from(), 0);
  for (int64_t step = 0; step < 50; ++step) {
    EXPECT_FALSE(pattern->before_update(at_step(step)));
    int8->before_update(at_step(step));
    torch::Tensor gradient = latent_gradient(model, p, torch::randn({20, 30}));
    EXPECT_TRUE(torch::equal(gradient != 0, dense));
    torch::Tensor used = p.effective.detach();
    EXPECT_EQ(used.masked_select(~dense).count_nonzero().item<int64_t>(), 0);
    EXPECT_FALSE(used.masked_select(~dense).signbit().any().item<bool>());
    p.latent.detach().mul_(0.999).sub_(gradient, 0.01);
    pattern->after_update(at_step(0));
    p.latent.detach().masked_fill_(~dense, 1e-3f);  // as if an optimizer moved them
    pattern->after_update(at_step(0));
  }
  pattern->finish();
  EXPECT_TRUE(torch::equal(p.latent.detach() != 0, dense));
  EXPECT_FALSE(torch::equal(p.latent.detach(), start));
  EXPECT_THAT(pattern->report(), HasSubstr("of 600 weights"));
}

TEST(KeepPattern, DenseOrTooDenseModelsAreRefused) {
  auto refused = [](const std::string& text, torch::Tensor value) {
    TinyModel model;
    model.add(std::move(value));
    auto constraint = pruner(text);
    return error_of(ErrorKind::recipe, [&] { bind(*constraint, model); });
  };
  EXPECT_THAT(refused("keep_pattern", torch::ones({2, 2})), HasSubstr("nothing to keep"));
  EXPECT_THAT(refused("keep_pattern: {at_least: 60%}", torch::eye(2)), HasSubstr("50% sparse"));
  EXPECT_THAT(error_of(ErrorKind::recipe, [] { pruner("keep_pattern: {targets: []}"); }),
              HasSubstr("targets is empty"));
  EXPECT_THAT(error_of(ErrorKind::recipe, [] { pruner("keep_pattern: {at_least: 2}"); }),
              HasSubstr("between 0 and 1"));
}

TEST(KeepPattern, StateBringsThePatternBack) {
  TinyModel one, two;
  one.add(torch::eye(3));
  nn::Parameter& q = two.add(torch::ones({3, 3}).triu());
  auto a = pruner("keep_pattern"), b = pruner("keep_pattern");
  bind(*a, one);
  bind(*b, two);
  b->load_state(a->state());
  EXPECT_TRUE(torch::equal(effective(two, q), torch::eye(3)));
  EXPECT_FALSE(b->before_update(at_step(0)));
}

TEST(Registry, EveryComponentTellsItsStory) {
  EXPECT_THAT(pruning().names(), ElementsAre("magnitude", "keep_pattern"));
  EXPECT_THAT(quantization().names(), ElementsAre("quantization"));
  for (const recipe::Registry* registry :
       {static_cast<const recipe::Registry*>(&pruning()), &quantization()})
    for (const auto& info : registry->list()) {
      EXPECT_EQ(info->role, registry->role());
      EXPECT_FALSE(info->summary.empty()) << info->name;
      EXPECT_FALSE(info->equation.empty()) << info->name;
      EXPECT_THAT(info->paper, HasSubstr("arXiv")) << info->name;
      EXPECT_FALSE(info->notes.empty()) << info->name;
      for (const recipe::Field& field : info->options().fields)
        EXPECT_FALSE(field.doc.empty()) << field.key;
    }
}

}  // namespace
}  // namespace compress::constraint
