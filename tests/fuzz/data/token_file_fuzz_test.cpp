// Damaged files of tokenised rows: mapping one throws Error{data} that names it, or gives rows that
// can all be packed, or throw that error when they are.

#include "compress/data/token_file.h"

#include "fuzz/storage/fuzz_tools.h"
#include "unit/data/token_files.h"

namespace compress::data {
namespace {

using storage::damaged;
using storage::MemoryFile;

struct Outcomes {
  int refused = 0, refused_later = 0, same = 0, other = 0;
};

// Maps the bytes and packs every row.
void try_rows(const MemoryFile& file, std::string_view bytes, const TokenFileKey& key,
              TokenCheck check, const Split& good, Outcomes& outcomes) {
  file.set(bytes);
  Split split;
  split.labels = good.labels;
  bool mapped = false;
  try {
    map_tokens(file.path(), key, check, split);
    mapped = true;
    for (int64_t row = 0; row < split.rows(); ++row) pack(split, std::span(&row, 1));
    ++(same_rows(split, good) ? outcomes.same : outcomes.other);
  } catch (const Error& error) {
    ++(mapped ? outcomes.refused_later : outcomes.refused);
    ASSERT_EQ(error.kind(), ErrorKind::data) << error.what();
    ASSERT_NE(error.where().find(file.path().string()), std::string::npos) << error.what();
  }
}

class TokenFileFuzz : public ::testing::TestWithParam<RowTargets> {
 protected:
  TokenFileFuzz() {
    const auto path = std::filesystem::temp_directory_path() /
                      ("compress-fuzz-" + std::to_string(::getpid()) + ".tokens");
    TokenWriter writer(path, key_);
    writer.append(good_);
    writer.commit(0, 0);
    bytes_ = bytes_of(path);
    std::filesystem::remove(path);
  }

  const TokenFileKey key_ = small_key(GetParam());
  const Split good_ = small_rows(30, key_);
  std::string bytes_;
  MemoryFile file_;
};

TEST_P(TokenFileFuzz, Truncations) {
  Outcomes outcomes;
  for (size_t length = 0; length < bytes_.size(); length += length < 4200 ? 1 : 37)
    try_rows(file_, std::string_view(bytes_).substr(0, length), key_, TokenCheck::rows, good_,
             outcomes);
  EXPECT_EQ(outcomes.refused_later + outcomes.same + outcomes.other, 0);
}

// Read in full, what is accepted holds the rows that were written: only padding may differ.
TEST_P(TokenFileFuzz, AnyBytes) {
  Outcomes outcomes;
  Random random(1);
  for (int round = 0; round < 4000; ++round)
    try_rows(file_, damaged(bytes_, random, std::string_view("\0\xff\x7f\x80", 4), true), key_,
             TokenCheck::all, good_, outcomes);
  EXPECT_EQ(outcomes.refused_later, 0);
  EXPECT_EQ(outcomes.other, 0);
  EXPECT_GT(outcomes.refused, 2000);
  EXPECT_GT(outcomes.same, 100);  // most of this small file is padding
}

// The damage of a forger: numbers of the header and of the arrays, with a header that fits.
TEST_P(TokenFileFuzz, HeadersThatFit) {
  Outcomes outcomes;
  Random random(2);
  for (int round = 0; round < 8000; ++round) {
    std::string bytes = bytes_;
    const size_t page = 4096 * random.below(bytes.size() / 4096 + 1);
    size_t width = page == 0 ? 200 : 256;
    width = std::min(width, bytes.size() - page);
    if (width == 0) continue;
    bytes.replace(page, width,
                  damaged(bytes.substr(page, width), random, std::string_view("\0\xff", 2), false));
    reseal(bytes);
    try_rows(file_, bytes, key_, TokenCheck::rows, good_, outcomes);
  }
  EXPECT_GT(outcomes.refused, 2000);
  EXPECT_GT(outcomes.refused_later, 100);
  EXPECT_GT(outcomes.other, 50);
}

INSTANTIATE_TEST_SUITE_P(Targets, TokenFileFuzz,
                         ::testing::Values(RowTargets::none, RowTargets::classes,
                                           RowTargets::values, RowTargets::soft));

}  // namespace
}  // namespace compress::data
