#include <gtest/gtest.h>

#include "compress/augment/augment.h"
#include "unit/nn/support.h"

namespace compress::augment {
namespace {

class Tokens final : public text::Tokenizer {
 public:
  Tokens() { special_.mask = 4; }
  void encode(std::string_view, std::optional<std::string_view>, const text::EncodeOptions&,
              text::Encoding&) const override {}
  int64_t vocabulary_size() const override { return 50; }
  std::optional<int32_t> token_to_id(std::string_view) const override { return {}; }
  std::optional<std::string_view> id_to_token(int32_t) const override { return {}; }
  const text::SpecialIds& special_ids() const override { return special_; }
  int64_t special_tokens_added(bool) const override { return 0; }
  std::string decode(std::span<const int32_t>, bool) const override { return {}; }
  const std::string& hash() const override { return hash_; }

 private:
  text::SpecialIds special_;
  std::string hash_ = "tokens";
};

TEST(Masking, ListsWhatIsToBePredicted) {
  auto masking = make_masking({});
  masking->bind(Tokens());
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

}  // namespace
}  // namespace compress::augment
