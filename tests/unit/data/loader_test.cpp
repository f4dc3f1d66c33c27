#include "compress/data/loader.h"

#include <chrono>
#include <map>
#include <numeric>
#include <set>
#include <thread>

#include "compress/base/random.h"
#include "support.h"

namespace compress::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

using Lists = std::vector<std::vector<int64_t>>;

Lists lists(const Batches& batches) {
  return {batches.begin(), batches.end()};
}

// `rows` rows of 1 to 40 tokens.
Split random_split(int64_t rows) {
  Split split;
  split.offsets = {0};
  Random random(7);
  for (int64_t row = 0; row < rows; ++row) {
    auto length = static_cast<int64_t>(1 + random.below(40));
    for (int64_t i = 0; i < length; ++i) split.ids.push_back(static_cast<int32_t>(row));
    split.offsets.push_back(static_cast<int64_t>(split.ids.size()));
    split.first_lengths.push_back(static_cast<int32_t>(length));
    split.lines.push_back(row + 2);
  }
  return split;
}

std::multiset<int64_t> all(const Lists& batches) {
  std::multiset<int64_t> rows;
  for (const auto& batch : batches) rows.insert(batch.begin(), batch.end());
  return rows;
}

int64_t padding(const Split& split, const Lists& batches) {
  int64_t sum = 0;
  for (const auto& batch : batches) {
    int64_t longest = 0;
    for (int64_t row : batch) longest = std::max(longest, split.length(row));
    for (int64_t row : batch) sum += longest - split.length(row);
  }
  return sum;
}

// The order as it was first written, every batch a list of its own.
Lists reference_epoch(const Split& split, const SamplerOptions& options, int64_t epoch) {
  std::vector<int64_t> rows(static_cast<size_t>(split.rows()));
  std::iota(rows.begin(), rows.end(), 0);
  auto cut = [&] {
    Lists batches;
    for (size_t at = 0; at < rows.size(); at += static_cast<size_t>(options.batch)) {
      size_t end = std::min(at + static_cast<size_t>(options.batch), rows.size());
      batches.emplace_back(&rows[at], &rows[0] + end);
    }
    return batches;
  };
  auto permute = [](auto& items, Random& random) {
    for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[random.below(i)]);
  };
  if (!options.shuffle) return cut();
  Random random(stream_seed(options.seed, "data", static_cast<uint64_t>(epoch)));
  permute(rows, random);
  int64_t window = std::min(options.window, split.rows()) * options.batch;
  for (int64_t at = 0; options.window > 1 && at < split.rows(); at += window)
    std::stable_sort(rows.begin() + at, rows.begin() + std::min(at + window, split.rows()),
                     [&](int64_t a, int64_t b) { return split.length(a) < split.length(b); });
  Lists batches = cut();
  permute(batches, random);
  return batches;
}

TEST(Sampler, OrderIsThatOfTheReference) {
  for (int64_t rows : {1, 2, 31, 32, 33, 500, 1999})
    for (int64_t batch : {1, 8, 32})
      for (int64_t window : {int64_t{1}, int64_t{2}, int64_t{50}, int64_t{1} << 40})
        for (bool shuffle : {true, false}) {
          SamplerOptions options{.batch = batch, .seed = 11, .window = window, .shuffle = shuffle};
          Split split = random_split(rows);
          ASSERT_EQ(lists(epoch_batches(split, options, 2)), reference_epoch(split, options, 2))
              << rows << " rows, batch " << batch << ", window " << window;
        }
}

TEST(Sampler, OrderIsTheRecordedOne) {
  // Runs that were recorded must come out again: the hash of three epochs of 1,000 rows.
  std::string text;
  for (int64_t epoch = 0; epoch < 3; ++epoch)
    for (const auto& batch : epoch_batches(random_split(1000), {.batch = 32, .seed = 13}, epoch))
      for (int64_t row : batch) text += str(row, " ");
  EXPECT_EQ(sha256(text), "c74f468c1c4f59ba7cc6d125caf269519f6bdd153aca6760e7f3483309d064ab");
}

TEST(Sampler, BatchesAreReadInAnyOrder) {
  Split split = random_split(100);
  const Batches batches = epoch_batches(split, {.batch = 8, .seed = 5}, 1);
  EXPECT_EQ(batches.rows(), 100);
  Lists once = lists(batches), backwards(batches.size());
  for (size_t i = batches.size(); i-- > 0;) backwards[i] = batches[i];
  EXPECT_EQ(once, backwards);
}

TEST(Sampler, EveryRowOnceAndOnePartialBatch) {
  for (int64_t rows : {1, 7, 8, 9, 64, 203})
    for (int64_t window : {1, 3, 50}) {
      Split split = random_split(rows);
      Lists batches = lists(epoch_batches(split, {.batch = 8, .seed = 1, .window = window}, 0));
      ASSERT_THAT(batches, SizeIs(steps_per_epoch(rows, 8)));
      auto seen = all(batches);
      EXPECT_EQ(seen.size(), static_cast<size_t>(rows));
      EXPECT_EQ(std::set(seen.begin(), seen.end()).size(), static_cast<size_t>(rows));
      EXPECT_EQ(*seen.rbegin(), rows - 1);
      auto partial = [](const auto& batch) { return batch.size() != 8; };
      EXPECT_EQ(std::count_if(batches.begin(), batches.end(), partial), rows % 8 != 0);
    }
}

// Groups of nearly equal lengths: batches of one group, but for those at a border, whose rows are
// in the order that was drawn.
TEST(Sampler, LengthsInUnits) {
  const Split split = random_split(400);
  SamplerOptions options{.batch = 8, .seed = 3, .window = 1000, .width = 4};
  const Lists batches = lists(epoch_batches(split, options, 1));
  EXPECT_EQ(all(batches).size(), 400u);
  int mixed = 0, sorted = 0;
  for (const auto& batch : batches) {
    std::vector<int64_t> lengths, groups;
    for (int64_t row : batch) {
      lengths.push_back(split.length(row));
      groups.push_back(split.length(row) / 4);
    }
    EXPECT_TRUE(std::is_sorted(groups.begin(), groups.end()));
    mixed += groups.front() != groups.back();
    sorted += std::is_sorted(lengths.begin(), lengths.end());
  }
  EXPECT_LE(mixed, 10);  // lengths are 1 to 40
  EXPECT_LT(sorted, 25);
  options.width = 1;
  for (const auto& batch : lists(epoch_batches(split, options, 1)))
    EXPECT_TRUE(std::is_sorted(batch.begin(), batch.end(), [&](int64_t a, int64_t b) {
      return split.length(a) < split.length(b);
    }));
}

TEST(Sampler, StepsPerEpoch) {
  EXPECT_EQ(steps_per_epoch(0, 8), 0);
  EXPECT_EQ(steps_per_epoch(8, 8), 1);
  EXPECT_EQ(steps_per_epoch(9, 8), 2);
}

TEST(Sampler, IsAFunctionOfSeedAndEpoch) {
  Split split = random_split(100);
  SamplerOptions options{.batch = 8, .seed = 5};
  const Lists first = lists(epoch_batches(split, options, 3));
  EXPECT_EQ(first, lists(epoch_batches(split, options, 3)));
  EXPECT_NE(first, lists(epoch_batches(split, options, 4)));
  EXPECT_NE(first, lists(epoch_batches(split, {.batch = 8, .seed = 6}, 3)));
}

TEST(Sampler, DrawsFromItsStream) {
  // Fisher and Yates by hand on four rows, window 1, batches of one: a second permutation orders
  // the batches.
  Split split = random_split(4);
  Random random(stream_seed(9, "data", 2));
  std::vector<int64_t> rows{0, 1, 2, 3};
  for (int pass = 0; pass < 2; ++pass)
    for (size_t i = 4; i > 1; --i) std::swap(rows[i - 1], rows[random.below(i)]);
  Lists expected;
  for (int64_t row : rows) expected.push_back({row});
  EXPECT_EQ(lists(epoch_batches(split, {.batch = 1, .seed = 9, .window = 1}, 2)), expected);
}

TEST(Sampler, OrdersAreUniform) {
  Split split = random_split(3);
  std::map<Lists, int> counts;
  for (int epoch = 0; epoch < 6000; ++epoch)
    ++counts[lists(epoch_batches(split, {.batch = 1, .window = 1}, epoch))];
  ASSERT_EQ(counts.size(), 6u);
  for (const auto& [order, count] : counts) EXPECT_NEAR(count, 1000, 150);  // 5 standard deviations
}

TEST(Sampler, SortedWindowsLowerThePadding) {
  Split split = random_split(2000);
  auto with = [&](int64_t window) {
    return padding(split, lists(epoch_batches(split, {.batch = 16, .window = window}, 0)));
  };
  EXPECT_LT(with(10), with(1) / 3);
  EXPECT_LT(with(50), with(10));
}

TEST(Sampler, WindowsHoldTheRowsOfThePermutation) {
  // With equal lengths, stable sorting leaves the permutation as it is: windows then change
  // nothing.
  Split split = random_split(100);
  split.offsets.clear();
  for (int64_t row = 0; row <= 100; ++row) split.offsets.push_back(row);
  EXPECT_EQ(lists(epoch_batches(split, {.batch = 8, .window = 4}, 0)),
            lists(epoch_batches(split, {.batch = 8, .window = 1}, 0)));
}

TEST(Sampler, WithoutShufflingFileOrder) {
  EXPECT_THAT(lists(epoch_batches(random_split(5), {.batch = 2, .shuffle = false}, 1)),
              ElementsAre(ElementsAre(0, 1), ElementsAre(2, 3), ElementsAre(4)));
}

TEST(Sampler, EvaluationLongestFirst) {
  Split split;
  split.offsets = {0, 2, 7, 9, 12, 17};  // lengths 2 5 2 3 5
  EXPECT_THAT(lists(evaluation_batches(split, 2)),
              ElementsAre(ElementsAre(1, 4), ElementsAre(3, 0), ElementsAre(2)));
  EXPECT_THAT(lists(evaluation_batches(split, 2, 3)),
              ElementsAre(ElementsAre(0, 1), ElementsAre(2)));
  EXPECT_THAT(lists(evaluation_batches(split, 2, 5)), lists(evaluation_batches(split, 2)));
  EXPECT_THAT(error_of(ErrorKind::internal, [&] { evaluation_batches(split, 0); }),
              HasSubstr("0 rows"));
}

TEST(Loader, EqualsTheSamplerFromAnyStart) {
  Split split = random_split(43);
  SamplerOptions options{.batch = 8, .seed = 3, .window = 2};
  Lists expected;
  for (int64_t epoch = 0; epoch < 3; ++epoch)
    for (auto batch : epoch_batches(split, options, epoch)) expected.push_back(batch);
  ASSERT_EQ(expected.size(), 18u);
  for (size_t start = 0; start < expected.size(); ++start)
    for (int depth : {0, 1, 5}) {
      Loader loader(split, options, static_cast<int64_t>(start), false, depth);
      for (size_t step = start; step < expected.size(); ++step) {
        Batch batch = loader.next();
        ASSERT_EQ(batch.example_ids, expected[step]) << start << " " << step;
        Batch packed = pack(split, expected[step]);
        ASSERT_TRUE(torch::equal(batch.token_ids, packed.token_ids));
        ASSERT_TRUE(torch::equal(batch.slots, packed.slots));
      }
    }
}

// Every share of an update, and every part of a share, knows the whole update's labelled tokens.
TEST(Loader, SharesKnowTheUpdatesLabelledTokens) {
  Split next = random_split(11), words = next;
  next.task = Task::language_model;
  words.task = Task::token_classification;
  for (size_t t = 0; t < words.ids.size(); ++t)
    words.token_classes.push_back(t % 3 == 0 ? 1 : -100);
  for (const Split* split : {&next, &words}) {
    const SamplerOptions whole{.batch = 11, .seed = 3};
    const Batch update = Loader(*split, whole, 0, false).next();
    const auto all = static_cast<int64_t>(update.targets.labelled.size());
    ASSERT_GT(all, 0);
    EXPECT_EQ(update.update_labelled(), all);
    int64_t seen = 0;
    for (int rank = 0; rank < 3; ++rank) {
      SamplerOptions options = whole;
      options.rank = rank;
      options.world = 3;
      const Batch mine = Loader(*split, options, 0, false).next();
      for (const Batch& part : {slice(mine, 0, 2), slice(mine, 2, mine.rows())}) {
        EXPECT_EQ(part.update_labelled(), all);
        seen += static_cast<int64_t>(part.targets.labelled.size());
      }
    }
    EXPECT_EQ(seen, all);
  }
}

TEST(Loader, LabelsThatAreNotThereYetAreNotCounted) {
  const Split split = random_split(4);
  SamplerOptions options{.batch = 4, .seed = 3, .rank = 1, .world = 2};
  EXPECT_EQ(Loader(split, options, 0, false).next().update_labelled(), -1);
}

TEST(Loader, SlowReadersGetTheSameBatches) {
  Split split = random_split(20);
  SamplerOptions options{.batch = 4};
  Loader fast(split, options, 0), slow(split, options, 0, false, 1);
  for (int step = 0; step < 12; ++step) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_EQ(slow.next().example_ids, fast.next().example_ids);
  }
}

TEST(Loader, StopsWhateverTheThreadDoes) {
  Split split = random_split(1000);
  for (int wait = 0; wait < 50; ++wait) {
    Loader loader(split, {.batch = 1}, wait);
    if (wait % 2 != 0) std::this_thread::sleep_for(std::chrono::microseconds(wait * 20));
    for (int step = 0; step < wait % 3; ++step) loader.next();
  }
}

TEST(Loader, ForwardsWhatGoesWrongInTheThread) {
  Split split = random_split(6);
  split.offsets.edit()[6] += 1;  // the last row ends outside the tokens
  Loader loader(split, {.batch = 2, .shuffle = false}, 0);
  EXPECT_THAT(loader.next().example_ids, ElementsAre(0, 1));
  EXPECT_THAT(loader.next().example_ids, ElementsAre(2, 3));
  for (int again = 0; again < 2; ++again)
    EXPECT_THAT(error_of(ErrorKind::internal, [&] { loader.next(); }), HasSubstr("row 5"));
}

TEST(Loader, RefusesWhatItCannotServe) {
  Split empty;
  empty.offsets = {0};
  EXPECT_THAT(error_of(ErrorKind::data, [&] { Loader(empty, {}, 0); }), HasSubstr("without rows"));
  Split split = random_split(3);
  error_of(ErrorKind::internal, [&] { Loader(split, {.batch = 0}, 0); });
  error_of(ErrorKind::internal, [&] { Loader(split, {}, -1); });
}

}  // namespace
}  // namespace compress::data
