#include "compress/data/mixture.h"

#include <map>
#include <set>

#include "compress/data/loader.h"
#include "support.h"

namespace compress::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// `rows` rows of 1, 2, 3, 1, ... tokens, all of which are `token`.
Split constant(int64_t rows, int32_t token, const std::string& file) {
  Split split;
  split.file = file;
  split.labels = {"no", "yes"};
  split.offsets = {0};
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = 0; i <= row % 3; ++i) split.ids.push_back(token);
    split.offsets.push_back(static_cast<int64_t>(split.ids.size()));
    split.first_lengths.push_back(static_cast<int32_t>(1 + row % 3));
    split.classes.push_back(static_cast<int32_t>(row % 2));
    split.lines.push_back(row + 2);
  }
  return split;
}

std::vector<int64_t> counts(const std::vector<int64_t>& sizes, const MixtureShares& shares) {
  return mixed_counts(std::vector<std::string>(sizes.size(), "x"), sizes, shares);
}

TEST(MixedCounts, FollowWeightsSizesAndLimits) {
  EXPECT_THAT(counts({100, 900}, {{2, 1}, {}, {}, 300}), ElementsAre(200, 100));
  EXPECT_THAT(counts({100, 900}, {{1, 1}, 1.0, {}, {}}), ElementsAre(100, 900));
  // The square roots of 100 and 900 are 10 and 30.
  EXPECT_THAT(counts({100, 900}, {{1, 1}, 2.0, {}, 400}), ElementsAre(100, 300));
  EXPECT_THAT(counts({100, 900}, {{1, 1}, {}, 300, 400}), ElementsAre(100, 300));
  EXPECT_THAT(counts({100, 900}, {{3, 1}, {}, 300, 400}), ElementsAre(200, 200));
  // 10 / 3 each: the first has the largest remainder, which all share.
  EXPECT_THAT(counts({5, 5, 5}, {{1, 1, 1}, {}, {}, 10}), ElementsAre(4, 3, 3));
  EXPECT_THAT(counts({5, 5, 5}, {{1, 1, 1.2}, {}, {}, 10}), ElementsAre(3, 3, 4));
  EXPECT_THAT(error_of(ErrorKind::recipe,
                       [] {
                         counts({5, 5}, {{1000, 1}, {}, {}, 10});
                       }),
              HasSubstr("none of the data set 'x'"));
}

class Mixed : public ::testing::Test {
 protected:
  Split both(const MixtureShares& shares) const {
    return mix({{"small", &small_}, {"large", &large_}}, shares);
  }
  const Split small_ = constant(7, 1, "small.tsv"), large_ = constant(50, 2, "large.tsv");
};

TEST_F(Mixed, OneNumberNamesOneRow) {
  const Split split = both({{2, 1}, {}, {}, 30});
  EXPECT_EQ(split.rows(), 57);
  EXPECT_EQ(split.epoch_rows(), 30);
  EXPECT_EQ(split.place(6), "small.tsv:8");
  EXPECT_EQ(split.place(7), "large.tsv:2");
  EXPECT_EQ(split.place(56), "large.tsv:51");
  EXPECT_EQ(split.length(8), 2);
  EXPECT_THROW(split.place(57), Error);
  const Batch batch = pack(split, std::vector<int64_t>{8, 5, 7});
  EXPECT_THAT(batch.example_ids, ElementsAre(8, 5, 7));
  EXPECT_TRUE(torch::equal(batch.sources, torch::tensor({1, 0, 1})));
  EXPECT_TRUE(torch::equal(batch.token_ids, torch::tensor({2, 2, 1, 1, 1, 2})));
  EXPECT_TRUE(torch::equal(batch.targets.distribution.argmax(1), torch::tensor({1, 1, 0})));
  EXPECT_TRUE(torch::equal(slice(batch, 1, 3).sources, torch::tensor({0, 1})));
  EXPECT_FALSE(pack(small_, std::vector<int64_t>{0}).sources.defined());
}

TEST_F(Mixed, AnEpochHasItsShareOfEachSource) {
  const Split split = both({{2, 1}, {}, {}, 30});  // 20 of the 7 small rows, 10 of the 50 large
  const SamplerOptions options{.batch = 4, .seed = 3};
  std::map<int64_t, int64_t> seen;
  for (int64_t epoch = 0; epoch < 7; ++epoch) {
    int64_t small = 0, rows = 0;
    std::set<int64_t> large;
    for (const std::vector<int64_t>& batch : epoch_batches(split, options, epoch))
      for (int64_t row : batch) {
        ++rows;
        ++seen[row];
        if (row < 7)
          ++small;
        else
          large.insert(row);
      }
    EXPECT_EQ(rows, 30);
    EXPECT_EQ(small, 20);
    EXPECT_EQ(large.size(), 10u);
  }
  // 140 rows of the small source are 20 passes over it; 70 of the large one are one and a half.
  for (int64_t row = 0; row < 7; ++row) EXPECT_EQ(seen[row], 20);
  for (int64_t row = 7; row < 57; ++row) EXPECT_TRUE(seen[row] == 1 || seen[row] == 2);
}

TEST_F(Mixed, TheOrderIsAFunctionOfSeedAndEpoch) {
  const Split split = both({{1, 1}, {}, {}, 24});
  auto order = [&](uint64_t seed, int64_t epoch) {
    const Batches batches = epoch_batches(split, {.batch = 5, .seed = seed}, epoch);
    return std::vector<std::vector<int64_t>>(batches.begin(), batches.end());
  };
  EXPECT_EQ(order(1, 4), order(1, 4));
  EXPECT_NE(order(1, 4), order(1, 5));
  EXPECT_NE(order(1, 4), order(2, 4));
  const Batches plain = epoch_batches(split, {.batch = 24, .shuffle = false}, 0);
  std::vector<int64_t> expected;
  for (int64_t i = 0; i < 12; ++i) expected.push_back(i % 7);
  for (int64_t i = 0; i < 12; ++i) expected.push_back(7 + i);
  EXPECT_EQ(plain[0], expected);
}

TEST_F(Mixed, ALoaderGoesOnAnywhereAndSharesBatches) {
  const Split split = both({{1, 2}, {}, {}, 21});
  SamplerOptions options{.batch = 8, .seed = 5};
  Loader whole(split, options, 0);
  std::vector<Batch> batches;
  for (int i = 0; i < 9; ++i) batches.push_back(whole.next());  // three epochs of three updates
  Loader later(split, options, 4);
  for (size_t i = 4; i < 9; ++i) EXPECT_EQ(later.next().example_ids, batches[i].example_ids) << i;
  options.world = 2;
  std::vector<std::unique_ptr<Loader>> ranks;
  for (options.rank = 0; options.rank < 2; ++options.rank)
    ranks.push_back(std::make_unique<Loader>(split, options, 0));
  for (const Batch& batch : batches) {
    std::vector<int64_t> ids;
    std::vector<torch::Tensor> sources;
    for (const auto& rank : ranks) {
      const Batch part = rank->next();
      EXPECT_EQ(part.update_rows(), batch.rows());
      EXPECT_EQ(part.update_tokens(), batch.tokens());
      ids.insert(ids.end(), part.example_ids.begin(), part.example_ids.end());
      sources.push_back(part.sources);
    }
    EXPECT_EQ(ids, batch.example_ids);
    EXPECT_TRUE(torch::equal(torch::cat(sources), batch.sources));
  }
}

TEST_F(Mixed, SourcesMustAgree) {
  Split other = constant(5, 3, "other.tsv");
  other.labels = {"yes", "no"};
  EXPECT_THAT(error_of(ErrorKind::recipe,
                       [&] {
                         mix({{"small", &small_}, {"other", &other}}, {{1, 1}, {}, {}, {}});
                       }),
              HasSubstr("'small' and 'other' of a mixture have different classes: {no, yes} and "
                        "{yes, no}"));
  other = constant(5, 3, "other.tsv");
  other.task = Task::regression;
  EXPECT_THAT(error_of(ErrorKind::recipe,
                       [&] {
                         mix({{"small", &small_}, {"other", &other}}, {{1, 1}, {}, {}, {}});
                       }),
              HasSubstr("have different tasks"));
}

TEST_F(Mixed, ASourceWithoutWeightsWeighsOne) {
  Split weighted = constant(3, 3, "weighted.tsv");
  weighted.weights = {0.5f, 2, 0};
  const Split split = mix({{"small", &small_}, {"weighted", &weighted}}, {{1, 1}, {}, {}, {}});
  const Batch batch = pack(split, std::vector<int64_t>{8, 0, 7});
  EXPECT_TRUE(torch::equal(batch.targets.weights, torch::tensor({2.0f, 1.0f, 0.5f})));
  EXPECT_FALSE(batch.targets.groups.defined());
}

}  // namespace
}  // namespace compress::data
