#include <random>

#include "unit/recipe/helpers.h"
#include "unit/recipe/sample.h"

namespace compress::recipe {
namespace {

TEST(ToYaml, BlockStyle) {
  Node root = parse_text("a: {b: [1, {c: x, d: []}, [2, 3]], e: }\nf: {}\n");
  EXPECT_EQ(to_yaml(root),
            "a:\n  b:\n    - 1\n    - c: x\n      d: []\n    - - 2\n      - 3\n  e: null\nf: {}\n");
}

TEST(ToYaml, QuotesTextThatWouldReadAsSomethingElse) {
  for (const char* text : {"true",
                           "no",
                           "5",
                           "1e5",
                           "0x1F",
                           "1:30",
                           "2001-01-01",
                           "null",
                           "~",
                           "",
                           ".inf",
                           "- a",
                           "a: b",
                           "a #b",
                           " a",
                           "a ",
                           "#a",
                           "&a",
                           "*a",
                           "!a",
                           "|",
                           ">",
                           "'a",
                           "\"a",
                           "%a",
                           "@a",
                           "`a",
                           "{a",
                           "[a",
                           "? a",
                           "---",
                           "...",
                           "<<",
                           "a:",
                           "two\nlines",
                           "tab\t",
                           "\x1b",
                           "back\\slash",
                           "\r\n",
                           "\xC2\x85",
                           "\xE2\x80\xA8",
                           "\xEF\xBB\xBF",
                           "gr\xC3\xBC\xC3\x9F",
                           "-"}) {
    Node map = Node::map();
    map.add(std::string(text).find_first_of("\x1b\t\n\r") == std::string::npos ? text : "key",
            Node::text(text));
    Node back = parse_text(to_yaml(map));
    ASSERT_TRUE(same_tree(map, back)) << to_yaml(map);
    std::string string;
    Problems problems;
    EXPECT_TRUE(Type<std::string>::read(back.entries[0].value, string, problems));
    double number = 0;
    EXPECT_FALSE(Type<double>::read(back.entries[0].value, number, problems)) << text;
  }
  EXPECT_EQ(to_yaml(Node::text("plain text, 3 epochs (a/b.c)")), "plain text, 3 epochs (a/b.c)\n");
  EXPECT_EQ(to_yaml(Node::of("5")), "5\n");
  EXPECT_EQ(to_yaml(Node::text("5")), "\"5\"\n");
}

class RandomTree {
 public:
  explicit RandomTree(unsigned seed) : random_(seed) {}

  Node node(int depth) {
    size_t kind = pick(depth > 0 ? 5 : 3);
    if (kind == 0) return Node::text(text());
    if (kind == 1) return Node::of(std::to_string(static_cast<int>(pick(1000)) - 500));
    if (kind == 2) return depth == 4 ? Node::text("x") : Node();
    Node node = kind == 3 ? Node::list() : Node::map();
    for (size_t i = 0, n = pick(4); i < n; ++i) {
      if (kind == 3)
        node.items.push_back(this->node(depth - 1));
      else
        node.add("k" + std::to_string(i) + key(), this->node(depth - 1));
    }
    return node;
  }

 private:
  size_t pick(size_t n) { return random_() % n; }
  std::string text() {
    static const char* const parts[] = {
        "a",  "b c", " ",  ":",        ": ",           "#",    " #", "-",   "'",
        "\"", "\\",  "\n", "\n\n ",    "\t",           "{",    "]",  ",",   "&",
        "*",  "!",   "%",  "\xC3\xA9", "\xE2\x80\xA9", "\x01", "0",  "true"};
    std::string out;
    for (size_t i = 0, n = pick(7); i < n; ++i) out += parts[pick(std::size(parts))];
    return out;
  }
  std::string key() {
    std::string out;
    for (char c : text())
      if (static_cast<unsigned char>(c) >= 0x20) out += c;
    return out;
  }
  std::mt19937 random_;
};

TEST(ToYaml, RandomTreesReadBackTheSame) {
  for (unsigned seed = 0; seed < 500; ++seed) {
    Node tree = RandomTree(seed).node(4);
    std::string yaml = to_yaml(tree);
    ASSERT_TRUE(same_tree(tree, parse_text(yaml))) << yaml;
    ASSERT_EQ(to_yaml(parse_text(yaml)), yaml);
  }
}

TEST(ToYaml, ResolvedRecipeSpellsOutDefaultsAndReadsBackTheSame) {
  Recipe recipe = read_as<Recipe>(sample_recipe);
  std::string resolved = to_yaml(Type<Recipe>::write(recipe));
  EXPECT_THAT(resolved, testing::HasSubstr("batch: 32"));
  EXPECT_THAT(resolved, testing::HasSubstr("reduction: mean"));
  EXPECT_EQ(to_yaml(Type<Recipe>::write(read_as<Recipe>(resolved))), resolved);
}

}  // namespace
}  // namespace compress::recipe
