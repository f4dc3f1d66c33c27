#include "compress/data/batches.h"
#include "support.h"

namespace compress::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Rows [5 6 | 7], [8], [9 10 11 12] with three classes.
Split three_rows() {
  Split split;
  split.task = Task::classification;
  split.labels = {"a", "b", "c"};
  split.ids = {5, 6, 7, 8, 9, 10, 11, 12};
  split.offsets = {0, 3, 4, 8};
  split.first_lengths = {2, 1, 4};
  split.classes = {2, 0, 1};
  split.lines = {2, 3, 4};
  return split;
}

std::vector<int64_t> longs(const torch::Tensor& tensor) {
  EXPECT_EQ(tensor.scalar_type(), torch::kInt64);
  auto flat = tensor.contiguous();
  return {flat.data_ptr<int64_t>(), flat.data_ptr<int64_t>() + flat.numel()};
}
std::vector<float> floats(const torch::Tensor& tensor) {
  EXPECT_EQ(tensor.scalar_type(), torch::kFloat32);
  auto flat = tensor.contiguous();
  return {flat.data_ptr<float>(), flat.data_ptr<float>() + flat.numel()};
}

void expect_same(const Batch& a, const Batch& b) {
  EXPECT_EQ(a.row_offsets, b.row_offsets);
  EXPECT_EQ(a.longest, b.longest);
  EXPECT_EQ(a.example_ids, b.example_ids);
  EXPECT_EQ(longs(a.token_ids), longs(b.token_ids));
  EXPECT_EQ(longs(a.segment_ids), longs(b.segment_ids));
  EXPECT_EQ(longs(a.positions), longs(b.positions));
  EXPECT_EQ(longs(a.offsets), longs(b.offsets));
  EXPECT_EQ(longs(a.slots), longs(b.slots));
  ASSERT_EQ(a.targets.distribution.defined(), b.targets.distribution.defined());
  if (a.targets.distribution.defined()) {
    EXPECT_TRUE(torch::equal(a.targets.distribution, b.targets.distribution));
  }
  ASSERT_EQ(a.targets.values.defined(), b.targets.values.defined());
  if (a.targets.values.defined()) {
    EXPECT_TRUE(torch::equal(a.targets.values, b.targets.values));
  }
}

TEST(Pack, ByHand) {
  Batch batch = pack(three_rows(), std::vector<int64_t>{2, 0});
  EXPECT_EQ(batch.rows(), 2);
  EXPECT_EQ(batch.tokens(), 7);
  EXPECT_EQ(batch.longest, 4);
  EXPECT_THAT(batch.example_ids, ElementsAre(2, 0));
  EXPECT_THAT(batch.row_offsets, ElementsAre(0, 4, 7));
  EXPECT_THAT(longs(batch.token_ids), ElementsAre(9, 10, 11, 12, 5, 6, 7));
  EXPECT_THAT(longs(batch.segment_ids), ElementsAre(0, 0, 0, 0, 0, 0, 1));
  EXPECT_THAT(longs(batch.positions), ElementsAre(0, 1, 2, 3, 0, 1, 2));
  EXPECT_THAT(longs(batch.offsets), ElementsAre(0, 4, 7));
  EXPECT_THAT(longs(batch.slots), ElementsAre(0, 1, 2, 3, 4, 5, 6));
  EXPECT_EQ(batch.targets.distribution.sizes(), (std::vector<int64_t>{2, 3}));
  EXPECT_THAT(floats(batch.targets.distribution), ElementsAre(0, 1, 0, 0, 0, 1));
  EXPECT_FALSE(batch.targets.values.defined());
  EXPECT_FALSE(batch.targets.token_labels.defined());
}

TEST(Pack, SlotsLeaveRoomForTheLongestRow) {
  Batch batch = pack(three_rows(), std::vector<int64_t>{1, 0, 1});
  EXPECT_THAT(longs(batch.slots), ElementsAre(0, 3, 4, 5, 6));
}

TEST(Pack, OtherTargets) {
  Split split = three_rows();
  split.classes.clear();
  EXPECT_FALSE(pack(split, std::vector<int64_t>{1}).targets.distribution.defined());
  split.soft = {.1f, .2f, .7f, 0, 1, 0, .5f, .25f, .25f};
  EXPECT_THAT(floats(pack(split, std::vector<int64_t>{2, 0}).targets.distribution),
              ElementsAre(.5f, .25f, .25f, .1f, .2f, .7f));
  split.soft.clear();
  split.labels.clear();
  split.values = {1.5f, -2, 3};
  Batch batch = pack(split, std::vector<int64_t>{2, 1});
  EXPECT_THAT(floats(batch.targets.values), ElementsAre(3, -2));
  EXPECT_FALSE(batch.targets.distribution.defined());
}

TEST(Pack, RowsOutsideTheSplit) {
  Split split = three_rows();
  for (int64_t row : {int64_t{-1}, int64_t{3}})
    EXPECT_THAT(error_of(ErrorKind::internal, [&] { pack(split, std::vector<int64_t>{row}); }),
                HasSubstr("rows"));
  split.offsets.edit()[3] = 9;
  EXPECT_THAT(error_of(ErrorKind::internal, [&] { pack(split, std::vector<int64_t>{2}); }),
              HasSubstr("outside"));
}

TEST(CheckLongest, NamesTheFirstLongRow) {
  Split split = three_rows();
  split.file = "texts.tsv";
  int64_t longest = 0;
  for (int64_t row = 0; row < split.rows(); ++row) longest = std::max(longest, split.length(row));
  check_longest(split, longest);
  int64_t first = 0;
  while (split.length(first) < longest) ++first;
  const std::string told = error_of(ErrorKind::data, [&] { check_longest(split, longest - 1); });
  EXPECT_THAT(told, HasSubstr(str("a text of ", longest, " tokens, and the model has places for ",
                                  longest - 1)));
  EXPECT_THAT(told, HasSubstr(split.place(first)));
  // Both texts of a sequence-to-sequence row count for themselves.
  Split pair;
  pair.task = Task::sequence_to_sequence;
  pair.file = "pairs.tsv";
  pair.ids = {1, 2, 3, 4, 5, 6, 7};
  pair.offsets = {0, 7};
  pair.first_lengths = {3};
  pair.lines = {2};
  check_longest(pair, 4);
  EXPECT_THAT(error_of(ErrorKind::data, [&] { check_longest(pair, 3); }),
              HasSubstr("max_target_length: 3"));
}

TEST(Slice, EqualsPackingTheRows) {
  Split split = three_rows();
  split.values = {1, 2, 3};
  std::vector<int64_t> rows{1, 0, 2, 1, 0};
  Batch batch = pack(split, rows);
  for (size_t begin = 0; begin < rows.size(); ++begin)
    for (size_t end = begin + 1; end <= rows.size(); ++end) {
      SCOPED_TRACE(str(begin, "..", end));
      expect_same(slice(batch, static_cast<int64_t>(begin), static_cast<int64_t>(end)),
                  pack(split, std::span(rows).subspan(begin, end - begin)));
    }
  expect_same(slice(slice(batch, 1, 5), 1, 3), pack(split, std::vector<int64_t>{2, 1}));
}

TEST(Slice, SharesTheTokensAndTheirLabels) {
  Batch batch = pack(three_rows(), std::vector<int64_t>{1, 0, 2});
  batch.targets.token_labels = torch::arange(8);
  Batch part = slice(batch, 1, 3);
  EXPECT_THAT(longs(part.targets.token_labels), ElementsAre(1, 2, 3, 4, 5, 6, 7));
  EXPECT_TRUE(part.token_ids.is_alias_of(batch.token_ids));
  EXPECT_TRUE(part.targets.distribution.is_alias_of(batch.targets.distribution));
}

TEST(Slice, RefusesBadRanges) {
  Batch batch = pack(three_rows(), std::vector<int64_t>{1, 0});
  for (auto [begin, end] : {std::pair{-1, 1}, {1, 1}, {2, 1}, {0, 3}})
    error_of(ErrorKind::internal, [&, b = begin, e = end] { slice(batch, b, e); });
}

TEST(Padded, PutsPaddingBehindTheRows) {
  Batch batch = pack(three_rows(), std::vector<int64_t>{2, 0});
  batch.targets.token_labels = torch::tensor({-100, 5, -100, -100, 6, -100, -100});
  Batch wide = padded(batch, 10, 6);
  EXPECT_EQ(wide.rows(), 2);
  EXPECT_EQ(wide.tokens(), 10);
  EXPECT_EQ(wide.longest, 6);
  EXPECT_THAT(wide.row_offsets, ElementsAre(0, 4, 7, 10));
  EXPECT_THAT(longs(wide.offsets), ElementsAre(0, 4, 7));
  EXPECT_THAT(longs(wide.ends.to(torch::kInt64)), ElementsAre(0, 4, 7, 10));
  EXPECT_EQ(wide.ends.scalar_type(), torch::kInt32);
  EXPECT_THAT(longs(wide.token_ids), ElementsAre(9, 10, 11, 12, 5, 6, 7, 0, 0, 0));
  EXPECT_THAT(longs(wide.positions), ElementsAre(0, 1, 2, 3, 0, 1, 2, 0, 0, 0));
  EXPECT_THAT(longs(wide.slots), ElementsAre(0, 1, 2, 3, 6, 7, 8, 0, 0, 0));
  EXPECT_THAT(floats(wide.present), ElementsAre(1, 1, 1, 1, 1, 1, 1, 0, 0, 0));
  EXPECT_THAT(longs(wide.targets.token_labels),
              ElementsAre(-100, 5, -100, -100, 6, -100, -100, -100, -100, -100));
  EXPECT_TRUE(torch::equal(wide.targets.distribution, batch.targets.distribution));
  EXPECT_EQ(padded(batch, 7, 4).tokens(), 7);
}

TEST(Padded, RefusesWhatDoesNotFit) {
  Batch batch = pack(three_rows(), std::vector<int64_t>{2, 0});
  for (auto [tokens, longest] : {std::pair{6, 9}, {8, 3}, {20, 12}})
    error_of(ErrorKind::internal, [&, t = tokens, l = longest] { padded(batch, t, l); });
  Batch twice = padded(batch, 8, 8);
  error_of(ErrorKind::internal, [&] { padded(twice, 9, 8); });
}

TEST(BatchTo, KeepsEverything) {
  Batch batch = pack(three_rows(), std::vector<int64_t>{2, 1});
  expect_same(batch.to(torch::kCPU), batch);
  Batch meta = batch.to(torch::kMeta);
  EXPECT_TRUE(meta.token_ids.is_meta() && meta.slots.is_meta() &&
              meta.targets.distribution.is_meta());
  EXPECT_EQ(meta.row_offsets, batch.row_offsets);
}

TEST(BatchesByLength, TheLongestComeFirstWithinBothLimits) {
  const Split split = three_rows();  // 3, 1 and 4 tokens
  EXPECT_THAT(batches_by_length(split, 0, 3, 64, 100), ElementsAre(ElementsAre(2, 0, 1)));
  EXPECT_THAT(batches_by_length(split, 0, 3, 64, 4),
              ElementsAre(ElementsAre(2), ElementsAre(0, 1)));
  EXPECT_THAT(batches_by_length(split, 0, 3, 64, 2),
              ElementsAre(ElementsAre(2), ElementsAre(0), ElementsAre(1)));
  EXPECT_THAT(batches_by_length(split, 0, 3, 2, 100),
              ElementsAre(ElementsAre(2, 0), ElementsAre(1)));
  EXPECT_THAT(batches_by_length(split, 1, 3, 64, 100), ElementsAre(ElementsAre(2, 1)));
  EXPECT_TRUE(batches_by_length(split, 3, 3, 64, 100).empty());
}

}  // namespace
}  // namespace compress::data
