// Mutated recipes either read or are refused with Error{recipe}: nothing crashes, hangs or throws
// anything else.

#include <cstdlib>
#include <random>

#include "unit/recipe/helpers.h"
#include "unit/recipe/sample.h"

namespace compress::recipe {
namespace {

class Mutator {
 public:
  explicit Mutator(unsigned seed) : random_(seed) {}

  std::string mutate(std::string text) {
    static const char* const parts[] = {
        "[",          "]",    "{",   "}",  ": ",   "- ",           "\n",
        "  ",         "\t",   "&a ", "*a", "!x ",  "? ",           "| ",
        "> ",         "'",    "\"",  "\\", "#",    "---\n",        "...\n",
        "%TAG ! x\n", "<<: ", "~",   "\r", "\xC3", "\xEF\xBB\xBF", "99999999999999999999",
        "1e999",      "@",    "`",   ","};
    for (size_t i = 0, n = 1 + pick(6); i < n && !text.empty(); ++i) {
      size_t at = pick(text.size()), length = pick(std::min<size_t>(40, text.size() - at) + 1);
      switch (pick(5)) {
        case 0:
          text[at] = static_cast<char>(pick(256));
          break;
        case 1:
          text.erase(at, length);
          break;
        case 2:
          text.insert(pick(text.size() + 1), text.substr(at, length));
          break;
        case 3:
          text.insert(at, parts[pick(std::size(parts))]);
          break;
        default:
          text.resize(at);
          break;
      }
    }
    return text;
  }
  size_t pick(size_t n) { return random_() % n; }

 private:
  std::mt19937 random_;
};

// COMPRESS_FUZZ_ROUNDS asks for more.
int rounds() {
  const char* wanted = std::getenv("COMPRESS_FUZZ_ROUNDS");
  return wanted != nullptr ? std::atoi(wanted) : 4000;
}

TEST(RecipeFuzz, MutatedRecipesAreReadOrRefused) {
  int read = 0, refused = 0;
  for (int seed = 0; seed < rounds(); ++seed) {
    std::string text = Mutator(static_cast<unsigned>(seed)).mutate(sample_recipe);
    try {
      Node root = parse_text(text, "fuzz.yaml");
      ASSERT_TRUE(same_tree(root, parse_text(to_yaml(root)))) << text;
      Recipe recipe;
      Problems problems;
      read_struct(Recipe::options().info(), root, &recipe, problems);
      problems.raise();
      ++read;
    } catch (const Error& error) {
      ASSERT_EQ(error.kind(), ErrorKind::recipe) << text;
      ++refused;
    }
  }
  EXPECT_GT(read, 0);
  EXPECT_GT(refused, 0);
}

TEST(RecipeFuzz, MutatedOverridesAreAppliedOrRefused) {
  const Node original = parse_text(sample_recipe);
  int applied = 0, refused = 0;
  for (int seed = 0; seed < rounds(); ++seed) {
    Mutator mutator(static_cast<unsigned>(seed));
    std::string assignment =
        mutator.mutate("stages.student.train.objectives[1].labels.weight={a: [0.3, x]}");
    Node root = original;
    try {
      apply_override(root, assignment);
      to_yaml(root);
      ++applied;
    } catch (const Error& error) {
      ASSERT_EQ(error.kind(), ErrorKind::recipe) << assignment;
      ++refused;
    }
  }
  EXPECT_GT(applied, 0);
  EXPECT_GT(refused, 0);
}

}  // namespace
}  // namespace compress::recipe
