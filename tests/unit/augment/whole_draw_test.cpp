// Tokens that are hidden by a draw over the whole update.

#include "whole_draw.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>

#include "compress/augment/augment.h"
#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/random.h"
#include "compress/base/strings.h"
#include "compress/storage/safetensors.h"
#include "unit/augment/made.h"
#include "unit/augment/words.h"
#include "unit/data/support.h"
#include "unit/nn/support.h"

namespace compress::augment {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class WholeDraw : public testing::Test {
 protected:
  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / str("compress-counts-", getpid());
  ~WholeDraw() override { std::filesystem::remove_all(folder_); }

  void write(const std::vector<int64_t>& counts) {
    make_folder(folder_);
    storage::SafetensorsWriter writer(
        folder_ / "token_counts.safetensors",
        {{"counts", storage::Dtype::i64, {static_cast<int64_t>(counts.size())}}});
    writer.write("counts", std::as_bytes(std::span(counts)));
    writer.commit();
  }

  // The masking of this text, bound to the counts.
  std::unique_ptr<Augment> bound(const std::string& text) {
    auto masking = made(text);
    nn::ModelConfig config;
    config.vocab_size = 50;
    nn::ParamTable none;
    masking->bind({.student = config,
                   .weights = none,
                   .helpers = none,
                   .tokenizer = &words_,
                   .left = [this](const recipe::StoreReference&) { return folder_; }});
    return masking;
  }

  static std::vector<bool> words_special() {
    std::vector<bool> special(50);
    special[1] = special[2] = special[3] = true;
    return special;
  }

  Words words_;
};

TEST_F(WholeDraw, OddsFollowTheCounts) {
  write({7, 16, 0, 1});
  const std::vector<double> odds = token_odds(folder_, 4, 0.5, {true, false, false, false});
  EXPECT_THAT(odds, ElementsAre(0, 0.25, 1, 1));  // a token that is never seen counts once
  EXPECT_THAT(token_odds({}, 3, 0.7, {false, true}), ElementsAre(1, 0, 1));
  EXPECT_THAT(data::error_of(ErrorKind::model, [&] { token_odds(folder_, 5, 0.5, {}); }),
              HasSubstr("the model's 5 tokens"));
}

TEST_F(WholeDraw, AsManyAsTheShareOfAllTokens) {
  const std::vector<double> odds = token_odds({}, 50, 0.7, words_special());
  for (const std::vector<int64_t>& lengths :
       {std::vector<int64_t>{40, 1, 25, 33}, {7}, {20, 20, 20}}) {
    const data::Batch batch = nn::random_batch(lengths);
    const auto n = static_cast<size_t>(std::ceil(0.15 * static_cast<double>(batch.tokens())));
    for (uint64_t seed : {1, 2, 3}) {
      const std::vector<int64_t> chosen = drawn_tokens(batch, odds, 0.15, seed, nullptr);
      EXPECT_EQ(chosen.size(), n);
      EXPECT_TRUE(std::is_sorted(chosen.begin(), chosen.end()));
      const auto* id = batch.token_ids.const_data_ptr<int64_t>();
      for (int64_t t : chosen) EXPECT_TRUE(id[t] < 1 || id[t] > 3) << "a special token";
      EXPECT_EQ(drawn_tokens(batch, odds, 0.15, seed, nullptr), chosen);
    }
  }
  // All that may be drawn, where that is less.
  data::Batch batch = nn::random_batch({4});
  batch.token_ids = torch::tensor({1, 10, 11, 2});
  EXPECT_THAT(drawn_tokens(batch, odds, 1, 5, nullptr), ElementsAre(1, 2));
  batch.part = {.rows = 2, .tokens = 8, .counts = false};  // a share without rows
  EXPECT_THAT(drawn_tokens(batch, odds, 1, 5, nullptr), ElementsAre());
}

// The odds of the first of two tokens are (c1 / c2)^-0.7.
TEST_F(WholeDraw, RareTokensAreDrawnMoreOften) {
  std::vector<int64_t> counts(50, 1);
  counts[10] = 1000;
  counts[20] = 10;
  write(counts);
  const std::vector<double> odds = token_odds(folder_, 50, 0.7, words_special());
  data::Batch batch = nn::random_batch({4});
  batch.token_ids = torch::tensor({1, 10, 20, 2});
  const int draws = 4000;
  int rare = 0;
  for (int i = 0; i < draws; ++i) {
    const auto chosen = drawn_tokens(batch, odds, 0.25, static_cast<uint64_t>(i), nullptr);
    ASSERT_EQ(chosen.size(), 1u);
    rare += chosen[0] == 2;
  }
  const double ratio = std::pow(100.0, 0.7), expected = ratio / (1 + ratio);
  EXPECT_NEAR(rare / double{draws}, expected, 3 * std::sqrt(expected * (1 - expected) / draws));
}

TEST_F(WholeDraw, HidesTheDrawnTokens) {
  write(std::vector<int64_t>(50, 1));
  const data::Batch batch = nn::random_batch({40, 1, 25, 34});
  Augments list;
  list.push_back(bound("masking: {draw: update, counts: seen, predict: all}"));
  data::Batch after = batch;
  apply_all(list, after, 3, 7);
  const data::TokenMark* mark = after.targets.mark(masked_mark);
  ASSERT_NE(mark, nullptr);
  EXPECT_EQ(mark->update, 15);
  const torch::Tensor changed = after.token_ids.ne(batch.token_ids);
  EXPECT_TRUE(mark->among.gt(0).logical_or(changed.logical_not()).all().item<bool>());
  EXPECT_GT(changed.sum().item<int64_t>(), 8);
  data::Batch other = batch;
  apply_all(list, other, 3, 8);
  EXPECT_FALSE(torch::equal(other.targets.mark(masked_mark)->among, mark->among));
}

TEST_F(WholeDraw, WrongUses) {
  for (const auto& [text, what] :
       {std::pair("masking: {draw: update, fixed: true}", "`fixed` for each row by itself"),
        {"masking: {draw: update, sets: a}", "`sets` for each row by itself"},
        {"masking: {counts: a}", "odds of `draw: update`"}})
    EXPECT_THAT(data::error_of(ErrorKind::recipe, [&, text = text] { made(text); }),
                HasSubstr(what));
}

}  // namespace
}  // namespace compress::augment
