#include "unit/recipe/helpers.h"

namespace compress::recipe {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(Types, Bool) {
  EXPECT_TRUE(read_as<bool>("true"));
  EXPECT_FALSE(read_as<bool>("false"));
  EXPECT_THAT(problems_of<bool>("yes"), AllOf(HasSubstr("found 'yes'"), HasSubstr("write true")));
  EXPECT_THAT(problems_of<bool>("Off"), HasSubstr("write false"));
  EXPECT_THAT(problems_of<bool>("'true'"), HasSubstr("remove the quotes"));
  EXPECT_THAT(problems_of<bool>("[true]"), HasSubstr("found a list"));
}

TEST(Types, Int64) {
  EXPECT_EQ(read_as<int64_t>("1000"), 1000);
  EXPECT_EQ(read_as<int64_t>("1_000_000"), 1000000);
  EXPECT_EQ(read_as<int64_t>("-5"), -5);
  EXPECT_EQ(read_as<int64_t>("+5"), 5);
  EXPECT_EQ(read_as<int64_t>("9223372036854775807"), INT64_MAX);
  EXPECT_THAT(problems_of<int64_t>("1.5"), HasSubstr("expected a whole number, found '1.5'"));
  EXPECT_THAT(problems_of<int64_t>("1e5"), HasSubstr("write 100000"));
  EXPECT_THAT(problems_of<int64_t>("9223372036854775808"), HasSubstr("64-bit"));
  for (const char* bad : {"abc", "_1", "1_", "1__0", "0x10", "'5'", "{}", "+-5", "1 000"})
    EXPECT_NE(problems_of<int64_t>(bad), "") << bad;
}

TEST(Types, Double) {
  EXPECT_EQ(read_as<double>("5e-5"), 5e-5);
  EXPECT_EQ(read_as<double>(".5"), 0.5);
  EXPECT_EQ(read_as<double>("+2"), 2);
  EXPECT_THAT(problems_of<double>("abc"), HasSubstr("a.yaml:1:1: expected a number, found 'abc'"));
  for (const char* bad : {"nan", ".inf", "-inf", "1e999", "1,5", "'1'", "0x1p3", "5%", "[1]"})
    EXPECT_NE(problems_of<double>(bad), "") << bad;
  EXPECT_TRUE(Type<double>::write(std::numeric_limits<double>::infinity()).is_null());
  EXPECT_EQ(read_as<double>(to_yaml(Type<double>::write(0.1 + 0.2))), 0.1 + 0.2);
}

TEST(Types, String) {
  EXPECT_EQ(read_as<std::string>("1.10"), "1.10");
  EXPECT_EQ(read_as<std::string>("\"\""), "");
  EXPECT_THAT(problems_of<std::string>("[a]"), HasSubstr("expected text, found a list"));
  Problems problems;
  std::string value;
  EXPECT_FALSE(Type<std::string>::read(Node(), value, problems));
  EXPECT_THAT(problems.list()[0].what, HasSubstr("found nothing"));
}

TEST(Types, Duration) {
  EXPECT_EQ(read_as<Duration>("3 epochs"), Duration::epochs(3));
  EXPECT_EQ(read_as<Duration>("'500 steps'"), Duration::steps(500));
  EXPECT_EQ(read_as<Duration>("10%"), Duration::percent(10));
  EXPECT_THAT(problems_of<Duration>("3"),
              AllOf(HasSubstr("a number needs a unit"),
                    HasSubstr("write '3 epochs', '500 steps' or '10%'")));
  for (const char* bad : {"soon", "-1 epochs", "1.5 steps", "101%", "[3 epochs]"})
    EXPECT_THAT(problems_of<Duration>(bad), HasSubstr("expected a duration")) << bad;
  for (Duration value : {Duration::epochs(0.3), Duration::steps(7), Duration::percent(33.3)})
    EXPECT_EQ(read_as<Duration>(to_yaml(Type<Duration>::write(value))), value);
}

TEST(Types, Fraction) {
  EXPECT_EQ(read_as<Fraction>("80%").value, 0.8);
  EXPECT_EQ(read_as<Fraction>("0.8").value, 0.8);
  EXPECT_EQ(read_as<Fraction>("\"80 %\"").value, 0.8);
  EXPECT_EQ(read_as<Fraction>("1").value, 1);
  EXPECT_THAT(problems_of<Fraction>("80"), HasSubstr("did you mean 80%?"));
  EXPECT_THAT(problems_of<Fraction>("1.2"),
              AllOf(HasSubstr("between 0 and 1"), HasSubstr("found '1.2'")));
  for (const char* bad : {"-0.1", "120%", "'%'", "abc", "nan", "{}"})
    EXPECT_NE(problems_of<Fraction>(bad), "") << bad;
  EXPECT_EQ(read_as<Fraction>(to_yaml(Type<Fraction>::write({1.0 / 3}))).value, 1.0 / 3);
}

TEST(Types, Ramp) {
  EXPECT_TRUE(read_as<Ramp>("0.5").constant());
  Ramp ramp = read_as<Ramp>("{from: 1, to: 0, begin: 10 steps, end: 50%}");
  // 100 steps in all: from step 10 to step 50, linear.
  auto at = [&](int64_t step) { return ramp.at(Progress{step, 100, 10}); };
  EXPECT_EQ(at(0), 1);
  EXPECT_EQ(at(10), 1);
  EXPECT_DOUBLE_EQ(at(20), 0.75);
  EXPECT_DOUBLE_EQ(at(30), 0.5);
  EXPECT_EQ(at(50), 0);
  EXPECT_EQ(at(100), 0);
  Ramp back = read_as<Ramp>(to_yaml(Type<Ramp>::write(ramp)));
  EXPECT_EQ(back.from, 1);
  EXPECT_EQ(back.begin, Duration::steps(10));
  EXPECT_EQ(back.end, Duration::percent(50));
  Ramp jump = read_as<Ramp>("{from: 1, to: 3, begin: 5 steps, end: 5 steps}");
  EXPECT_EQ(jump.at(Progress{4, 10, 10}), 1);
  EXPECT_EQ(jump.at(Progress{5, 10, 10}), 3);
  // Looked at once an epoch of 10 updates; in whole numbers, each for 25 updates of 100.
  Ramp epochs = read_as<Ramp>("{from: 0, to: 1, every: 1 epoch}");
  EXPECT_EQ(epochs.at({19, 100, 10}), 0.1);
  EXPECT_EQ(epochs.at({20, 100, 10}), 0.2);
  EXPECT_EQ(epochs.at({100, 100, 10}), 1);
  Ramp whole = read_as<Ramp>("{from: 4, to: 1, whole: true}");
  EXPECT_EQ(whole.at({0, 100, 10}), 4);
  EXPECT_EQ(whole.at({24, 100, 10}), 4);
  EXPECT_EQ(whole.at({25, 100, 10}), 3);
  EXPECT_EQ(whole.at({75, 100, 10}), 1);
  EXPECT_EQ(whole.at({99, 100, 10}), 1);
  Ramp table = read_as<Ramp>("{table: {0 steps: 10, 3 epochs: 8, 50%: 1.5}}");
  EXPECT_FALSE(table.constant());
  EXPECT_EQ(table.at({29, 100, 10}), 10);
  EXPECT_EQ(table.at({30, 100, 10}), 8);
  EXPECT_EQ(table.at({50, 100, 10}), 1.5);
  EXPECT_EQ(read_as<Ramp>(to_yaml(Type<Ramp>::write(table))).table, table.table);
  EXPECT_TRUE(read_as<Ramp>(to_yaml(Type<Ramp>::write(whole))).whole);
  EXPECT_THAT(problems_of<Ramp>("{table: {3 epochs: 1, 1 epoch: 2}}"), HasSubstr("rise"));
  EXPECT_THAT(problems_of<Ramp>("{table: {x: 1}}"), HasSubstr("expected a duration"));
  EXPECT_THAT(problems_of<Ramp>("{table: {1 epoch: 1}, from: 2}"), HasSubstr("from"));
  EXPECT_THAT(problems_of<Ramp>("{from: 1.5, to: 3, whole: true}"), HasSubstr("whole numbers"));
  EXPECT_THAT(problems_of<Ramp>("{from: 1}"), HasSubstr("missing required key 'to'"));
  EXPECT_THAT(problems_of<Ramp>("{from: 1, to: 0, begin: 60%, end: 10%}"),
              HasSubstr("after its end"));
  EXPECT_THAT(problems_of<Ramp>("{from: x, to: 0}"), HasSubstr("expected a number"));
  EXPECT_NE(problems_of<Ramp>("[1]"), "");
}

TEST(Types, ListsAndNamed) {
  EXPECT_EQ(read_as<std::vector<int64_t>>("[1, 2]"), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(read_as<std::vector<int64_t>>("3"), (std::vector<int64_t>{3}));
  EXPECT_THAT(problems_of<std::vector<int64_t>>("[1, x, 2, y]"), HasSubstr("2 problems"));
  auto named = read_as<std::vector<Named<double>>>("{b: 1, a: 2}");
  ASSERT_EQ(named.size(), 2u);
  EXPECT_EQ(named[0].name, "b");
  EXPECT_EQ(named[1].value, 2);
  EXPECT_THAT(problems_of<std::vector<Named<double>>>("[1]"), HasSubstr("expected a map of names"));
}

}  // namespace
}  // namespace compress::recipe
