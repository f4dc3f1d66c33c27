#include "compress/nn/pattern.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace compress::nn {
namespace {

using torch::Tensor;

std::string text_of(const std::vector<Tensor>& weights) {
  ZeroPattern zeros;
  for (const Tensor& weight : weights) zeros.add(weight);
  return zeros.text();
}

// A matrix whose blocks are zero with this chance.
Tensor block_sparse(double chance, int64_t out, int64_t in, int64_t rows, int64_t columns) {
  const Tensor keep = (torch::rand({out / rows, in / columns}) >= chance)
                          .repeat_interleave(rows, 0)
                          .repeat_interleave(columns, 1);
  return torch::randn({out, in}) * keep;
}

Tensor of_four(int64_t n, int64_t out, int64_t in) {
  const Tensor value = torch::randn({out, in / 4, 4});
  const Tensor least = value.abs().argsort(int64_t{2}).slice(2, 0, 4 - n);
  return value.scatter(2, least, 0).view({out, in});
}

TEST(Pattern, Texts) {
  EXPECT_EQ((Pattern{1, 4}.text()), "blocks of 1x4");
  EXPECT_EQ((Pattern{1, 1, 2, 4}.text()), "2 of 4");
  EXPECT_EQ(Pattern{}.text(), "single weights");
  EXPECT_TRUE((Pattern{4, 1}.divides(8, 3)));
  EXPECT_FALSE((Pattern{4, 1}.divides(6, 3)));
  EXPECT_FALSE((Pattern{1, 1, 2, 4}.divides(6, 6)));
}

TEST(Pattern, IsFoundInWeights) {
  torch::manual_seed(1);
  EXPECT_EQ(text_of({torch::randn({64, 64})}), "");
  for (double chance : {0.3, 0.8, 0.9, 0.97}) {
    EXPECT_EQ(text_of({block_sparse(chance, 192, 192, 1, 4)}), "blocks of 1x4") << chance;
    EXPECT_EQ(text_of({block_sparse(chance, 192, 192, 4, 1)}), "blocks of 4x1") << chance;
    EXPECT_EQ(text_of({block_sparse(chance, 192, 192, 1, 1)}), "single zeros") << chance;
  }
  EXPECT_EQ(text_of({block_sparse(0.8, 192, 192, 8, 2)}), "blocks of 8x2");
  EXPECT_EQ(text_of({of_four(2, 64, 128)}), "2 of 4");
  EXPECT_EQ(text_of({of_four(1, 64, 128)}), "1 of 4");
}

TEST(Pattern, IsThatOfAllMatricesTogether) {
  torch::manual_seed(2);
  const Tensor blocks = block_sparse(0.8, 128, 128, 1, 4), dense = torch::randn({30, 30});
  EXPECT_EQ(text_of({blocks, dense}), "blocks of 1x4");  // without zeros its sides do not matter
  EXPECT_EQ(text_of({blocks, block_sparse(0.8, 128, 128, 1, 8)}), "blocks of 1x4");
  EXPECT_EQ(text_of({blocks, block_sparse(0.8, 128, 128, 1, 1)}), "single zeros");
  EXPECT_EQ(text_of({of_four(2, 64, 64), dense}), "2 of 4");
  EXPECT_EQ(text_of({of_four(2, 64, 64), block_sparse(0.5, 64, 64, 1, 1)}), "single zeros");
}

TEST(Pattern, ZerosOfRoundingInsideOfBlocksAreTold) {
  torch::manual_seed(3);
  const Tensor rounded = (block_sparse(0.8, 256, 256, 1, 4) * 30).round();  // 1.3% of what is left
  EXPECT_THAT(text_of({rounded}),
              testing::MatchesRegex("blocks of 1x4, 0\\.[34][0-9]% of zeros outside of them"));
  EXPECT_EQ(text_of({(torch::randn({256, 256}) * 30).round()}), "single zeros");
  EXPECT_EQ(text_of({(of_four(2, 64, 128) * 30).round()}), "2 of 4");
}

TEST(Pattern, BlocksThatKeepAnything) {
  const Tensor weight = torch::tensor({{0.f, 0.f, 1.f, 0.f}, {0.f, -0.f, 0.f, 0.f}});
  EXPECT_TRUE(
      torch::equal(kept_blocks(weight, {1, 2}), torch::tensor({{0, 1}, {0, 0}}, torch::kUInt8)));
  EXPECT_TRUE(
      torch::equal(kept_blocks(weight, {2, 1}), torch::tensor({{0, 0, 1, 0}}, torch::kUInt8)));
}

}  // namespace
}  // namespace compress::nn
