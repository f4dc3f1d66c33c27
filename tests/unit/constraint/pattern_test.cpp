#include "pruning/pattern.h"

#include <cmath>
#include <limits>

#include "helpers.h"

namespace compress::constraint {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::string w = "encoder.layer.0.intermediate.dense.weight";

torch::Tensor matrix() {
  return torch::tensor({{1.f, -2.f, 3.f, -4.f, 0.5f, 0.5f, -0.5f, 0.5f},
                        {9.f, 0.f, 0.f, 1.f, 2.f, 2.f, 2.f, 3.f},
                        {-1.f, 1.f, 1.f, -1.f, 8.f, 7.f, 6.f, 5.f},
                        {0.1f, 0.2f, 0.3f, 0.4f, -3.f, 1.f, 2.f, -1.f}});
}

torch::Tensor pruned(const std::string& options, torch::Tensor value, std::string* report = nullptr,
                     int64_t step = 0) {
  TinyModel model;
  nn::Parameter& p = model.add(std::move(value));
  auto constraint = pruner("magnitude: {schedule: constant, " + options + "}");
  bind(*constraint, model);
  constraint->before_update(at_step(step));
  if (report != nullptr) *report = constraint->report();
  return effective(model, p);
}

// Which of its blocks, row by row, a matrix has kept; blocks must be whole.
std::vector<float> kept(const torch::Tensor& value, int64_t rows, int64_t columns) {
  const nn::Pattern pattern{rows, columns};
  const torch::Tensor units = nn::kept_blocks(value, pattern);
  return values(units);
}

// Means of 1 x 4: 2.5 0.5 | 2.5 2.25 | 1 6.5 | 0.25 1.75.
TEST(Pattern, BlocksAlongTheInput) {
  EXPECT_THAT(values(unit_scores(matrix(), {}, {1, 4})),
              ElementsAre(2.5, 0.5, 2.5, 2.25, 1, 6.5, 0.25, 1.75));
  std::string report;
  const torch::Tensor half = pruned("sparsity: 50%, pattern: {block: [1, 4]}", matrix(), &report);
  EXPECT_THAT(kept(half, 1, 4), ElementsAre(1, 0, 1, 1, 0, 1, 0, 0));
  // What stays stays as it was, its zeros too.
  EXPECT_TRUE(torch::equal(half[1], matrix()[1]));
  EXPECT_THAT(report, HasSubstr("sparsity 50.00% of 32 weights in blocks of 1x4 (tensors"));
  // The number of blocks is rounded once: 0.7 * 8 = 5.6 is 6; of two that are equal the first goes.
  EXPECT_THAT(kept(pruned("sparsity: 70%, pattern: {block: [1, 4]}", matrix(), &report), 1, 4),
              ElementsAre(0, 0, 1, 0, 0, 1, 0, 0));
  EXPECT_THAT(report, HasSubstr("sparsity 75.00% of 32 weights"));
}

// Means of 4 x 1: 2.775 0.8 1.075 1.6 | 3.375 2.625 2.625 2.375.
TEST(Pattern, BlocksAlongTheOutput) {
  const torch::Tensor scores = unit_scores(matrix(), {}, {4, 1});
  EXPECT_EQ(scores.sizes(), (std::vector<int64_t>{1, 8}));
  const std::vector<float> expected = {2.775f, 0.8f, 1.075f, 1.6f, 3.375f, 2.625f, 2.625f, 2.375f};
  for (int64_t i = 0; i < 8; ++i)
    EXPECT_FLOAT_EQ(scores[0][i].item<float>(), expected[static_cast<size_t>(i)]);
  EXPECT_THAT(kept(pruned("sparsity: 50%, pattern: {block: [4, 1]}", matrix()), 4, 1),
              ElementsAre(1, 0, 0, 0, 1, 1, 1, 0));
}

// Means of 2 x 4: 2.5 1.375 | 0.625 4.125.
TEST(Pattern, BlocksOfBoth) {
  EXPECT_THAT(values(unit_scores(matrix(), {}, {2, 4})), ElementsAre(2.5, 1.375, 0.625, 4.125));
  EXPECT_THAT(kept(pruned("sparsity: 0.5, pattern: {block: [2, 4]}", matrix()), 2, 4),
              ElementsAre(1, 0, 0, 1));
  EXPECT_THAT(kept(pruned("sparsity: 0.25, pattern: {block: [4, 8]}", matrix()), 4, 8),
              ElementsAre(1));
}

TEST(Pattern, TwoOfFour) {
  std::string report;
  const torch::Tensor value = pruned("pattern: {n: 2, of: 4}", matrix(), &report);
  // Of equal ones the earlier go.
  EXPECT_THAT(values(value[0]), ElementsAre(0, 0, 3, -4, 0, 0, -0.5, 0.5));
  EXPECT_THAT(values(value[1]), ElementsAre(9, 0, 0, 1, 0, 0, 2, 3));
  EXPECT_THAT(values(value[2]), ElementsAre(0, 0, 1, -1, 8, 7, 0, 0));
  EXPECT_THAT(values(value[3]), ElementsAre(0, 0, 0.3f, 0.4f, -3, 0, 2, 0));
  EXPECT_THAT(report, HasSubstr("sparsity 50.00% of 32 weights, 2 of 4 (tensors"));
  EXPECT_THAT(values(pruned("pattern: {n: 1, of: 4}", matrix())[3]),
              ElementsAre(0, 0, 0, 0.4f, -3, 0, 0, 0));
  EXPECT_TRUE(torch::equal(pruned("sparsity: 50%, pattern: {n: 2, of: 4}", matrix()), value));
  EXPECT_TRUE(torch::equal(
      pruned("threshold: strict, scope: uniform, pattern: {n: 2, of: 4}", matrix()), value));
  // 5 of 7: 1 - 5/7 is not exact in binary, the count is.
  EXPECT_EQ(zeros(pruned("threshold: strict, pattern: {n: 5, of: 7}",
                         torch::arange(1.f, 141.f).view({2, 70}))),
            40);
}

// On the way the smallest go of those that may: a quarter is 8 of 32, the two zeros, 0.1, 0.2, two
// of the 0.5 (the other two stay in the end), and the first two of magnitude 1.
TEST(Pattern, TwoOfFourGrows) {
  TinyModel model;
  nn::Parameter& p = model.add(matrix());
  auto constraint = pruner(
      "magnitude: {initial: 25%, schedule: linear, end: 10 steps, every: 5 steps, pattern: {n: 2, "
      "of: 4}}");
  bind(*constraint, model);
  constraint->before_update(at_step(0));
  torch::Tensor value = effective(model, p);
  EXPECT_EQ(zeros(value), 8);
  EXPECT_THAT(values(value[0]), ElementsAre(0, -2, 3, -4, 0, 0, -0.5, 0.5));
  EXPECT_THAT(values(value[2]), ElementsAre(0, 1, 1, -1, 8, 7, 6, 5));
  EXPECT_THAT(values(value[3]), ElementsAre(0, 0, 0.3f, 0.4f, -3, 1, 2, -1));
  constraint->before_update(at_step(10));
  EXPECT_EQ(zeros(effective(model, p)), 16);
  EXPECT_TRUE(allows({1, 1, 2, 4}, effective(model, p) != 0));
}

TEST(Pattern, ScopesRankBlocksOfAllMatricesOrOfEach) {
  for (bool global : {true, false}) {
    TinyModel model;
    nn::Parameter& a = model.add(matrix().slice(0, 0, 2).contiguous());
    nn::Parameter& b = model.add("encoder.layer.0.output.dense.weight", nn::Role::ffn_out,
                                 matrix().slice(0, 2, 4).contiguous());
    auto constraint = pruner(str("magnitude: {sparsity: 50%, schedule: constant, pattern: {block: ",
                                 "[1, 4]}, scope: ", global ? "global" : "uniform", "}"));
    bind(*constraint, model);
    EXPECT_EQ(constraint->matches()[0].what,
              str("pruned to 50% in blocks of 1x4 (", global ? "global" : "uniform", ")"));
    constraint->before_update(at_step(0));
    if (global) {
      EXPECT_THAT(kept(effective(model, a), 1, 4), ElementsAre(1, 0, 1, 1));
      EXPECT_THAT(kept(effective(model, b), 1, 4), ElementsAre(0, 1, 0, 0));
    } else {
      EXPECT_THAT(kept(effective(model, a), 1, 4), ElementsAre(1, 0, 1, 0));
      EXPECT_THAT(kept(effective(model, b), 1, 4), ElementsAre(0, 1, 0, 1));
    }
  }
}

// k = floor(0.625 * 8) = 5 blocks, whose largest score is 2.25; floor(0.8 * 8) = 6 is 2.5, and the
// other block of 2.5 goes with it.
TEST(Pattern, AStrictThresholdTakesBlocksThatTie) {
  EXPECT_THAT(
      kept(pruned("sparsity: 62.5%, threshold: strict, pattern: {block: [1, 4]}", matrix()), 1, 4),
      ElementsAre(1, 0, 1, 0, 0, 1, 0, 0));
  EXPECT_THAT(
      kept(pruned("sparsity: 80%, threshold: strict, pattern: {block: [1, 4]}", matrix()), 1, 4),
      ElementsAre(0, 0, 0, 0, 0, 1, 0, 0));
}

TEST(Pattern, WithRegrowthABlockReturnsAndWithoutItDoesNot) {
  for (bool regrowth : {true, false}) {
    TinyModel model;
    nn::Parameter& p = model.add(matrix());
    auto constraint = pruner(
        str("magnitude: {sparsity: 50%, initial: 25%, schedule: linear, end: ",
            "10 steps, pattern: {block: [1, 4]}, regrowth: ", regrowth ? "true" : "false", "}"));
    bind(*constraint, model);
    constraint->before_update(at_step(0));
    EXPECT_THAT(kept(effective(model, p), 1, 4), ElementsAre(1, 0, 1, 1, 1, 1, 0, 1));
    EXPECT_EQ(zeros(p.latent[3].slice(0, 0, 4)), regrowth ? 0 : 4);
    p.latent.detach()[3].slice(0, 0, 4).fill_(20);
    constraint->before_update(at_step(10));
    EXPECT_THAT(kept(effective(model, p), 1, 4), regrowth ? ElementsAre(1, 0, 1, 0, 0, 1, 1, 0)
                                                          : ElementsAre(1, 0, 1, 1, 0, 1, 0, 0));
  }
}

TEST(Pattern, AMaskedWeightIsTheFirstOfItsGroupToGo) {
  const torch::Tensor before = torch::ones({1, 4}, torch::kUInt8);
  before[0][3] = 0;
  const torch::Tensor scores =
      unit_scores(torch::tensor({{1.f, 2.f, 3.f, 4.f}}), before, {1, 1, 2, 4});
  const float most = std::numeric_limits<float>::max();
  EXPECT_THAT(values(scores), ElementsAre(1, most, most, 4));
}

TEST(Pattern, ManyBlocksAgreeWithASortForAnyNumberOfThreads) {
  torch::manual_seed(3);
  const torch::Tensor value = torch::randn({96, 768});
  const torch::Tensor means = value.abs().to(torch::kFloat64).view({96, 192, 4}).mean(2).flatten();
  torch::Tensor keep = torch::ones({96 * 192});
  keep.index_fill_(0, at::argsort(means, true, 0, false).slice(0, 0, std::llround(0.8 * 96 * 192)),
                   0);
  const int threads = at::get_num_threads();
  for (int n : {1, 3}) {
    at::set_num_threads(n);
    const torch::Tensor sparse = pruned("sparsity: 80%, pattern: {block: [1, 4]}", value.clone());
    EXPECT_TRUE(torch::equal(nn::kept_blocks(sparse, {1, 4}).flatten() != 0, keep != 0));
  }
  at::set_num_threads(threads);
}

TEST(Pattern, ResumedRunGoesOnAsTheOther) {
  for (const char* pattern : {"{block: [2, 2]}", "{n: 2, of: 4}"})
    for (const char* regrowth : {"true", "false"}) {
      const std::string text = str("magnitude: {sparsity: 50%, end: 30 steps, every: 3 steps, ",
                                   "pattern: ", pattern, ", regrowth: ", regrowth, "}");
      ResumedRun run(text, {32, 36});
      run.go_on();
      EXPECT_TRUE(torch::equal(effective(run.one, *run.p), effective(run.two, *run.q))) << text;
      EXPECT_EQ(zeros(effective(run.one, *run.p)), 576) << text;
      EXPECT_EQ(run.a->report(), run.b->report());
      // Another pattern's state is refused.
      TinyModel other;
      other.add(torch::randn({32, 36}));
      auto c = pruner("magnitude: {sparsity: 50%, pattern: {block: [4, 4]}}");
      bind(*c, other);
      EXPECT_THAT(error_of(ErrorKind::model, [&] { c->load_state(run.a->state()); }),
                  HasSubstr("zeros outside of blocks of 4x4 in " + w));
    }
}

TEST(Pattern, SizesThatDoNotDivideAreRefusedWithTheMatrix) {
  auto refused = [](const std::string& options) {
    TinyModel model;
    model.add(torch::ones({6, 10}));
    return error_of(ErrorKind::recipe, [&] { bind(*pruner(options), model); });
  };
  EXPECT_THAT(
      refused("magnitude: {sparsity: 50%, pattern: {block: [1, 4]}}"),
      HasSubstr("blocks of 1x4 do not divide " + w + ", which has 6 outputs and 10 inputs"));
  EXPECT_THAT(refused("magnitude: {sparsity: 50%, pattern: {block: [4, 1]}}"),
              HasSubstr("6 outputs"));
  EXPECT_THAT(refused("magnitude: {pattern: {n: 2, of: 4}}"), HasSubstr("2 of 4 does not divide"));
  EXPECT_THAT(refused("keep_pattern: {pattern: {block: [1, 4]}}"), HasSubstr("do not divide"));
}

TEST(Pattern, WrongOptions) {
  auto refused = [](const std::string& options) {
    return error_of(ErrorKind::recipe, [&] { pruner("magnitude: {" + options + "}"); });
  };
  EXPECT_THAT(refused("sparsity: 50%, pattern: {}"), HasSubstr("says nothing"));
  EXPECT_THAT(refused("sparsity: 50%, pattern: {block: [1, 4], n: 2, of: 4}"), HasSubstr("twice"));
  EXPECT_THAT(refused("pattern: {n: 2}"), HasSubstr("belong together"));
  EXPECT_THAT(refused("pattern: {n: 4, of: 4}"), HasSubstr("leaves nothing to prune"));
  EXPECT_THAT(refused("pattern: {n: 0, of: 4}"), HasSubstr("at least 1"));
  EXPECT_THAT(refused("sparsity: 50%, pattern: {block: [4]}"), HasSubstr("two whole numbers"));
  EXPECT_THAT(refused("sparsity: 50%, pattern: {block: [1, 1]}"), HasSubstr("two whole numbers"));
  EXPECT_THAT(refused("sparsity: 50%, pattern: {block: [0, 4]}"), HasSubstr("two whole numbers"));
  EXPECT_THAT(refused("pattern: {block: [1, 4]}"), HasSubstr("needs 'sparsity'"));
  EXPECT_THAT(refused("sparsity: 80%, pattern: {n: 2, of: 4}"),
              HasSubstr("2 of 4 is a sparsity of 50%, not of 80%"));
}

TEST(Pattern, WeightsThatAreNotFiniteStopTheRun) {
  for (const char* options :
       {"sparsity: 50%, pattern: {block: [1, 4]}", "pattern: {n: 2, of: 4}"}) {
    torch::Tensor value = matrix();
    value[2][5] = NAN;
    EXPECT_THAT(error_of(ErrorKind::diverged, [&] { pruned(options, value.clone()); }),
                HasSubstr(w));
  }
}

// The matrix without blocks 1, 3, 4, 6, 7, and with a zero inside of block 5.
torch::Tensor block_sparse() {
  torch::Tensor value = matrix() + 10;
  for (int64_t block : {1, 3, 4, 6, 7})
    value[block / 2].slice(0, block % 2 * 4, block % 2 * 4 + 4) = 0;
  return value;
}

TEST(KeepPattern, TellsWhichPatternTheZerosHave) {
  TinyModel model;
  model.add(block_sparse());
  auto constraint = pruner("keep_pattern");
  bind(*constraint, model);
  EXPECT_THAT(constraint->report(), testing::EndsWith(", pattern kept: blocks of 1x4"));
  TinyModel other;
  other.add(torch::eye(5));
  bind(*(constraint = pruner("keep_pattern")), other);
  EXPECT_THAT(constraint->report(), testing::EndsWith(", pattern kept"));
}

TEST(KeepPattern, KeepsTheBlocksThatItIsTold) {
  const std::string text = "keep_pattern: {pattern: {block: [1, 4]}}";
  TinyModel model;
  torch::Tensor value = block_sparse();
  value[2][6] = 0;  // one weight of twelve, as rounding makes them
  nn::Parameter& p = model.add(value.clone());
  auto constraint = pruner(text);
  bind(*constraint, model);
  EXPECT_THAT(constraint->matches()[0].what, "zeros kept, blocks of 1x4");
  p.latent.detach().fill_(3);
  constraint->after_update(at_step(0));
  EXPECT_THAT(kept(p.latent, 1, 4), ElementsAre(1, 0, 1, 0, 0, 1, 0, 0));
  EXPECT_EQ(p.latent[2][6].item<float>(), 3);
  auto refused = [](const std::string& options, torch::Tensor weights) {
    TinyModel model;
    model.add(std::move(weights));
    return error_of(ErrorKind::recipe, [&] { bind(*pruner(options), model); });
  };
  value[2][7] = 0;  // two of twelve
  EXPECT_THAT(refused(text, value.clone()),
              HasSubstr(w + " are not of the pattern blocks of 1x4: it has 2 zeros outside"));
  EXPECT_THAT(refused("keep_pattern: {pattern: {n: 2, of: 4}}", value.clone()),
              HasSubstr("more than 2 of some 4"));
}

TEST(KeepPattern, BlocksStayExactlyZeroUnderInt8) {
  for (const char* pattern : {"{block: [1, 4]}", "{n: 2, of: 4}"}) {
    TinyModel model;
    torch::manual_seed(2);
    torch::Tensor start = pruned(str("sparsity: 50%, pattern: ", pattern), torch::randn({24, 32}));
    const torch::Tensor dense = start != 0;
    nn::Parameter& p = model.add(start.clone());
    auto keep = pruner(str("keep_pattern: {pattern: ", pattern, "}"));
    auto int8 = quantizer("{weights: int8}");
    bind(*keep, model);
    bind(*int8, model);
    for (int64_t step = 0; step < 20; ++step) {
      int8->before_update(at_step(step));
      torch::Tensor gradient = latent_gradient(model, p, torch::randn({24, 32}));
      torch::Tensor gone = p.effective.detach().masked_select(~dense);
      EXPECT_EQ(gone.count_nonzero().item<int64_t>(), 0);
      EXPECT_FALSE(gone.signbit().any().item<bool>());
      p.latent.detach().sub_(gradient, 0.01);
      p.latent.detach().masked_fill_(~dense, 1e-3f);  // as if an optimizer moved them
      keep->after_update(at_step(step));
    }
    keep->finish();
    EXPECT_TRUE(torch::equal(p.latent.detach() != 0, dense));
  }
}

}  // namespace
}  // namespace compress::constraint
