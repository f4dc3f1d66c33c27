// Groups of parameters with a rate and a decay of their own.

#include "compress/base/strings.h"
#include "helpers.h"

namespace compress::optim {
namespace {

using torch::Tensor;

// One update of plain gradient descent: w - lr (g + decay w).
Tensor stepped(const Tensor& w, const Tensor& g, double lr, double decay) {
  return w - lr * (g + decay * w);
}

// A role names the biases of its matrices, too; the first group counts.
TEST(Groups, MoveByTheirOwnRateAndDecay) {
  SmallModel model;
  const std::vector<Tensor> before = model.copies();  // matrix, bias, norm, embedding
  auto sgd =
      made(optimizers(),
           "sgd: {lr: 0.1, momentum: 0, weight_decay: 0.5, groups: ["
           "{match: [query], lr: 0.01, weight_decay: 0}, {match: [bias, 'norm.*'], lr: 1}]}");
  bind(*sgd, model.table);
  model.random_gradients();
  std::vector<Tensor> g;
  for (nn::Parameter* p : model.all()) g.push_back(p->latent.grad().clone());
  sgd->step(0.5, 0);
  EXPECT_LT(furthest(model.matrix->latent, stepped(before[0], g[0], 0.005, 0)), 1e-6);
  EXPECT_LT(furthest(model.bias->latent, stepped(before[1], g[1], 0.005, 0)), 1e-6);
  EXPECT_LT(furthest(model.norm->latent, stepped(before[2], g[2], 0.5, 0)), 1e-6);
  EXPECT_LT(furthest(model.embedding->latent, stepped(before[3], g[3], 0.05, 0.5)), 1e-6);
  EXPECT_EQ(sgd->learning_rate(), 0.1);
}

// Adam's first update moves by lr g / (|g| + eps), whatever the gradient's size.
TEST(Groups, OfAdamWByHand) {
  SmallModel model;
  const std::vector<Tensor> before = model.copies();
  auto adam = made(optimizers(),
                   "adamw: {lr: 0.1, eps: 1e-12, weight_decay: 0.5, groups: ["
                   "{match: [query], lr: 0.01}, {match: [embedding], weight_decay: 0.25}]}");
  bind(*adam, model.table);
  for (nn::Parameter* p : model.all())
    p->latent.mutable_grad() = torch::ones_like(p->latent).detach();
  adam->step(1, 0);
  EXPECT_LT(furthest(model.matrix->latent, before[0] * (1 - 0.01 * 0.5) - 0.01), 1e-6);
  EXPECT_LT(furthest(model.bias->latent, before[1] - 0.01), 1e-6);
  EXPECT_LT(furthest(model.norm->latent, before[2] - 0.1), 1e-6);
  EXPECT_LT(furthest(model.embedding->latent, before[3] * (1 - 0.1 * 0.25) - 0.1), 1e-6);
}

// Those that say nothing of their own move as without groups, to the bit.
TEST(Groups, ThatChangeNothingChangeNothing) {
  for (const char* name : {"adamw", "sgd"}) {
    SmallModel plain, grouped;
    auto a = made(optimizers(), str(name, ": {lr: 0.1, weight_decay: 0.3}"));
    auto b = made(optimizers(),
                  str(name, ": {lr: 0.1, weight_decay: 0.3, groups: [{match: [norm, query]}]}"));
    bind(*a, plain.table);
    bind(*b, grouped.table);
    for (int64_t step = 0; step < 5; ++step) {
      plain.random_gradients();
      for (size_t i = 0; i < 4; ++i)
        grouped.all()[i]->latent.mutable_grad() = plain.all()[i]->latent.grad().clone();
      a->step(1, step);
      b->step(1, step);
    }
    for (size_t i = 0; i < 4; ++i)
      EXPECT_TRUE(torch::equal(plain.all()[i]->latent, grouped.all()[i]->latent)) << name;
  }
}

// What is frozen has no moments.
TEST(Groups, ThatMatchNothingAreRefused) {
  SmallModel model;
  auto adam = made(optimizers(), "adamw: {groups: [{match: [quary]}]}");
  const Error error = failure([&] { bind(*adam, model.table); });
  EXPECT_EQ(error.kind(), ErrorKind::recipe);
  EXPECT_NE(error.hint().find("query"), std::string::npos) << error.hint();
  EXPECT_FALSE(error.where().empty());
  EXPECT_TRUE(model.table.train_only({"norm"}).empty());
  auto frozen = made(optimizers(), "adamw: {groups: [{match: [bias]}]}");
  EXPECT_EQ(failure([&] { bind(*frozen, model.table); }).kind(), ErrorKind::recipe);
  auto without = made(optimizers(), "adamw: {weight_decay: 0.5}");
  bind(*without, model.table);
  EXPECT_EQ(without->state().size(), 2u);
  EXPECT_TRUE(without->moments(*model.embedding).empty());
}

}  // namespace
}  // namespace compress::optim
