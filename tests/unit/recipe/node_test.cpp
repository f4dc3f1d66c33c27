#include "compress/recipe/node.h"

#include "unit/recipe/helpers.h"
#include "unit/recipe/sample.h"

namespace compress::recipe {
namespace {

TEST(Parse, TreeWithPlaces) {
  Node root = parse_text(sample_recipe, "a.yaml");
  const Node* stages = root.find("stages");
  ASSERT_NE(stages, nullptr);
  ASSERT_EQ(stages->items.size(), 2u);
  const Node* batch = stages->items[1].find("train")->find("batch");
  EXPECT_EQ(batch->scalar, "64");
  EXPECT_EQ(batch->mark.text(), "a.yaml:11:14 (stages.student.train.batch)");
  const Node& soft = stages->items[1].find("train")->find("objectives")->items[0];
  EXPECT_EQ(soft.entries[0].value.find("temperature")->mark.path,
            "stages.student.train.objectives[0].soft_labels.temperature");
  EXPECT_EQ(root.entries[1].mark.text(), "a.yaml:2:1 (data)");
  EXPECT_EQ(root.find("nothing"), nullptr);
}

TEST(Parse, ScalarsKeepTheirTextAndQuotes) {
  Node root = parse_text("a: 5\nb: \"5\"\nc:\nd: 'it''s'\ne: |\n  two\n  lines\n");
  EXPECT_FALSE(root.find("a")->quoted);
  EXPECT_TRUE(root.find("b")->quoted);
  EXPECT_TRUE(root.find("c")->is_null());
  EXPECT_EQ(root.find("d")->scalar, "it's");
  EXPECT_EQ(root.find("e")->scalar, "two\nlines\n");
}

TEST(Parse, AliasesAreExpandedInPlace) {
  Node root = parse_text("a: &x {k: [1, 2]}\nb: *x\n", "a.yaml");
  EXPECT_TRUE(same_tree(*root.find("a"), *root.find("b")));
  EXPECT_EQ(root.find("b")->mark.line, 2);
  EXPECT_EQ(root.find("b")->find("k")->mark.path, "b.k");
}

TEST(Parse, AcceptsByteOrderMarkAndWindowsLines) {
  Node root = parse_text(
      "\xEF\xBB\xBF"
      "a: 1\r\nb: 2\r\n",
      "a.yaml");
  EXPECT_EQ(root.find("a")->scalar, "1");
  EXPECT_EQ(root.find("b")->scalar, "2");
  EXPECT_EQ(root.find("b")->mark.line, 2);
}

TEST(Parse, CarriageReturnsEndLinesWhereNothingElseDoes) {
  Node root = parse_text("a: 1\rb:\r  c: 2\r", "a.yaml");
  EXPECT_EQ(root.find("a")->scalar, "1");
  EXPECT_EQ(root.find("b")->find("c")->scalar, "2");
  EXPECT_EQ(root.find("b")->find("c")->mark.line, 3);
}

TEST(Mark, Text) {
  EXPECT_EQ((Mark{"a.yaml", 12, 5, "x.y"}).text(), "a.yaml:12:5 (x.y)");
  EXPECT_EQ((Mark{"--set", 0, 0, "x.y"}).text(), "--set (x.y)");
  EXPECT_EQ((Mark{"a.yaml", 1, 1, ""}).text(), "a.yaml:1:1");
  EXPECT_EQ((Mark{"", 0, 0, "x"}).text(), "x");
}

TEST(Node, Builders) {
  Node map = Node::map();
  map.add("a", Node::of("1")).add("b", Node::list({Node::text("2")}));
  EXPECT_EQ(map.find("a")->scalar, "1");
  EXPECT_TRUE(map.find("b")->items[0].quoted);
  EXPECT_EQ(Node::of("a").find("a"), nullptr);
}

}  // namespace
}  // namespace compress::recipe
