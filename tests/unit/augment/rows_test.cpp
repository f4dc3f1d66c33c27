// Augments that read values of rows: sets of hidden words, and words of the model itself.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "compress/augment/augment.h"
#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/roles/row_store.h"
#include "unit/augment/made.h"
#include "unit/augment/words.h"
#include "unit/nn/support.h"

namespace compress::augment {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using torch::Tensor;

using Rows = std::vector<int64_t>;

std::vector<int64_t> list_of(const Tensor& tensor) {
  const Tensor flat = tensor.to(torch::kInt64).contiguous();
  return {flat.const_data_ptr<int64_t>(), flat.const_data_ptr<int64_t>() + flat.numel()};
}

// Two rows of five ordinary tokens each, between special ones.
data::Batch batch_of(Rows examples) {
  data::Batch batch = nn::random_batch({7, 7});
  batch.token_ids = torch::tensor({1, 10, 11, 12, 13, 14, 2, 1, 20, 21, 22, 23, 24, 2});
  batch.example_ids = std::move(examples);
  return batch;
}

struct Bound {
  Words words;
  nn::ModelConfig config;
  nn::ParamTable none;
  roles::RowStore values;
  std::filesystem::path folder =
      std::filesystem::temp_directory_path() / str("compress-sets-", getpid());
  explicit Bound(int64_t rows) : values(rows) {
    config.vocab_size = 50;
    config.head = nn::HeadKind::masked_lm;
  }
  ~Bound() { std::filesystem::remove_all(folder); }
  roles::Scene scene() {
    return {.student = config,
            .weights = none,
            .helpers = none,
            .tokenizer = &words,
            .seed = 5,
            .rows = values.rows(),
            .values = &values,
            .left = [this](const recipe::StoreReference&) { return folder; }};
  }
};

TEST(Sets, AreWhatMaskingHides) {
  Bound bound(4);
  roles::RowStore left(4);
  left.add(hard_tokens, torch::kInt32);
  // Row 3: its tokens 2, 4 and 6, the last of which is special; row 1: none; row 2 token 5.
  left.put(hard_tokens, Rows{3, 2}, torch::tensor({2, 4, 6, 5}, torch::kInt32), Rows{3, 1});
  left.settle(nullptr);
  left.save(bound.folder);
  const auto masking = made("masking: {sets: measured, masked: 1, random: 0}");
  masking->bind(bound.scene());
  data::Batch batch = batch_of({3, 1});
  masking->apply(batch, 9);
  EXPECT_THAT(list_of(batch.token_ids),
              ElementsAre(1, 10, 3, 12, 3, 14, 2, 1, 20, 21, 22, 23, 24, 2));
  EXPECT_THAT(list_of(batch.targets.token_index), ElementsAre(2, 4));
  EXPECT_THAT(batch.targets.labelled, ElementsAre(2, 4));
  EXPECT_EQ(list_of(batch.targets.token_labels)[4], 13);
  data::Batch other = batch_of({1, 2});
  masking->apply(other, 9);
  EXPECT_THAT(other.targets.labelled, ElementsAre(12));
}

TEST(Sets, MustFitTheRows) {
  Bound bound(4);
  roles::RowStore left(4);
  left.add(hard_tokens, torch::kInt32);
  left.put(hard_tokens, Rows{0}, torch::tensor({7}, torch::kInt32));
  left.settle(nullptr);
  left.save(bound.folder);
  const auto masking = made("masking: {sets: measured}");
  masking->bind(bound.scene());
  data::Batch batch = batch_of({0, 1});
  try {
    masking->apply(batch, 9);
    FAIL() << "a token behind the row was hidden";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::model);
    EXPECT_THAT(error.message(), HasSubstr("row 0 names token 7 of 7"));
  }
  Bound more(5);
  roles::Scene scene = more.scene();
  scene.left = [&](const recipe::StoreReference&) { return bound.folder; };
  EXPECT_THROW(made("masking: {sets: measured}")->bind(scene), Error);
  // In a plan nothing was measured.
  scene.left = {};
  made("masking: {sets: measured}")->bind(scene);
}

// Logits that are certain of one token at each labelled place.
nn::Outputs certain(const std::vector<int64_t>& tokens) {
  nn::Outputs outputs;
  outputs.token_logits = torch::zeros({static_cast<int64_t>(tokens.size()), 50});
  for (size_t i = 0; i < tokens.size(); ++i)
    outputs.token_logits[static_cast<int64_t>(i)][tokens[i]] = 100;
  return outputs;
}

TEST(SelfReplacement, WhatTheModelSaidIsReadInTheNextEpoch) {
  Bound bound(4);
  const auto own = made("self_replacement: {probability: 40%}");
  own->bind(bound.scene());
  const data::Batch plain = batch_of({3, 1});
  data::Batch first = plain;
  own->apply(first, 1);
  // 40% of five are two a row; no special one.
  ASSERT_EQ(first.targets.labelled.size(), 4u);
  const std::vector<int64_t> places = first.targets.labelled;
  for (int64_t t : places) {
    EXPECT_NE(t % 7, 0);
    EXPECT_NE(t % 7, 6);
    EXPECT_EQ(first.targets.token_labels[t].item<int64_t>(), plain.token_ids[t].item<int64_t>());
  }
  own->before_update({0, 10, 5});
  own->after_pass(first, certain({31, 32, 33, 34}));
  // Not before the epoch is over.
  data::Batch again = plain;
  own->apply(again, 2);
  EXPECT_TRUE(torch::equal(again.token_ids, first.token_ids));
  bound.values.settle(nullptr);
  data::Batch next = plain;
  own->apply(next, 3);
  EXPECT_EQ(next.targets.labelled, places);
  for (size_t i = 0; i < places.size(); ++i) {
    EXPECT_EQ(next.token_ids[places[i]].item<int64_t>(), 31 + static_cast<int64_t>(i));
    EXPECT_EQ(next.targets.token_labels[places[i]].item<int64_t>(),
              plain.token_ids[places[i]].item<int64_t>());
  }
  // Rows in another order and in another batch.
  data::Batch turned = batch_of({1, 3});
  own->apply(turned, 4);
  for (int64_t t = 0; t < 7; ++t) {
    const bool changed = turned.targets.token_labels[t].item<int64_t>() != -100;
    EXPECT_EQ(changed, std::count(places.begin(), places.end(), t + 7) == 1);
  }
}

// Draws of a row are the same whatever is beside it, and follow the distribution.
TEST(SelfReplacement, DrawsByRow) {
  Bound bound(400);
  const auto own = made("self_replacement: {probability: 100%}");
  own->bind(bound.scene());
  own->before_update({3, 10, 5});
  int64_t low = 0, all = 0;
  for (int64_t row = 0; row < 400; row += 2) {
    data::Batch batch = batch_of({row, row + 1});
    own->apply(batch, 1);
    nn::Outputs outputs;
    outputs.token_logits = torch::full({10, 50}, -100.0);
    outputs.token_logits.slice(1, 30, 31).fill_(0);
    outputs.token_logits.slice(1, 40, 41).fill_(std::log(3.0));  // 1 to 3
    own->after_pass(batch, outputs);
    if (row > 0) continue;
    bound.values.settle(nullptr);
    const roles::RowStore::Values whole = bound.values.get("self_replacement", Rows{0, 1});
    for (int64_t part : {0, 1}) {
      nn::Outputs half;
      half.token_logits = outputs.token_logits.slice(0, 5 * part, 5 * part + 5);
      own->after_pass(data::slice(batch, part, part + 1), half);
    }
    bound.values.settle(nullptr);
    EXPECT_TRUE(
        torch::equal(bound.values.get("self_replacement", Rows{0, 1}).values, whole.values));
  }
  bound.values.settle(nullptr);
  Rows rows(400);
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<int64_t>(i);
  const Tensor said = bound.values.get("self_replacement", rows).values.select(1, 1);
  all = said.numel();
  low = said.eq(30).sum().item<int64_t>();
  EXPECT_EQ(all, 2000);
  EXPECT_EQ(low + said.eq(40).sum().item<int64_t>(), all);
  EXPECT_NEAR(static_cast<double>(low) / static_cast<double>(all), 0.25, 0.03);
}

}  // namespace
}  // namespace compress::augment
