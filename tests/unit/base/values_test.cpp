// Errors, hashes, random streams, durations: the values that everything else relies on.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "compress/base/error.h"
#include "compress/base/hash.h"
#include "compress/base/progress.h"
#include "compress/base/random.h"

namespace compress {
namespace {

TEST(Error, CodesAreDocumentedAndDistinct) {
  const ErrorKind kinds[] = {ErrorKind::internal,    ErrorKind::recipe,   ErrorKind::data,
                             ErrorKind::model,       ErrorKind::diverged, ErrorKind::interrupted,
                             ErrorKind::expectation, ErrorKind::disk,     ErrorKind::device,
                             ErrorKind::process,     ErrorKind::undecided};
  std::set<std::string> names;
  int code = 1;
  for (ErrorKind kind : kinds) {
    EXPECT_EQ(exit_code(kind), code++);
    names.insert(kind_name(kind));
  }
  EXPECT_EQ(names.size(), 11u);
}

TEST(Error, TextNamesPlaceAndHint) {
  Error full(ErrorKind::recipe, "unknown key 'lrr'", "a.yaml:12:5", "did you mean 'lr'?");
  EXPECT_STREQ(full.what(), "a.yaml:12:5: unknown key 'lrr'\n  hint: did you mean 'lr'?");
  EXPECT_EQ(full.message(), "unknown key 'lrr'");
  EXPECT_EQ(full.where(), "a.yaml:12:5");
  EXPECT_EQ(full.hint(), "did you mean 'lr'?");
  EXPECT_EQ(full.kind(), ErrorKind::recipe);
  EXPECT_STREQ(Error(ErrorKind::device, "no CUDA").what(), "no CUDA");
}

// FIPS 180-4 examples and the well-known million-a vector.
TEST(Sha256, PublishedVectors) {
  EXPECT_EQ(sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256(std::string(1000000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, PiecesGiveTheSameHashAtEveryPaddingLength) {
  std::set<std::string> seen;
  for (size_t size = 0; size <= 130; ++size) {
    std::string text(size, 'x');
    Sha256 pieces;
    for (size_t at = 0; at < size; at += 7) pieces.update(std::string_view(text).substr(at, 7));
    std::string hash = pieces.hex();
    EXPECT_EQ(hash, sha256(text)) << size;
    seen.insert(hash);
  }
  EXPECT_EQ(seen.size(), 131u);
}

TEST(Mix64, IsSplitmix64) {  // the published first outputs of splitmix64 from state 0
  EXPECT_EQ(mix64(0), 0xE220A8397B1DCDAFull);
  EXPECT_EQ(mix64(0x9E3779B97F4A7C15ull), 0x6E789E6AA1B965F4ull);
}

TEST(Random, StreamsDifferByNameSeedAndCounters) {
  std::set<uint64_t> seeds{stream_seed(1, "dropout"),
                           stream_seed(2, "dropout"),
                           stream_seed(1, "data"),
                           stream_seed(1, "dropout", 1),
                           stream_seed(1, "dropout", 0, 1),
                           stream_seed(1, "dropout", 1, 1),
                           stream_seed(1, "dropout", 1, 2),
                           stream_seed(1, "dropout", 2, 1),
                           stream_seed(1, "")};
  EXPECT_EQ(seeds.size(), 9u);
  EXPECT_EQ(stream_seed(1, "dropout", 5, 7), stream_seed(1, "dropout", 5, 7));
}

TEST(Random, DrawsRepeatAndStayInRange) {
  Random a(42), b(42);
  double sum = 0;
  std::vector<int> counts(7);
  for (int i = 0; i < 7000; ++i) {
    double u = a.uniform();
    EXPECT_EQ(u, b.uniform());
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    sum += u;
    ++counts.at(a.below(7));
    b.below(7);
  }
  EXPECT_NEAR(sum / 7000, 0.5, 0.02);  // 6 standard errors
  for (int count : counts) EXPECT_NEAR(count, 1000, 180);
  EXPECT_EQ(Random(3).below(1), 0u);
}

TEST(Random, ShufflesWithTheStandardLibrary) {
  std::vector<int> order{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, sorted = order;
  std::shuffle(order.begin(), order.end(), Random(5));
  EXPECT_NE(order, sorted);
  EXPECT_TRUE(std::is_permutation(order.begin(), order.end(), sorted.begin()));
}

TEST(Progress, FractionsOfAnEmptyStageAreZero) {
  EXPECT_EQ(Progress{}.fraction(), 0.0);
  EXPECT_EQ(Progress{}.epoch(), 0.0);
  Progress p{50, 200, 100};
  EXPECT_EQ(p.fraction(), 0.25);
  EXPECT_EQ(p.epoch(), 0.5);
}

TEST(Duration, ParsesEachUnit) {
  struct Case {
    const char* text;
    Duration want;
    const char* printed;
  };
  const Case cases[] = {{"500 steps", Duration::steps(500), "500 steps"},
                        {" 1 step ", Duration::steps(1), "1 step"},
                        {"100000 steps", Duration::steps(100000), "100000 steps"},
                        {"3 epochs", Duration::epochs(3), "3 epochs"},
                        {"0.5 epoch", Duration::epochs(0.5), "0.5 epochs"},
                        {"1 epoch", Duration::epochs(1), "1 epoch"},
                        {"10%", Duration::percent(10), "10%"},
                        {"12.5 %", Duration::percent(12.5), "12.5%"},
                        {"0%", Duration::percent(0), "0%"}};
  for (const Case& c : cases) {
    Duration got;
    ASSERT_TRUE(Duration::parse(c.text, got)) << c.text;
    EXPECT_EQ(got, c.want) << c.text;
    EXPECT_EQ(got.text(), c.printed);
    Duration again;
    ASSERT_TRUE(Duration::parse(got.text(), again));
    EXPECT_EQ(again, got);
  }
}

TEST(Duration, RefusesEverythingElse) {
  for (const char* text :
       {"",          " ",        "500",  "steps",     "500steps",   "-1 steps",     "-0 steps",
        "2.5 steps", "100.1%",   "-3%",  "nan %",     "inf epochs", "1e400 epochs", "3 epoch s",
        "3 weeks",   "3 Epochs", "10%%", "1 2 steps", "0x10 steps", "1e17 steps"}) {
    Duration out = Duration::steps(77);
    EXPECT_FALSE(Duration::parse(text, out)) << text;
    EXPECT_EQ(out, Duration::steps(77)) << text;
  }
}

TEST(Duration, ResolvesToWholeSteps) {
  EXPECT_EQ(Duration::steps(500).resolve(10, 20), 500);
  EXPECT_EQ(Duration::epochs(0.5).resolve(7, 0), 4);  // 3.5 rounds away from zero
  EXPECT_EQ(Duration::epochs(3).resolve(211, 0), 633);
  EXPECT_EQ(Duration::percent(10).resolve(0, 633), 63);
  EXPECT_EQ(Duration::percent(100).resolve(0, 633), 633);
  EXPECT_EQ(Duration::epochs(1e15).resolve(1000000, 0), std::numeric_limits<int64_t>::max());
}

}  // namespace
}  // namespace compress
