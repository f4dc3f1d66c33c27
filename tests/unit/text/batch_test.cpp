#include "compress/text/batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "compress/base/error.h"
#include "compress/base/random.h"
#include "fixture.h"

namespace compress::text {
namespace {

class BatchTest : public ModelFolder {
 protected:
  // 2000 texts of a few words.
  BatchTest() {
    Random random(7);
    for (int i = 0; i < 2000; ++i) {
      std::string text;
      for (uint64_t n = random.below(9); n > 0; --n)
        text += std::string(fixture_tokens[5 + random.below(15)]) + " ";
      owned_.push_back(text);
    }
    texts_.assign(owned_.begin(), owned_.end());
    pairs_.assign(texts_.rbegin(), texts_.rend());
  }
  std::vector<std::string> owned_;
  std::vector<std::string_view> texts_, pairs_;
};

TEST_F(BatchTest, IsEachTextByItselfWhateverTheThreads) {
  EncodeOptions options;
  options.max_length = 8;
  for (int threads : {1, 2, 5}) {
    PackedIds packed = encode_all(tokenizer(), texts_, pairs_, options, threads);
    ASSERT_EQ(packed.count(), 2000);
    ASSERT_EQ(packed.offsets.size(), 2001u);
    EXPECT_EQ(packed.offsets.back(), static_cast<int64_t>(packed.ids.size()));
    for (int64_t i = 0; i < packed.count(); ++i) {
      Encoding one = tokenizer().encode(texts_[i], pairs_[i], options);
      ASSERT_TRUE(std::ranges::equal(packed.text(i), one.ids)) << i;
      ASSERT_EQ(packed.first_lengths[i], one.first_length) << i;
    }
  }
}

TEST_F(BatchTest, TakesNoTexts) {
  PackedIds packed = encode_all(tokenizer(), {}, {}, {});
  EXPECT_EQ(packed.count(), 0);
  EXPECT_THAT(packed.offsets, testing::ElementsAre(0));
}

TEST_F(BatchTest, NamesTheFirstTextThatFails) {
  std::vector<std::string_view> first(1000, "i"), second(1000, "hello");
  second[300] = second[901] = "hello hello hello hello";
  EncodeOptions options;
  options.max_length = 6;
  options.truncation = Truncation::only_first;
  for (int threads : {1, 3}) {
    try {
      encode_all(tokenizer(), first, second, options, threads);
      FAIL() << "accepted";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::data);
      EXPECT_EQ(e.where(), "text 300 (counted from 0)");
    }
  }
  second.pop_back();
  EXPECT_THROW(encode_all(tokenizer(), first, second, options), Error);
}

}  // namespace
}  // namespace compress::text
