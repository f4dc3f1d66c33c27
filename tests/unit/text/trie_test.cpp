#include "models/trie.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "compress/base/random.h"

namespace compress::text {
namespace {

TEST(Trie, FindsTheLongestPrefixOfEachSet) {
  Trie trie({{{"a", 0}, {"abc", 1}, {std::string_view("\0x", 2), 2}}, {{"ab", 3}}});
  auto match = trie.longest(0, "abcd");
  EXPECT_EQ(match.value, 1);
  EXPECT_EQ(match.length, 3u);
  EXPECT_EQ(trie.longest(0, "abd").length, 1u);
  EXPECT_EQ(trie.longest(0, std::string_view("\0xy", 3)).value, 2);
  EXPECT_EQ(trie.longest(1, "abcd").value, 3);
  EXPECT_EQ(trie.longest(1, "a").value, -1);
  EXPECT_EQ(trie.longest(0, "").value, -1);
  EXPECT_EQ(trie.find(0, "ab"), -1);
  EXPECT_EQ(trie.find(0, "abc"), 1);
  EXPECT_EQ(Trie().longest(0, "a").value, -1);
}

// Random keys over all bytes, dense and sparse, against a plain map.
TEST(Trie, AgreesWithAMap) {
  Random random(3);
  std::map<std::string, int32_t> keys;
  for (int i = 0; i < 20000; ++i) {
    std::string key;
    uint64_t width = i % 2 == 0 ? 4 : 256;
    for (uint64_t n = 1 + random.below(6); n > 0; --n)
      key.push_back(static_cast<char>(random.below(width)));
    keys.emplace(key, static_cast<int32_t>(keys.size()));
  }
  Trie::Keys list(keys.begin(), keys.end());
  Trie trie({list});
  for (const auto& [key, value] : keys) {
    ASSERT_EQ(trie.find(0, key), value);
    std::string longer = key + static_cast<char>(random.below(4)) + "z";
    int32_t expected = -1;
    for (size_t n = 1; n <= longer.size(); ++n) {
      auto found = keys.find(longer.substr(0, n));
      if (found != keys.end()) expected = found->second;
    }
    ASSERT_EQ(trie.longest(0, longer).value, expected);
  }
}

}  // namespace
}  // namespace compress::text
