#pragma once
// Shared by the tests of module `recipe`.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "compress/base/error.h"
#include "compress/recipe/node.h"
#include "compress/recipe/options.h"

namespace compress::recipe {

// The full text of the Error{recipe} that `run` throws.
inline std::string recipe_error(const std::function<void()>& run) {
  try {
    run();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::recipe);
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return {};
}

inline std::string parse_error(const std::string& text) {
  return recipe_error([&] { parse_text(text, "a.yaml"); });
}

// The problems of reading `text` as a T, in file order, one "place: what (hint)" a line; "" when
// there are none.
template <class T>
std::string problems_of(const std::string& text) {
  Problems problems;
  T value{};
  Type<T>::read(parse_text(text, "a.yaml"), value, problems);
  if (problems.empty()) return {};
  return recipe_error([&] { problems.raise(); });
}

template <class T>
T read_as(const std::string& text) {
  Problems problems;
  T value{};
  EXPECT_TRUE(Type<T>::read(parse_text(text, "a.yaml"), value, problems)) << text;
  EXPECT_TRUE(problems.empty());
  return value;
}

// Equal trees, places aside. Quotes count only where they change the meaning.
inline bool same_tree(const Node& a, const Node& b) {
  if (a.kind != b.kind || a.scalar != b.scalar || a.items.size() != b.items.size() ||
      a.entries.size() != b.entries.size())
    return false;
  for (size_t i = 0; i < a.items.size(); ++i)
    if (!same_tree(a.items[i], b.items[i])) return false;
  for (size_t i = 0; i < a.entries.size(); ++i)
    if (a.entries[i].key != b.entries[i].key || !same_tree(a.entries[i].value, b.entries[i].value))
      return false;
  return true;
}

}  // namespace compress::recipe
