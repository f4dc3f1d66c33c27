#include "support.h"

#include <cmath>

namespace compress::objective {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(Labels, SoftTargetsByHandWithGradient) {
  Bound labels("labels", model(HeadKind::classification));
  data::Batch batch;
  batch.targets.distribution = torch::tensor({{1.0f, 0.0f}, {0.25f, 0.75f}});
  torch::Tensor z = torch::tensor({{0.0f, std::log(3.0f)}, {0.0f, 0.0f}}).requires_grad_(true);
  torch::Tensor loss = labels(batch, with_logits(z));
  // Row 1: p = (1/4, 3/4): log 4; row 2: log 2.
  EXPECT_NEAR(loss.item<double>(), (std::log(4.0) + std::log(2.0)) / 2, 1e-6);
  loss.backward();
  torch::Tensor p = torch::softmax(z.detach(), 1);
  EXPECT_TRUE(torch::allclose(z.grad(), (p - batch.targets.distribution) / 2, 1e-5, 1e-7));
}

TEST(Labels, SmoothingByHand) {
  Bound labels("labels: {label_smoothing: 0.2}", model(HeadKind::classification));
  data::Batch batch;
  batch.targets.distribution = torch::tensor({{1.0f, 0.0f}});
  // q = (0.9, 0.1), p = (1/4, 3/4)
  EXPECT_NEAR(labels(batch, with_logits(torch::tensor({{0.0f, std::log(3.0f)}}))).item<double>(),
              0.9 * std::log(4.0) + 0.1 * std::log(4.0 / 3), 1e-6);
}

TEST(Labels, RegressionIsTheMeanSquare) {
  Bound labels("labels", model(HeadKind::regression, 1));
  data::Batch batch;
  batch.targets.values = torch::tensor({1.0f, 2.0f});
  EXPECT_NEAR(labels(batch, with_logits(torch::tensor({{3.0f}, {1.0f}}))).item<double>(), 2.5,
              1e-6);
}

TEST(Labels, MaskedLmCountsLabelledTokensOnly) {
  Bound labels("labels", model(HeadKind::masked_lm));
  data::Batch batch;
  batch.targets.token_labels = torch::tensor({-100, 1, -100, 0});
  nn::Outputs outputs;
  outputs.token_index = torch::tensor({1, 3});
  outputs.token_logits = torch::tensor({{0.0f, std::log(3.0f)}, {0.0f, 0.0f}});
  EXPECT_NEAR(labels(batch, outputs).item<double>(), (std::log(4.0 / 3) + std::log(2.0)) / 2, 1e-6);
  outputs.token_index = torch::empty({0}, torch::kLong);
  outputs.token_logits = torch::empty({0, 5}).requires_grad_(true);
  torch::Tensor none = labels(batch, outputs);
  EXPECT_EQ(none.item<double>(), 0);
  none.backward();
}

TEST(Labels, WrongUses) {
  EXPECT_THAT(failure([] { Bound("labels", model(HeadKind::embedding)); }).message(),
              HasSubstr("head is embedding"));
  EXPECT_THAT(failure([] {
                Bound("labels: {label_smoothing: 0.1}", model(HeadKind::regression, 1));
              }).message(),
              HasSubstr("no meaning for regression"));
  Bound labels("labels", model(HeadKind::classification));
  Error missing = failure([&] { labels({}, with_logits(torch::zeros({1, 2}))); });
  EXPECT_EQ(missing.kind(), ErrorKind::data);
  EXPECT_EQ(failure([&] { labels({}, {}); }).kind(), ErrorKind::internal);
  for (const char* text : {"labels: {label_smoothing: 1}", "labels: {weight: -1}"})
    EXPECT_EQ(failure([&] { made(text); }).kind(), ErrorKind::recipe) << text;
}

TEST(SoftLabels, ByHand) {
  const auto config = model(HeadKind::classification);
  nn::Outputs student = with_logits(torch::zeros({1, 2})),
              teacher = with_logits(torch::tensor({{2.0f, 0.0f}}));
  Bound term("soft_labels: {temperature: 2}", config, config);
  EXPECT_NEAR(term({}, student, &teacher).item<double>(), 0.443776, 1e-6);
  Bound bare("soft_labels: {temperature: 2, scale_t2: false}", config, config);
  EXPECT_NEAR(bare({}, student, &teacher).item<double>(), 0.443776 / 4, 1e-6);
  // The mean over rows: the second row agrees.
  student = with_logits(torch::tensor({{0.0f, 0.0f}, {1.0f, 3.0f}}));
  teacher = with_logits(torch::tensor({{2.0f, 0.0f}, {1.0f, 3.0f}}));
  EXPECT_NEAR(term({}, student, &teacher).item<double>(), 0.443776 / 2, 1e-6);
}

// The loss of TinyBERT, and that of its published code, which divides by the classes as well.
TEST(SoftLabels, CrossEntropyAndTheMeanOverClassesByHand) {
  const auto config = model(HeadKind::classification);
  const torch::Tensor z = torch::zeros({1, 2}).requires_grad_(true);
  nn::Outputs student = with_logits(z),
              teacher = with_logits(torch::tensor({{std::log(3.0f), 0.0f}}));
  auto value = [&](const std::string& text) {
    return Bound(text, config, config)({}, student, &teacher);
  };
  EXPECT_NEAR(value("soft_labels: {loss: cross_entropy}").item<double>(), 0.693147, 1e-6);
  const torch::Tensor code = value("soft_labels: {loss: cross_entropy, classes: mean}");
  EXPECT_NEAR(code.item<double>(), 0.346574, 1e-6);
  // Without the teacher's entropy, log 4 - 0.75 log 3; the gradient is the same.
  EXPECT_NEAR(value("soft_labels").item<double>(), 0.693147 - 0.562335, 1e-6);
  code.backward();
  EXPECT_LT((z.grad() - torch::tensor({{-0.125f, 0.125f}})).abs().max().item<double>(), 1e-6);
  // T^2 is the temperature's affair alone: p_T = (3^0.5, 1) / (3^0.5 + 1), p_S = 1/2.
  EXPECT_NEAR(value("soft_labels: {loss: cross_entropy, temperature: 2}").item<double>(),
              4 * 0.693147, 1e-5);
}

// Over a vocabulary losses are computed in chunks, with all logits or the k most probable tokens.
TEST(SoftLabels, CrossEntropyOverAVocabularyByHand) {
  const auto config = model(HeadKind::causal_lm);
  nn::Outputs student, teacher;
  student.token_logits = torch::zeros({1, 5}).requires_grad_(true);
  teacher.token_logits = torch::tensor({{std::log(4.0f), 0.0f, 0.0f, 0.0f, 0.0f}});
  Bound term("soft_labels: {loss: cross_entropy, classes: mean}", config, config);
  const torch::Tensor loss = term({}, student, &teacher);
  EXPECT_NEAR(loss.item<double>(), std::log(5.0) / 5, 1e-6);
  loss.backward();  // (p_S - p_T) / C of the first token: (1/5 - 4/8) / 5
  EXPECT_NEAR(student.token_logits.grad()[0][0].item<double>(), -0.06, 1e-6);
  student.token_logits = torch::zeros({1, 5});
  // One token of probability 1/2 and the others together: p_S = 1/5, 4/5.
  teacher.top_tokens = {torch::tensor({{0}}), torch::tensor({{std::log(0.5f)}}),
                        torch::tensor({std::log(0.5f)})};
  EXPECT_NEAR(term({}, student, &teacher).item<double>(), -0.5 * std::log(4.0 / 25) / 5, 1e-6);
}

TEST(SoftLabels, GradientIsTheSoftenedDifference) {
  // d/dz_S of T^2 KL / B = T (p_S - p_T) / B
  const auto config = model(HeadKind::classification, 3);
  torch::manual_seed(2);
  torch::Tensor z = torch::randn({4, 3}).requires_grad_(true), zt = torch::randn({4, 3});
  nn::Outputs student = with_logits(z), teacher = with_logits(zt);
  Bound("soft_labels: {temperature: 3}", config, config)({}, student, &teacher).backward();
  torch::Tensor want = 3 * (torch::softmax(z.detach() / 3, 1) - torch::softmax(zt / 3, 1)) / 4;
  EXPECT_TRUE(torch::allclose(z.grad(), want, 1e-4, 1e-6));
}

TEST(SoftLabels, TemperatureMayMove) {
  const auto config = model(HeadKind::classification);
  nn::Outputs student = with_logits(torch::zeros({1, 2})),
              teacher = with_logits(torch::tensor({{2.0f, 0.0f}}));
  Bound term("soft_labels: {temperature: {from: 3, to: 1}}", config, config);
  EXPECT_NEAR(term({}, student, &teacher, {5, 10, 0}).item<double>(), 0.443776, 1e-6);
}

TEST(SoftLabels, MaskedLmAveragesOverPositions) {
  const auto config = model(HeadKind::masked_lm);
  nn::Outputs student, teacher;
  student.token_logits = torch::zeros({2, 2});
  teacher.token_logits = torch::tensor({{2.0f, 0.0f}, {0.0f, 0.0f}});
  Bound term("soft_labels: {temperature: 2}", config, config);
  EXPECT_NEAR(term({}, student, &teacher).item<double>(), 0.443776 / 2, 1e-6);
  student.token_logits = teacher.token_logits = torch::empty({0, 5});
  EXPECT_EQ(term({}, student, &teacher).item<double>(), 0);
}

// The k most probable tokens of logits, as a teacher's cache gives them.
nn::TopTokens top_of(const torch::Tensor& logits, int64_t k) {
  torch::Tensor log_probs = torch::log_softmax(logits, 1);
  auto [values, ids] = log_probs.topk(k, 1);
  return {ids, values, log_probs.scatter(1, ids, -INFINITY).logsumexp(1)};
}

TEST(SoftLabels, TopTokensByHand) {
  const auto config = model(HeadKind::masked_lm);
  nn::Outputs student, teacher;
  student.token_logits = torch::zeros({1, 3});  // p = 1/3 each: kept 1/3, others 2/3
  teacher.top_tokens = {torch::tensor({{1}}), torch::tensor({{std::log(0.5f)}}),
                        torch::tensor({std::log(0.5f)})};
  Bound plain("soft_labels", config, config);
  EXPECT_NEAR(plain({}, student, &teacher).item<double>(), 0.5 * std::log(9.0 / 8), 1e-6);
  // T = 2: the teacher stays at (1/2, 1/2), the student's square roots are 1 : sqrt 2.
  const double kept = 1 / (1 + std::sqrt(2.0));
  Bound soft("soft_labels: {temperature: 2}", config, config);
  EXPECT_NEAR(soft({}, student, &teacher).item<double>(),
              4 * 0.5 * std::log(0.25 / (kept * (1 - kept))), 1e-6);
  Bound bare("soft_labels: {temperature: 2, scale_t2: false}", config, config);
  EXPECT_NEAR(bare({}, student, &teacher).item<double>(),
              0.5 * std::log(0.25 / (kept * (1 - kept))), 1e-6);
}

TEST(SoftLabels, AllTokensButOneAreAllLogits) {
  const auto config = model(HeadKind::masked_lm);
  torch::manual_seed(4);
  const torch::Tensor taught = torch::randn({6, 5}) * 3;
  nn::Outputs all, top;
  all.token_logits = taught;
  top.top_tokens = top_of(taught, 4);
  for (const char* text : {"soft_labels", "soft_labels: {temperature: 3}"}) {
    nn::Outputs one, two;
    one.token_logits = torch::randn({6, 5}).requires_grad_(true);
    two.token_logits = one.token_logits.detach().clone().requires_grad_(true);
    torch::Tensor a = Bound(text, config, config)({}, one, &all),
                  b = Bound(text, config, config)({}, two, &top);
    EXPECT_NEAR(a.item<double>(), b.item<double>(), 1e-5);
    a.backward();
    b.backward();
    EXPECT_TRUE(torch::allclose(one.token_logits.grad(), two.token_logits.grad(), 1e-4, 1e-6));
  }
}

TEST(SoftLabels, FewTokensNeverRaiseTheLoss) {
  auto config = model(HeadKind::masked_lm);
  config.vocab_size = 9;
  torch::manual_seed(5);
  nn::Outputs student, all, top;
  student.token_logits = torch::randn({50, 9});
  all.token_logits = torch::randn({50, 9}) * 2;
  Bound term("soft_labels", config, config);
  const double full = term({}, student, &all).item<double>();
  double less = 0;
  for (int64_t k : {1, 3, 6}) {
    top.top_tokens = top_of(all.token_logits, k);
    const double loss = term({}, student, &top).item<double>();
    EXPECT_LT(loss, full);
    EXPECT_GT(loss, less) << "each token more tells more";
    less = loss;
  }
}

TEST(SoftLabels, WrongUses) {
  const auto two = model(HeadKind::classification), three = model(HeadKind::classification, 3);
  Error alone = failure([&] { Bound("soft_labels", two); });
  EXPECT_EQ(alone.kind(), ErrorKind::recipe);
  EXPECT_THAT(alone.message(), HasSubstr("'soft_labels' needs a teacher"));
  EXPECT_THAT(alone.where(), HasSubstr("recipe.yaml:1"));
  const auto number = model(HeadKind::regression, 1);
  EXPECT_THAT(failure([&] { Bound("soft_labels", number, number); }).hint(),
              HasSubstr("logits_mse"));
  EXPECT_THAT(failure([&] { Bound("soft_labels", two, three); }).message(),
              HasSubstr("the student has 2 of them and the teacher 3"));
  EXPECT_THAT(failure([&] { Bound("soft_labels", two, model(HeadKind::masked_lm)); }).message(),
              HasSubstr("the teacher's is masked_lm"));
  for (const char* text : {"soft_labels: {temperature: 0}", "soft_labels: {temperatur: 2}",
                           "soft_labels: {temperature: {from: 2, to: 0}}"})
    EXPECT_EQ(failure([&] { made(text); }).kind(), ErrorKind::recipe) << text;
}

TEST(LogitsMse, ByHand) {
  const auto config = model(HeadKind::classification);
  nn::Outputs student = with_logits(torch::tensor({{1.0f, 2.0f}, {0.0f, 0.0f}})),
              teacher = with_logits(torch::tensor({{0.0f, 4.0f}, {1.0f, 0.0f}}));
  EXPECT_NEAR(Bound("logits_mse", config, config)({}, student, &teacher).item<double>(), 1.5, 1e-6);
  EXPECT_NEAR(
      Bound("logits_mse: {reduction: sum}", config, config)({}, student, &teacher).item<double>(),
      3, 1e-6);
  EXPECT_THROW(Bound("logits_mse", model(HeadKind::none), model(HeadKind::none)), Error);
  EXPECT_THROW(Bound("logits_mse", config, model(HeadKind::classification, 3)), Error);
  EXPECT_THROW(made("logits_mse: {reduction: max}"), Error);
}

std::string layer_map(const std::string& text, int64_t ours, int64_t theirs) {
  return Bound(text, model(HeadKind::none, 0, ours), model(HeadKind::none, 0, theirs))
      .term->summary();
}

TEST(HiddenStates, TellTheTeachersLayersThatTheyRead) {
  const auto student = model(HeadKind::classification, 2, 2), teacher = model(HeadKind::none, 0, 6);
  Bound term("hidden_states: {layers: uniform, include_embeddings: true}", student, teacher);
  EXPECT_THAT(term.term->needs().teachers.at("teacher").capture.hidden.below(7),
              ElementsAre(0, 3, 6));
  EXPECT_THAT(term.term->needs().student.hidden.below(3), ElementsAre(0, 1, 2));
  Bound soft("soft_labels", student, student);
  EXPECT_FALSE(bool(soft.term->needs().teachers.at("teacher").capture.hidden));
}

TEST(HiddenStates, LayerMaps) {
  EXPECT_EQ(layer_map("hidden_states", 3, 6), "student 1<-2, 2<-4, 3<-6");
  EXPECT_EQ(layer_map("hidden_states", 4, 6), "student 1<-1, 2<-3, 3<-4, 4<-6");
  EXPECT_EQ(layer_map("hidden_states: {layers: last}", 3, 6), "student 1<-4, 2<-5, 3<-6");
  EXPECT_EQ(layer_map("hidden_states: {layers: skip}", 6, 12),
            "student 1<-2, 2<-4, 3<-6, 4<-8, 5<-10");  // PKD-skip
  // TinyBERT's four layers of twelve, and what it compares its map with.
  EXPECT_EQ(layer_map("hidden_states: {layers: even, include_embeddings: true}", 4, 12),
            "student 0<-0, 1<-3, 2<-6, 3<-9, 4<-12");
  EXPECT_EQ(layer_map("hidden_states: {layers: first}", 2, 6), "student 1<-1, 2<-2");
  EXPECT_THAT(failure([] { layer_map("hidden_states: {layers: even}", 4, 6); }).message(),
              HasSubstr("a multiple of the student's layers"));
  EXPECT_EQ(layer_map("hidden_states: {map: [0, 5], include_embeddings: true}", 2, 6),
            "student 0<-0, 1<-0, 2<-5");
}

TEST(HiddenStates, AMapMayNameSomeLayers) {
  EXPECT_EQ(layer_map("hidden_states: {map: {6: 12}}", 6, 12), "student 6<-12");
  EXPECT_EQ(layer_map("hidden_states: {map: {0: 0, 2: 5}}", 3, 6), "student 0<-0, 2<-5");
  EXPECT_THAT(failure([] { layer_map("hidden_states: {map: {7: 12}}", 6, 12); }).message(),
              HasSubstr("the student's layer 7, but it has layers 1 to 6"));
  EXPECT_THAT(failure([] { layer_map("hidden_states: {map: {6: 13}}", 6, 12); }).message(),
              HasSubstr("the teacher's layer 13, but it has layers 1 to 12"));
  EXPECT_THROW(made("hidden_states: {map: {-1: 2}}"), Error);
  EXPECT_THROW(made("hidden_states: {map: {1: -2}}"), Error);
  EXPECT_THAT(failure([] { made("hidden_states: {map: {last: 2}}"); }).where(),
              HasSubstr("recipe.yaml:1:"));
}

TEST(HiddenStates, WrongLayerMaps) {
  EXPECT_THAT(failure([] { layer_map("hidden_states", 7, 6); }).message(),
              HasSubstr("the student has 7 layers and the teacher 6"));
  EXPECT_THAT(failure([] { layer_map("hidden_states: {map: [1]}", 2, 6); }).message(),
              HasSubstr("map names 1 teacher layers, but the student has 2"));
  EXPECT_THAT(failure([] { layer_map("hidden_states: {map: [1, 7]}", 2, 6); }).message(),
              HasSubstr("layer 7, but it has layers 1 to 6"));
  EXPECT_THAT(failure([] { layer_map("hidden_states: {layers: skip}", 1, 6); }).message(),
              HasSubstr("no other"));
  EXPECT_THROW(made("hidden_states: {map: [-1]}"), Error);
}

TEST(HiddenStates, DistancesByHand) {
  const auto config = model(HeadKind::none, 0, 1, 2);
  nn::Outputs student =
                  with_hidden({torch::zeros({2, 2}), torch::tensor({{1.0f, 0.0f}, {2.0f, 2.0f}})}),
              teacher =
                  with_hidden({torch::ones({2, 2}), torch::tensor({{0.0f, 3.0f}, {1.0f, 1.0f}})});
  // (1 + 9 + 1 + 1) / 4
  EXPECT_NEAR(Bound("hidden_states", config, config)({}, student, &teacher).item<double>(), 3,
              1e-6);
  EXPECT_NEAR(
      Bound("hidden_states: {include_embeddings: true}", config, config)({}, student, &teacher)
          .item<double>(),
      4, 1e-6);
  // Cosines 0 and 1.
  EXPECT_NEAR(
      Bound("hidden_states: {loss: cosine}", config, config)({}, student, &teacher).item<double>(),
      0.5, 1e-6);
  // bf16 states are compared in float32.
  for (nn::Outputs* side : {&student, &teacher})
    for (torch::Tensor& states : side->hidden) states = states.to(torch::kBFloat16);
  torch::Tensor low = Bound("hidden_states", config, config)({}, student, &teacher);
  EXPECT_EQ(low.scalar_type(), torch::kFloat);
  EXPECT_NEAR(low.item<double>(), 3, 1e-6);
}

TEST(HiddenStates, ProjectionByHand) {
  const auto narrow = model(HeadKind::none, 0, 1, 2), wide = model(HeadKind::none, 0, 1, 3);
  Bound term("hidden_states", narrow, wide);
  EXPECT_EQ(term.term->summary(), "student 1<-1; projection 2x3");
  ASSERT_EQ(term.auxiliary.list().size(), 1u);
  nn::Parameter& projection = term.auxiliary.list().front();
  EXPECT_EQ(projection.name, "hidden_states.projection.weight");
  EXPECT_TRUE(projection.trainable);
  {
    torch::NoGradGuard no_grad;
    projection.latent.copy_(torch::tensor({{1.0f, 0.0f}, {0.0f, 1.0f}, {1.0f, 1.0f}}));
  }
  nn::Outputs student = with_hidden({{}, torch::tensor({{1.0f, 2.0f}})}),
              teacher = with_hidden({{}, torch::tensor({{1.0f, 2.0f, 0.0f}})});
  torch::Tensor loss = term({}, student, &teacher);
  EXPECT_NEAR(loss.item<double>(), 3, 1e-6);  // (0 + 0 + 9) / 3
  loss.backward();
  // d/dW = 2 * 3 / 3 * x for the third row
  EXPECT_TRUE(torch::allclose(projection.latent.grad(),
                              torch::tensor({{0.0f, 0.0f}, {0.0f, 0.0f}, {2.0f, 4.0f}})));
}

TEST(HiddenStates, ProjectionChoices) {
  const auto narrow = model(HeadKind::none, 0, 1, 2), wide = model(HeadKind::none, 0, 1, 3);
  EXPECT_TRUE(Bound("hidden_states", wide, wide).auxiliary.list().empty());
  EXPECT_EQ(Bound("hidden_states: {projection: always}", wide, wide).term->summary(),
            "student 1<-1; projection 3x3");
  EXPECT_THAT(failure([&] { Bound("hidden_states: {projection: never}", narrow, wide); }).message(),
              HasSubstr("width is 2 and the teacher's 3"));
  // Seeded, and two terms have one each.
  auto initial = [&](uint64_t seed) {
    return Bound("hidden_states", narrow, wide, seed).auxiliary.list().front().latent.detach();
  };
  EXPECT_TRUE(torch::equal(initial(4), initial(4)));
  EXPECT_FALSE(torch::equal(initial(4), initial(5)));
  EXPECT_LE(initial(4).abs().max().item<double>(), 1 / std::sqrt(2.0));
  Bound two("hidden_states", narrow, wide);
  bind(*made("hidden_states: {loss: cosine}"), narrow, &wide, two.auxiliary, 1);
  EXPECT_EQ(two.auxiliary.list().back().name, "hidden_states.projection_2.weight");
}

TEST(HiddenStates, EachPairMayHaveAProjectionAndABias) {
  const auto narrow = model(HeadKind::none, 0, 2, 1), wide = model(HeadKind::none, 0, 2, 2);
  Bound shared("hidden_states: {include_embeddings: true, projection_bias: true}", narrow, wide);
  EXPECT_EQ(shared.term->summary(), "student 0<-0, 1<-1, 2<-2; projection 1x2 with a bias");
  EXPECT_EQ(shared.auxiliary.list().size(), 2U);
  Bound own("hidden_states: {projections: each, projection_bias: true}", narrow, wide);
  EXPECT_EQ(own.term->summary(), "student 1<-1, 2<-2; projection 1x2 with a bias for each pair");
  std::vector<std::string> names;
  float value = 1;
  torch::NoGradGuard no_grad;
  for (nn::Parameter& each : own.auxiliary.list()) {
    names.push_back(each.name);
    each.latent.fill_(value++);
  }
  EXPECT_THAT(names,
              ElementsAre("hidden_states.projection.weight", "hidden_states.projection.bias",
                          "hidden_states.projection_2.weight", "hidden_states.projection_2.bias"));
  EXPECT_EQ(own.auxiliary.list().back().role, nn::Role::bias);
  // 5 * 1 + 2 = 7 in the first layer, 10 * 3 + 4 = 34 in the second, each twice.
  nn::Outputs student = with_hidden({{}, torch::full({1, 1}, 5.0f), torch::full({1, 1}, 10.0f)}),
              teacher = with_hidden({{}, torch::full({1, 2}, 6.0f), torch::full({1, 2}, 32.0f)});
  EXPECT_NEAR(own({}, student, &teacher).item<double>(), 1 + 4, 1e-5);
}

TEST(Objectives, MakeSetsNameWeightAndNeeds) {
  auto term = made("soft_labels: {weight: {from: 1, to: 0}}");
  EXPECT_EQ(term->name(), "soft_labels");
  EXPECT_EQ(term->weight().at({5, 10, 0}), 0.5);
  ASSERT_TRUE(term->needs().teachers.contains(""));
  EXPECT_TRUE(term->needs().teachers.at("").top_tokens);
  EXPECT_FALSE(bool(term->needs().student.hidden));
  ASSERT_TRUE(made("hidden_states")->needs().teachers.contains(""));
  EXPECT_FALSE(made("hidden_states")->needs().teachers.at("").logits);
  EXPECT_EQ(made("labels: {weight: 0.25}")->weight().at({}), 0.25);
  EXPECT_TRUE(made("labels")->needs().teachers.empty());
  EXPECT_THAT(objectives().names(),
              ElementsAre("labels", "soft_labels", "logits_mse", "continuation", "hidden_states",
                          "attention", "contrastive"));
  for (const auto& info : objectives().list()) EXPECT_FALSE(info->equation.empty()) << info->name;
}

}  // namespace
}  // namespace compress::objective
