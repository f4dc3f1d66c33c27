#include <cmath>

#include "unit/nn/support.h"
#include "unit/objective/support.h"

namespace compress::objective {
namespace {

using testing::HasSubstr;
using torch::Tensor;

nn::Outputs with_pooled(const Tensor& pooled) {
  nn::Outputs outputs;
  outputs.pooled = pooled;
  return outputs;
}

nn::ModelConfig pooled_model(int64_t width) {
  return model(HeadKind::classification, 2, 2, width);
}

// 1 / temperature = e, the first value of a scale exp(p) with p = 1.
const std::string at_e = "contrastive: {temperature: 0.36787944117144233";

TEST(Contrastive, OrthonormalPairsHaveTheValueByHand) {
  Bound term(at_e + ", bank: 1}", pooled_model(3), pooled_model(3));
  const data::Batch batch = nn::random_batch({2, 2});
  const nn::Outputs pair = with_pooled(torch::tensor({{2.0f, 0.0f, 0.0f}, {0.0f, 5.0f, 0.0f}}));
  // log(1 + exp(-e)): each row's own key has cosine 1, the other 0.
  EXPECT_NEAR(term(batch, pair, &pair).item<double>(), 0.063902, 1e-6);
  EXPECT_NEAR(term(batch, pair, &pair).item<double>(), 0.063902, 1e-6) << "nothing was pushed yet";
  // One orthogonal key in the bank: log(1 + 2 exp(-e)).
  term.term->load_state({{"bank", torch::tensor({{0.0f, 0.0f, 1.0f}})}});
  EXPECT_NEAR(term(batch, pair, &pair).item<double>(), 0.123965, 1e-6);
}

TEST(Contrastive, GradientsReachTheStudentAlone) {
  Bound term("contrastive: {projection: always, learn_temperature: true}", pooled_model(3),
             pooled_model(4));
  term.auxiliary.refresh(nn::Precision::float32);
  ASSERT_EQ(term.auxiliary.list().size(), 2u);
  EXPECT_EQ(term.auxiliary.list()[1].name, "contrastive.scale");
  EXPECT_NEAR(term.auxiliary.list()[1].latent.item<double>(), std::log(20), 1e-6);
  const Tensor ours = torch::randn({3, 3}).requires_grad_(true),
               theirs = torch::randn({3, 4}).requires_grad_(true);
  const nn::Outputs student = with_pooled(ours), teacher = with_pooled(theirs);
  term(nn::random_batch({1, 1, 1}), student, &teacher).backward();
  term.auxiliary.collect_gradients(false);
  EXPECT_TRUE(ours.grad().defined());
  EXPECT_FALSE(theirs.grad().defined());
  for (const nn::Parameter& helper : term.auxiliary.list())
    EXPECT_NE(helper.latent.grad().abs().sum().item<double>(), 0) << helper.name;
}

TEST(Contrastive, TheBankIsFilledOncePerUpdateNewestFirst) {
  Bound term("contrastive: {bank: 3}", pooled_model(2), pooled_model(2));
  const data::Batch batch = nn::random_batch({1, 1});
  EXPECT_TRUE(term.term->state().empty());
  const nn::Outputs first = with_pooled(torch::tensor({{3.0f, 0.0f}, {0.0f, 4.0f}})),
                    second = with_pooled(torch::tensor({{-2.0f, 0.0f}, {0.0f, -1.0f}}));
  term(batch, first, &first);
  term(batch, first, &first);  // the second pass of a sharpness-aware step
  term.term->after_update({1, 10, 10});
  EXPECT_TRUE(
      torch::equal(term.term->state().at("bank"), torch::tensor({{1.0f, 0.0f}, {0.0f, 1.0f}})));
  term.term->after_update({2, 10, 10});  // an update in which the term had no weight
  EXPECT_EQ(term.term->state().at("bank").size(0), 2);
  term(batch, second, &second);
  term.term->after_update({3, 10, 10});
  EXPECT_TRUE(torch::equal(term.term->state().at("bank"),
                           torch::tensor({{-1.0f, 0.0f}, {0.0f, -1.0f}, {1.0f, 0.0f}})));
}

TEST(Contrastive, AResumedBankGivesTheSameLosses) {
  const data::Batch batch = nn::random_batch({1, 1});
  torch::manual_seed(2);
  Bound one("contrastive: {bank: 5}", pooled_model(4), pooled_model(4)),
      two("contrastive: {bank: 5}", pooled_model(4), pooled_model(4));
  for (int step = 0; step < 4; ++step) {
    const nn::Outputs seen = with_pooled(torch::randn({2, 4}));
    one(batch, seen, &seen);
    one.term->after_update({step + 1, 10, 10});
  }
  two.term->load_state(one.term->state());
  const nn::Outputs student = with_pooled(torch::randn({2, 4})),
                    teacher = with_pooled(torch::randn({2, 4}));
  EXPECT_TRUE(torch::equal(one(batch, student, &teacher), two(batch, student, &teacher)));
  EXPECT_THROW(Bound("contrastive: {bank: 2}", pooled_model(4), pooled_model(4))
                   .term->load_state(one.term->state()),
               Error);
}

TEST(Contrastive, SaysWhatItNeeds) {
  auto term = made("contrastive: {bank: 8}");
  EXPECT_TRUE(term->whole_batch());
  EXPECT_TRUE(term->needs().student.pooled);
  EXPECT_TRUE(term->needs().teachers.at("").capture.pooled);
  EXPECT_FALSE(term->needs().teachers.at("").logits);
  EXPECT_THAT(term->unrecordable(), HasSubstr("grows"));
  EXPECT_EQ(made("contrastive")->unrecordable(), "");
  EXPECT_THAT(
      failure([] { Bound("contrastive", model(HeadKind::causal_lm), pooled_model(3)); }).message(),
      HasSubstr("the head of the student is causal_lm"));
  EXPECT_THROW(Bound("contrastive: {projection: never}", pooled_model(3), pooled_model(4)), Error);
  EXPECT_THROW(made("contrastive: {temperature: 0}"), Error);
}

}  // namespace
}  // namespace compress::objective
