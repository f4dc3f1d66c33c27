#include <gmock/gmock.h>

#include <cmath>

#include "helpers.h"

namespace compress::optim {
namespace {

using testing::HasSubstr;

// Passes whose gradients are there already: the first one's, and those that `moved` leaves when the
// second is asked for, at the moved weights.
class Given final : public Passes {
 public:
  explicit Given(std::function<void()> moved) : moved_(std::move(moved)) {}
  torch::Tensor pass(const Ask&) override {
    if (++count_ == 2) moved_();
    return {};
  }
  int64_t parts() const override { return 1; }
  void clear_gradients() override {}
  void weights_moved() override {}
  void weights_restored() override {}
  int count() const { return count_; }

 private:
  std::function<void()> moved_;
  int count_ = 0;
};

// Runs an update's passes; `look` sees the moved weights.
int moves(Mover& mover, const std::function<void()>& look) {
  Given passes(look);
  mover.gradients({}, passes);
  return passes.count();
}

TEST(Sam, QuadraticEqualsTheClosedForm) {
  // L = w' A w / 2, g = A w; after one plain step of rate h: w - h A (w + rho A w / ||A w||).
  nn::ParamTable table;
  nn::Parameter& w = table.add("w.weight", nn::Role::query, 0, torch::tensor({{1.0f}, {-2.0f}}));
  const torch::Tensor a = torch::tensor({{3.0f, 1.0f}, {1.0f, 2.0f}});
  const torch::Tensor start = w.latent.detach().clone();
  auto gradient = [&] {
    w.latent.mutable_grad().reset();
    (0.5 * (w.latent.t().mm(a).mm(w.latent))).sum().backward();
  };
  auto sam = made(movers(), "sam: {rho: 0.3}");
  auto sgd = made(optimizers(), "sgd: {lr: 0.1, momentum: 0}");
  bind(*sam, table, {}, nn::Precision::float32);
  bind(*sgd, table);
  gradient();
  moves(*sam, [&] {
    // A w = (1, -3), norm sqrt(10): w + eps = (1.0948683, -2.2846050)
    EXPECT_NEAR(w.latent[0].item<double>(), 1 + 0.3 / std::sqrt(10.0), 1e-6);
    EXPECT_NEAR(w.latent[1].item<double>(), -2 - 0.9 / std::sqrt(10.0), 1e-6);
    gradient();
  });
  EXPECT_TRUE(torch::equal(w.latent, start));
  sgd->step(1, 0);
  const torch::Tensor g = a.mm(start);
  EXPECT_LT(furthest(w.latent, start - 0.1 * a.mm(start + 0.3 * g / g.norm())), 1e-6);
}

TEST(Sam, PerturbationHasNormRhoAndRestoresToTheBit) {
  SmallModel model;
  auto sam = made(movers(), "sam: {rho: 0.7}");
  bind(*sam, model.table, {}, nn::Precision::float32);
  for (int round = 0; round < 3; ++round) {
    model.random_gradients();
    auto before = model.copies();
    moves(*sam, [&] {
      double squares = 0;
      auto moved = model.copies();
      for (size_t i = 0; i < moved.size(); ++i)
        squares += (moved[i].to(torch::kDouble) - before[i].to(torch::kDouble))
                       .square()
                       .sum()
                       .item<double>();
      EXPECT_NEAR(std::sqrt(squares), 0.7, 1e-6);
    });
    auto after = model.copies();
    for (size_t i = 0; i < after.size(); ++i) EXPECT_TRUE(torch::equal(before[i], after[i]));
  }
}

// An embedding's rows must move exactly as if the whole table were perturbed, whatever was touched
// before.
void expect_rows_as_whole_table(const std::string& text) {
  SmallModel rows(5), whole(5);
  rows.embedding->row_gradient = true;
  auto ours = made(movers(), text), reference = made(movers(), text);
  bind(*ours, rows.table, {}, nn::Precision::float32);
  bind(*reference, whole.table, {}, nn::Precision::float32);
  const auto start = rows.copies();
  for (const auto& ids :
       {torch::tensor({4, 1, 4}), torch::tensor({0, 5, 3, 2}), torch::tensor({2})}) {
    rows.random_gradients();
    torch::Tensor table = torch::zeros({6, 4});
    table.index_copy_(0, std::get<0>(at::_unique2(ids)),
                      torch::randn({std::get<0>(at::_unique2(ids)).size(0), 4}));
    rows.embedding->latent.mutable_grad() = table;
    rows.embedding->touched = {ids};
    for (size_t i = 0; i < rows.all().size(); ++i)
      whole.all()[i]->latent.mutable_grad() = rows.all()[i]->latent.grad().clone();
    std::vector<torch::Tensor> expected;
    moves(*reference, [&] { expected = whole.copies(); });
    moves(*ours, [&] {
      EXPECT_LT(furthest(rows.embedding->latent, expected[3]), 1e-6);
      EXPECT_LT(furthest(rows.matrix->latent, expected[0]), 1e-6);
      EXPECT_FALSE(torch::equal(rows.embedding->latent, start[3]));
      rows.embedding->touched.clear();  // as before the second pass
    });
    auto after = rows.copies();
    for (size_t i = 0; i < after.size(); ++i) EXPECT_TRUE(torch::equal(start[i], after[i]));
  }
}

TEST(Sam, EmbeddingRowsAsTheWholeTable) {
  expect_rows_as_whole_table("sam: {rho: 0.5}");
}
TEST(Asam, EmbeddingRowsAsTheWholeTable) {
  expect_rows_as_whole_table("asam: {rho: 0.5}");
}

TEST(Sam, RhoZeroLeavesTheWeights) {
  SmallModel model;
  auto sam = made(movers(), "sam: {rho: 0}");
  bind(*sam, model.table, {}, nn::Precision::bf16);
  EXPECT_FALSE(sam->repeats());
  EXPECT_TRUE(made(movers(), "sam")->repeats());
  model.random_gradients();
  auto before = model.copies();
  EXPECT_EQ(moves(*sam, [] {}), 1) << "one pass is enough";
  auto after = model.copies();
  for (size_t i = 0; i < after.size(); ++i) EXPECT_TRUE(torch::equal(before[i], after[i]));
}

TEST(Sam, PerturbingTwiceIsABug) {
  SmallModel model;
  auto sam = made(movers(), "sam");
  bind(*sam, model.table, {}, nn::Precision::float32);
  model.random_gradients();
  const Error error = failure([&] { moves(*sam, [&] { moves(*sam, [] {}); }); });
  EXPECT_EQ(error.kind(), ErrorKind::internal);
}

TEST(Asam, ByHand) {
  nn::ParamTable table;
  nn::Parameter& w = table.add("a.weight", nn::Role::query, 0, torch::tensor({{1.0f, -2.0f}}));
  nn::Parameter& b = table.add("a.bias", nn::Role::bias, 0, torch::tensor({5.0f}));
  auto asam = made(movers(), "asam: {rho: 0.5, eta: 0.5}");
  bind(*asam, table, {}, nn::Precision::float32);
  w.latent.mutable_grad() = torch::tensor({{2.0f, 0.4f}});
  b.latent.mutable_grad() = torch::tensor({1.0f});
  moves(*asam, [&] {
    // T = (1.5, 2.5, 1); T g = (3, 1, 1), norm sqrt(11); T^2 g = (4.5, 2.5, 1)
    const double c = 0.5 / std::sqrt(11.0);
    EXPECT_NEAR(w.latent[0][0].item<double>(), 1 + 4.5 * c, 1e-6);
    EXPECT_NEAR(w.latent[0][1].item<double>(), -2 + 2.5 * c, 1e-6);
    EXPECT_NEAR(b.latent[0].item<double>(), 5 + c, 1e-6);
    EXPECT_EQ(w.latent.grad()[0][0].item<double>(), 2) << "gradients are only read";
  });
}

// Loss at w + eps of a two-layer linear network whose layers are scaled by c and 1 / c.
double perturbed_loss(const std::string& text, double c) {
  torch::manual_seed(3);
  nn::ParamTable table;
  nn::Parameter& first = table.add("1.weight", nn::Role::ffn_in, 0, torch::randn({5, 4}) * c);
  nn::Parameter& second = table.add("2.weight", nn::Role::ffn_out, 0, torch::randn({3, 5}) / c);
  const torch::Tensor x = torch::randn({7, 4}), y = torch::randn({7, 3});
  auto loss = [&] { return (x.mm(first.latent.t()).mm(second.latent.t()) - y).square().mean(); };
  auto sharpness = made(movers(), text);
  bind(*sharpness, table, {}, nn::Precision::float32);
  loss().backward();
  double there = 0;
  moves(*sharpness, [&] { there = loss().item<double>(); });
  return there;
}

TEST(Asam, IsInvariantToRescalingAndSamIsNot) {
  const double plain = perturbed_loss("asam: {rho: 0.5, eta: 0}", 1);
  EXPECT_NEAR(perturbed_loss("asam: {rho: 0.5, eta: 0}", 4), plain, 1e-4 * plain);
  EXPECT_NEAR(perturbed_loss("asam: {rho: 0.5, eta: 0}", 0.25), plain, 1e-4 * plain);
  const double sam = perturbed_loss("sam: {rho: 0.5}", 1);
  EXPECT_GT(std::abs(perturbed_loss("sam: {rho: 0.5}", 4) - sam), 0.01 * sam);
}

TEST(Sharpness, PerturbationBelowBf16IsRefused) {
  nn::ParamTable table;
  nn::Parameter& w = table.add("w.weight", nn::Role::query, 0, torch::full({1000, 1000}, 0.05));
  w.castable = true;
  // Numbers of bf16 near 0.05 are 2^-12 apart, a quarter is 6.1e-5; rho / sqrt(N) = 5e-5 < 6.1e-5 <
  // 7e-5.
  auto sam = made(movers(), "sam: {rho: 0.05}");
  Error error = failure([&] { bind(*sam, table, {}, nn::Precision::bf16); });
  EXPECT_EQ(error.kind(), ErrorKind::recipe);
  EXPECT_THAT(error.message(), HasSubstr("1,000,000 weights by about 5e-05"));
  EXPECT_THAT(error.message(), HasSubstr("0.000244 apart in bf16"));
  EXPECT_EQ(error.hint(), "set precision: float32 for this stage");
  bind(*sam, table, {}, nn::Precision::float32);
  bind(*made(movers(), "sam: {rho: 0.07}"), table, {}, nn::Precision::bf16);
  // asam moves w by rho (|w| + eta) / sqrt(N): 0.5 * 0.06 / 1000 = 3e-5, and 1.1 * 0.06 / 1000
  // = 6.6e-5.
  EXPECT_THROW(bind(*made(movers(), "asam"), table, {}, nn::Precision::bf16), Error);
  bind(*made(movers(), "asam: {rho: 1.1}"), table, {}, nn::Precision::bf16);
  w.castable = false;
  bind(*sam, table, {}, nn::Precision::bf16);
}

TEST(Sharpness, Options) {
  EXPECT_EQ(made(movers(), "sam")->unrecordable(), "");
  EXPECT_THAT(made(movers(), "asam: {accumulation: per_micro_batch}")->unrecordable(),
              HasSubstr("each micro-batch"));
  for (const char* text : {"sam: {rho: -1}", "asam: {eta: -1}", "sam: {accumulation: some}"})
    EXPECT_EQ(failure([&] { made(movers(), text); }).kind(), ErrorKind::recipe) << text;
}

}  // namespace
}  // namespace compress::optim
