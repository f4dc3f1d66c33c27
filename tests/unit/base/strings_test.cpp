#include "compress/base/strings.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace compress {
namespace {

TEST(Strings, NumbersPrintWithoutLocaleOrNoise) {
  EXPECT_EQ(str("step ", 3, " of ", 10), "step 3 of 10");
  EXPECT_EQ(fixed(1.005, 1), "1.0");
  EXPECT_EQ(fixed(-2.5, 3), "-2.500");
  EXPECT_EQ(fixed(std::nan(""), 2), "nan");
  EXPECT_EQ(fixed(-std::numeric_limits<double>::infinity(), 2), "-inf");
  EXPECT_EQ(shortest(0.1), "0.1");
  EXPECT_EQ(shortest(5e-5), "5e-05");
  EXPECT_EQ(shortest(std::numeric_limits<double>::infinity()), "inf");
  EXPECT_EQ(with_commas(0), "0");
  EXPECT_EQ(with_commas(999), "999");
  EXPECT_EQ(with_commas(1234567), "1,234,567");
  EXPECT_EQ(with_commas(-1000), "-1,000");
  EXPECT_EQ(with_commas(std::numeric_limits<int64_t>::min()), "-9,223,372,036,854,775,808");
}

TEST(Strings, HumanUnits) {
  EXPECT_EQ(short_count(900), "900");
  EXPECT_EQ(short_count(22700000), "22.7M");
  EXPECT_EQ(short_count(345000), "345k");
  EXPECT_EQ(human_bytes(12), "12 B");
  EXPECT_EQ(human_bytes(83.4e6), "83.4 MB");
  EXPECT_EQ(human_seconds(2.34), "2.3 s");
  EXPECT_EQ(human_seconds(41), "41 s");
  EXPECT_EQ(human_seconds(200), "3 min 20 s");
  EXPECT_EQ(human_seconds(7500), "2 h 5 min");
}

TEST(Strings, SplitTrimJoin) {
  EXPECT_EQ(split("a,,b,", ','), (std::vector<std::string>{"a", "", "b", ""}));
  EXPECT_EQ(split("", ','), std::vector<std::string>{""});
  EXPECT_EQ(trim(" \t a b \r\n"), "a b");
  EXPECT_EQ(trim(" \n"), "");
  EXPECT_EQ(join({"a", "b", "c"}, ", "), "a, b, c");
  EXPECT_EQ(join({}, ", "), "");
  EXPECT_EQ(lower_ascii("BERT-Äx"), "bert-Äx");
}

TEST(Strings, GlobCoversWholeNames) {
  EXPECT_TRUE(glob_match("*", ""));
  EXPECT_TRUE(glob_match("encoder.layer.*.weight", "encoder.layer.3.output.dense.weight"));
  EXPECT_TRUE(glob_match("*dense*", "a.dense.b"));
  EXPECT_TRUE(glob_match("layer.?", "layer.7"));
  EXPECT_FALSE(glob_match("layer.?", "layer.17"));
  EXPECT_FALSE(glob_match("layer", "layer.1"));
  EXPECT_FALSE(glob_match("", "a"));
  EXPECT_TRUE(glob_match("*aab", "aaaab"));  // needs a step back
}

TEST(Strings, GlobIsNotExponential) {
  std::string name(5000, 'a'), pattern;
  for (int i = 0; i < 50; ++i) pattern += "a*";
  EXPECT_FALSE(glob_match(pattern + "b", name));
}

TEST(Strings, EditDistance) {
  EXPECT_EQ(edit_distance("", ""), 0);
  EXPECT_EQ(edit_distance("", "abc"), 3);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
  EXPECT_EQ(edit_distance("teh", "the"), 1);  // neighbours swapped
  EXPECT_EQ(edit_distance("ca", "abc"), 3);   // optimal string alignment, not full Damerau
}

TEST(Strings, NearestNamesLikelySlipsOnly) {
  std::vector<std::string> names{"temperature", "weight", "warmup", "sharpness"};
  EXPECT_EQ(nearest("temprature", names), "temperature");
  EXPECT_EQ(nearest("Wieght", names), "weight");
  EXPECT_EQ(nearest("temp", names), "temperature");
  EXPECT_EQ(nearest("zebra", names), "");
  EXPECT_EQ(nearest("x", {}), "");
}

TEST(Table, AlignsTextLeftAndNumbersRight) {
  Table table({"stage", "accuracy"});
  EXPECT_TRUE(table.empty());
  table.row({"teacher", "0.9"});
  table.row({"é", "12.25"});
  table.row({"short"});  // missing cells are blank
  EXPECT_FALSE(table.empty());
  EXPECT_EQ(table.text(),
            "stage    accuracy\n"
            "-----------------\n"
            "teacher       0.9\n"
            "é           12.25\n"
            "short\n");
  EXPECT_EQ(table.markdown(),
            "| stage | accuracy |\n"
            "| --- | --- |\n"
            "| teacher | 0.9 |\n"
            "| é | 12.25 |\n"
            "| short |  |\n");
}

}  // namespace
}  // namespace compress
