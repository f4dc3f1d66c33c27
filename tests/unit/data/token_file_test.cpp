#include "compress/data/token_file.h"

#include "support.h"
#include "token_files.h"

namespace compress::data {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class TokenFile : public DataTest {
 protected:
  std::filesystem::path file() const { return folder_ / "rows.tokens"; }

  // Writes `split` in parts of `rows` rows.
  void write_rows(const Split& split, const TokenFileKey& key, int64_t rows) {
    std::filesystem::remove(file());
    TokenWriter writer(file(), key);
    for (int64_t begin = 0; begin < split.rows(); begin += rows)
      writer.append(part(split, key, begin, std::min(begin + rows, split.rows())));
    EXPECT_FALSE(std::filesystem::exists(file()));
    writer.commit(split.blank_lines, split.empty_rows);
  }

  static Split part(const Split& split, const TokenFileKey& key, int64_t begin, int64_t end) {
    Split out;
    auto take = [&](auto Split::*array, int64_t width) {
      if (!(split.*array).empty())
        (out.*array)
            .edit()
            .assign((split.*array).begin() + begin * width, (split.*array).begin() + end * width);
    };
    for (int64_t row = begin; row <= end; ++row)
      out.offsets.push_back(split.offsets[row] - split.offsets[begin]);
    out.ids.edit().assign(split.ids.begin() + split.offsets[begin],
                          split.ids.begin() + split.offsets[end]);
    take(&Split::first_lengths, 1);
    take(&Split::lines, 1);
    take(&Split::classes, 1);
    take(&Split::values, 1);
    take(&Split::soft, key.classes);
    return out;
  }

  Split map(const TokenFileKey& key, TokenCheck check = TokenCheck::all) {
    Split split;
    map_tokens(file(), key, check, split);
    return split;
  }
  std::string refused(const TokenFileKey& key, TokenCheck check = TokenCheck::all) {
    std::string text = error_of(ErrorKind::data, [&] { map(key, check); });
    EXPECT_THAT(text, HasSubstr(file().string()));
    return text;
  }
  // The file with one number of 8 (or 4) bytes changed and its header made to fit again.
  template <class T>
  std::string with(const std::string& bytes, size_t at, T number) {
    std::string changed = bytes;
    std::memcpy(changed.data() + at, &number, sizeof number);
    reseal(changed);
    return changed;
  }
};

TEST_F(TokenFile, ComesBackHoweverItWasWritten) {
  for (RowTargets targets :
       {RowTargets::none, RowTargets::classes, RowTargets::values, RowTargets::soft})
    for (int64_t rows : {int64_t{1}, int64_t{7}, int64_t{1000}}) {
      const TokenFileKey key = small_key(targets);
      Split split = small_rows(53, key);
      split.blank_lines = 4;
      split.empty_rows = 3;
      write_rows(split, key, rows);
      for (TokenCheck check : {TokenCheck::rows, TokenCheck::all}) {
        Split mapped = map(key, check);
        EXPECT_TRUE(same_rows(mapped, split)) << static_cast<int>(targets) << " " << rows;
        EXPECT_TRUE(mapped.ids.is_view());
        EXPECT_EQ(mapped.cache, file());
      }
    }
}

TEST_F(TokenFile, ViewsOutliveTheSplitThatMadeThem) {
  const TokenFileKey key = small_key(RowTargets::classes);
  write_rows(small_rows(20, key), key, 20);
  Array<int32_t> ids;
  {
    Split mapped = map(key);
    ids = mapped.ids;
    Split moved = std::move(mapped), copy = moved;
    EXPECT_TRUE(same_rows(copy, moved));
    copy.ids.edit()[0] = 99;  // a copy of its own
    EXPECT_FALSE(copy.ids.is_view());
    EXPECT_NE(copy.ids, moved.ids);
  }
  EXPECT_EQ(ids, small_rows(20, key).ids);
}

TEST_F(TokenFile, OneThatIsNotWantedIsRefused) {
  const TokenFileKey key = small_key(RowTargets::classes);
  write_rows(small_rows(20, key), key, 20);
  TokenFileKey other = key;
  other.content_hash = sha256("other");
  EXPECT_THAT(refused(other), HasSubstr("other rows"));
  other = key;
  other.vocabulary = 101;
  EXPECT_THAT(refused(other), HasSubstr("vocabulary"));
  other = key;
  other.classes = 4;
  EXPECT_THAT(refused(other), HasSubstr("other targets"));
  EXPECT_THAT(refused(small_key(RowTargets::values)), HasSubstr("other targets"));
  std::filesystem::remove(file());
  EXPECT_THAT(refused(key), HasSubstr("cannot open"));
}

TEST_F(TokenFile, EveryByteOfTheHeaderCounts) {
  const TokenFileKey key = small_key(RowTargets::classes);
  write_rows(small_rows(20, key), key, 20);
  const std::string good = bytes_of(file());
  for (size_t at = 0; at < first_array; at += at < 256 || at >= 4080 ? 1 : 61) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    write("rows.tokens", bad);
    refused(key, TokenCheck::rows);
  }
}

TEST_F(TokenFile, AnotherLengthIsRefused) {
  const TokenFileKey key = small_key(RowTargets::soft);
  write_rows(small_rows(20, key), key, 20);
  const std::string good = bytes_of(file());
  for (size_t length = 0; length < good.size(); length += length % 997 + 13) {
    write("rows.tokens", good.substr(0, length));
    refused(key, TokenCheck::rows);
  }
  write("rows.tokens", good + '\0');
  EXPECT_THAT(refused(key, TokenCheck::rows), HasSubstr("bytes"));
  write("rows.tokens", good);
  map(key);
}

TEST_F(TokenFile, AHeaderThatFitsIsNotBelievedEither) {
  const TokenFileKey key = small_key(RowTargets::classes);
  write_rows(small_rows(20, key), key, 20);
  const std::string good = bytes_of(file());
  for (size_t field : {rows_field, tokens_field, classes_field, vocabulary_field})
    for (uint64_t number : {uint64_t{0}, uint64_t{1}, uint64_t{19}, uint64_t{21}, uint64_t{1} << 31,
                            uint64_t{1} << 61, ~uint64_t{0}}) {
      write("rows.tokens", with(good, field, number));
      refused(key, TokenCheck::rows);
    }
  write("rows.tokens", with(good, blank_field, ~uint64_t{0}));
  refused(key, TokenCheck::rows);
  write("rows.tokens", with<uint32_t>(good, 8, 3));
  EXPECT_THAT(refused(key), HasSubstr("version 3"));
}

TEST_F(TokenFile, RowsLieInsideTheTokens) {
  const TokenFileKey key = small_key(RowTargets::classes);
  const Split split = small_rows(20, key);
  write_rows(split, key, 20);
  const std::string good = bytes_of(file());
  const size_t offsets = 8192, first_lengths = 12288, classes = 20480;  // each array a page
  const int64_t tokens = split.offsets.back();
  struct Change {
    size_t at;
    int64_t number;
    const char* expected;
  };
  for (const Change& c : {Change{offsets, 1, "first token"},
                          {offsets, -1, "first token"},
                          {offsets + 8, 0, "row 0 lies outside"},
                          {offsets + 8, -5, "row 0 lies outside"},
                          {offsets + 8, int64_t{1} << 62, "row 0 lies outside"},
                          {offsets + 16, 0, "row 1 lies outside"},
                          {offsets + 160, tokens + 1, "row 19 lies outside"},
                          {offsets + 160, tokens - 1, "last token"}}) {
    write("rows.tokens", with(good, c.at, c.number));
    EXPECT_THAT(refused(key, TokenCheck::rows), HasSubstr(c.expected)) << c.number;
  }
  for (int32_t length : {-1, 2, 1 << 30}) {
    write("rows.tokens", with(good, first_lengths, length));
    EXPECT_THAT(refused(key, TokenCheck::rows), HasSubstr("first text of row 0"));
  }
  for (int32_t number : {-1, 3, 1 << 30}) {
    write("rows.tokens", with(good, classes + 4, number));
    EXPECT_THAT(refused(key, TokenCheck::rows), HasSubstr("row 1 has a class"));
  }
}

TEST_F(TokenFile, TargetsAreFinite) {
  const TokenFileKey key = small_key(RowTargets::values);
  write_rows(small_rows(20, key), key, 20);
  const std::string good = bytes_of(file());
  for (float number : {std::numeric_limits<float>::infinity(), std::nanf("")}) {
    write("rows.tokens", with(good, 20480 + 12, number));
    EXPECT_THAT(refused(key, TokenCheck::rows), HasSubstr("target 3 is not"));
  }
}

TEST_F(TokenFile, TokensOutsideTheVocabularyReachNoModel) {
  const TokenFileKey key = small_key(RowTargets::classes);
  write_rows(small_rows(20, key), key, 20);
  const std::string good = bytes_of(file());
  for (int32_t id : {-1, 100, 1 << 30}) {
    write("rows.tokens", with(good, first_array, id));
    EXPECT_THAT(refused(key, TokenCheck::all), HasSubstr("hash of part 0"));
    Split mapped = map(key, TokenCheck::rows);  // does not read the tokens
    mapped.labels = {"0", "1", "2"};
    EXPECT_THAT(error_of(ErrorKind::data,
                         [&] {
                           pack(mapped, std::vector<int64_t>{1, 0});
                         }),
                AllOf(HasSubstr("outside the vocabulary"), HasSubstr(file().string())));
    pack(mapped, std::vector<int64_t>{1, 2});
    std::string sealed = with(good, first_array, id);  // now with the hash that the array has
    const std::string_view ids(sealed.data() + first_array, sizeof(int32_t) * mapped.ids.size());
    write("rows.tokens", with(sealed, sums_field, sum_of(ids)));
    EXPECT_THAT(refused(key, TokenCheck::all), HasSubstr("outside the vocabulary"));
  }
}

TEST_F(TokenFile, DamageThatCouldBeDataIsFoundByItsHash) {
  const TokenFileKey key = small_key(RowTargets::classes);
  write_rows(small_rows(20, key), key, 20);
  const std::string good = bytes_of(file());
  write("rows.tokens", with<int32_t>(good, first_array + 8, 42));  // another word
  EXPECT_THAT(refused(key), HasSubstr("hash of part 0"));
  write("rows.tokens", with<int32_t>(good, 20480, 1));  // another class
  EXPECT_THAT(refused(key), HasSubstr("hash of part 4"));
  write("rows.tokens", with<int64_t>(good, 16384, 77));  // another line
  EXPECT_THAT(refused(key), HasSubstr("hash of part 3"));
}

TEST_F(TokenFile, AWriterThatIsGivenUpLeavesNothing) {
  const TokenFileKey key = small_key(RowTargets::classes);
  {
    TokenWriter writer(file(), key);
    writer.append(small_rows(20, key));
    EXPECT_EQ(writer.rows(), 20);
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
  error_of(ErrorKind::internal,
           [&] { TokenWriter(file(), key).append(small_rows(20, small_key(RowTargets::values))); });
  error_of(ErrorKind::disk, [&] { TokenWriter(folder_ / "none" / "a.tokens", key); });
}

}  // namespace
}  // namespace compress::data
