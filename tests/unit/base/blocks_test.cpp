#include "compress/base/blocks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace compress {
namespace {

int64_t zero_of(const std::vector<BlockCount>& counts, int64_t rows, int64_t columns) {
  for (const BlockCount& count : counts)
    if (count.rows == rows && count.columns == columns) return count.zero;
  return -1;
}

TEST(Blocks, ZeroOnesOfEachShapeThatDividesTheMatrix) {
  // Six columns: two divides them, four does not.
  std::vector<uint8_t> kept = {0, 0, 1, 0, 0, 0,  //
                               0, 0, 0, 1, 0, 0,  //
                               0, 0, 0, 0, 1, 1,  //
                               1, 0, 0, 0, 0, 0};
  const std::vector<BlockCount> counts = count_zero_blocks(kept, 4, 6, 4);
  EXPECT_EQ(counts.size(), 6u);  // 1, 2 and 4 rows, 1 and 2 columns
  EXPECT_EQ(counts.front().rows * counts.front().columns, 1);
  EXPECT_EQ(zero_of(counts, 1, 1), 19);
  EXPECT_EQ(zero_of(counts, 1, 2), 8);  // of twelve: each row has one that is kept
  EXPECT_EQ(zero_of(counts, 2, 1), 7);  // columns 0 1 4 5 of the upper rows, 1 2 3 of the lower
  EXPECT_EQ(zero_of(counts, 2, 2), 3);
  EXPECT_EQ(zero_of(counts, 4, 1), 1);  // column 1
  EXPECT_EQ(zero_of(counts, 4, 2), 0);
  EXPECT_EQ(zero_of(counts, 1, 4), -1);
}

// Beyond what is counted in one go, with a rest.
TEST(Blocks, OfALargeMatrix) {
  constexpr int64_t rows = 258, columns = 66;
  std::vector<uint8_t> kept(rows * columns, 1);
  for (int64_t row = 0; row < rows; row += 2)  // one block of 2 x 2 in each pair of rows
    for (int64_t i : {0, 1}) kept[(row + i) * columns + 64] = kept[(row + i) * columns + 65] = 0;
  const std::vector<BlockCount> counts = count_zero_blocks(kept, rows, columns, 64);
  EXPECT_EQ(zero_of(counts, 1, 1), 2 * rows);
  EXPECT_EQ(zero_of(counts, 1, 2), rows);
  EXPECT_EQ(zero_of(counts, 2, 2), rows / 2);
  EXPECT_EQ(counts.size(), 4u);
}

TEST(Blocks, EmptyAndOddMatrices) {
  std::vector<uint8_t> none;
  EXPECT_EQ(count_zero_blocks(none, 0, 4, 64).front().zero, 0);
  std::vector<uint8_t> odd = {0, 1, 0};
  const std::vector<BlockCount> counts = count_zero_blocks(odd, 1, 3, 64);
  ASSERT_EQ(counts.size(), 1u);
  EXPECT_EQ(counts.front().zero, 2);
}

}  // namespace
}  // namespace compress
