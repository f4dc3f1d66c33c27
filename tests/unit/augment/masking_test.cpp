#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "compress/augment/augment.h"
#include "unit/augment/made.h"
#include "unit/augment/words.h"
#include "unit/data/support.h"
#include "unit/nn/support.h"

namespace compress::augment {
namespace {

using testing::HasSubstr;

// Binds to a tokenizer and an embedding of so many rows.
void bind(Augment& augment, const text::Tokenizer& tokenizer, int64_t rows) {
  nn::ModelConfig config;
  config.vocab_size = rows;
  nn::ParamTable none;
  augment.bind({.student = config, .weights = none, .helpers = none, .tokenizer = &tokenizer});
}

Augments bound(const std::string& text) {
  Augments list;
  list.push_back(made(text));
  bind(*list.back(), Words(), 50);
  return list;
}

data::Batch changed(const Augments& list, data::Batch batch, uint64_t seed, int64_t step) {
  apply_all(list, batch, seed, step);
  return batch;
}

TEST(Masking, SpecialTokensStayAndChosenOnesAreLabelled) {
  const data::Batch batch = nn::random_batch(std::vector<int64_t>(40, 30));
  const data::Batch after = changed(bound("masking"), batch, 1, 0);
  const torch::Tensor label = after.targets.token_labels, chosen = label.ne(-100);
  EXPECT_TRUE(torch::equal(label.masked_select(chosen), batch.token_ids.masked_select(chosen)));
  EXPECT_TRUE(
      torch::equal(after.token_ids.masked_select(~chosen), batch.token_ids.masked_select(~chosen)));
  for (int64_t special : {1, 2, 3})
    EXPECT_FALSE(chosen.masked_select(batch.token_ids.eq(special)).any().item<bool>());
  EXPECT_NEAR(chosen.to(torch::kFloat).mean().item<double>(), 0.15 * 47 / 50, 0.04);
  const torch::Tensor hidden = after.token_ids.masked_select(chosen).eq(3);
  EXPECT_NEAR(hidden.to(torch::kFloat).mean().item<double>(), 0.8, 0.1);
}

TEST(Masking, IsDrawnAnewInEveryStepUnlessFixed) {
  const data::Batch batch = nn::random_batch({20, 25, 30});
  const auto plain = bound("masking"), fixed = bound("masking: {fixed: true}");
  EXPECT_FALSE(plain[0]->fixed());
  EXPECT_TRUE(fixed[0]->fixed());
  const torch::Tensor first = changed(plain, batch, 1, 0).token_ids;
  EXPECT_TRUE(torch::equal(first, changed(plain, batch, 1, 0).token_ids));
  EXPECT_FALSE(torch::equal(first, changed(plain, batch, 1, 1).token_ids));
  EXPECT_FALSE(torch::equal(first, changed(plain, batch, 2, 0).token_ids));
  const data::Batch kept = changed(fixed, batch, 1, 0);
  for (auto [seed, step] : {std::pair<uint64_t, int64_t>{1, 1}, {2, 0}, {3, 700}}) {
    const data::Batch again = changed(fixed, batch, seed, step);
    EXPECT_TRUE(torch::equal(kept.token_ids, again.token_ids));
    EXPECT_TRUE(torch::equal(kept.targets.token_labels, again.targets.token_labels));
  }
}

TEST(Masking, FixedDoesNotDependOnTheRestOfTheBatch) {
  const data::Batch batch = nn::random_batch({20, 25, 30});
  const auto fixed = bound("masking: {fixed: true}");
  const data::Batch whole = changed(fixed, batch, 1, 0);
  for (int64_t row = 0; row < 3; ++row) {
    const data::Batch alone = changed(fixed, data::slice(batch, row, row + 1), 1, 0);
    const int64_t begin = batch.row_offsets[row], end = batch.row_offsets[row + 1];
    EXPECT_TRUE(torch::equal(alone.token_ids, whole.token_ids.slice(0, begin, end)));
    EXPECT_TRUE(
        torch::equal(alone.targets.token_labels, whole.targets.token_labels.slice(0, begin, end)));
  }
  // Other rows are masked at other places.
  data::Batch renamed = batch;
  renamed.example_ids = {7, 8, 9};
  EXPECT_FALSE(torch::equal(changed(fixed, renamed, 1, 0).token_ids, whole.token_ids));
}

TEST(Masking, WrongUses) {
  EXPECT_THAT(
      data::error_of(ErrorKind::recipe, [] { bound("masking: {masked: 0.9, random: 0.2}"); }),
      HasSubstr("exceed 100%"));
  EXPECT_THAT(
      data::error_of(ErrorKind::recipe, [] { bind(*make_masking({}), Words(/*mask=*/false), 50); }),
      HasSubstr("mask token"));
}

TEST(Masking, ListsWhatIsToBePredicted) {
  auto masking = make_masking({});
  bind(*masking, Words(), 50);
  data::Batch batch = nn::random_batch({40, 1, 25, 33});
  const torch::Tensor before = batch.token_ids;
  const torch::Tensor kept = before.clone();
  masking->apply(batch, 8);
  EXPECT_TRUE(torch::equal(before, kept));  // tensors are replaced, never written to
  const torch::Tensor& labels = batch.targets.token_labels;
  const torch::Tensor expected = labels.ne(-100).nonzero().squeeze(1);
  ASSERT_GE(expected.numel(), 4);
  EXPECT_TRUE(torch::equal(batch.targets.token_index, expected));
  EXPECT_TRUE(torch::equal(torch::tensor(batch.targets.labelled), expected));
  EXPECT_TRUE(torch::equal(labels.index_select(0, expected), kept.index_select(0, expected)));
  for (auto [begin, end] : {std::pair{0, 1}, {1, 3}, {2, 4}}) {
    data::Batch part = data::slice(batch, begin, end);
    EXPECT_TRUE(torch::equal(part.targets.token_index,
                             part.targets.token_labels.ne(-100).nonzero().squeeze(1)));
    EXPECT_EQ(part.targets.labelled.size(), static_cast<size_t>(part.targets.token_index.numel()));
  }
}

TEST(Masking, PredictsAllTokensAndMarksTheChosenOnes) {
  const data::Batch batch = nn::random_batch({40, 1, 25, 33});
  const auto some = bound("masking"), all = bound("masking: {predict: all}");
  EXPECT_TRUE(some[0]->marks().empty());
  EXPECT_THAT(all[0]->marks(), testing::ElementsAre(masked_mark));
  const data::Batch before = changed(some, batch, 3, 0), after = changed(all, batch, 3, 0);
  EXPECT_TRUE(torch::equal(after.token_ids, before.token_ids));  // the same draws
  const data::Targets& targets = after.targets;
  EXPECT_TRUE(torch::equal(targets.token_labels, batch.token_ids));  // special ones too
  EXPECT_TRUE(torch::equal(targets.token_index, torch::arange(99)));
  EXPECT_TRUE(torch::equal(torch::tensor(targets.labelled), torch::arange(99)));
  const data::TokenMark* mark = targets.mark(masked_mark);
  ASSERT_NE(mark, nullptr);
  const torch::Tensor chosen = before.targets.token_labels.ne(-100);
  EXPECT_TRUE(torch::equal(mark->among, chosen.to(torch::kFloat32)));
  EXPECT_EQ(mark->update, chosen.sum().item<int64_t>());
  const data::Batch part = data::slice(after, 2, 4);
  EXPECT_TRUE(torch::equal(part.targets.mark(masked_mark)->among, mark->among.slice(0, 41, 99)));
  EXPECT_EQ(part.targets.mark(masked_mark)->update, mark->update);  // of the whole update
}

TEST(Masking, DrawsNoTokenThatTheEmbeddingsLack) {
  auto masking = make_masking({.probability = {1.0}, .masked = {0.0}, .random = {1.0}});
  bind(*masking, Words(), 20);
  data::Batch batch = nn::random_batch(std::vector<int64_t>(40, 30));
  batch.token_ids.clamp_max_(19);
  masking->apply(batch, 1);
  EXPECT_LT(batch.token_ids.max().item<int64_t>(), 20);
  EXPECT_EQ(
      batch.token_ids.masked_select(batch.targets.token_labels.ne(-100)).max().item<int64_t>(), 19);
  EXPECT_THAT(data::error_of(ErrorKind::model, [&] { bind(*masking, Words(), 3); }),
              HasSubstr("resize_vocabulary"));
}

}  // namespace
}  // namespace compress::augment
