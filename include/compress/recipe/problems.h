#pragma once
#include <string>
#include <vector>

#include "compress/recipe/node.h"

namespace compress::recipe {

// Collects everything that is wrong with a recipe, so that it is reported in one go.
class Problems {
 public:
  struct Problem {
    Mark mark;
    std::string what, hint;
  };
  void add(const Mark& mark, std::string what, std::string hint = {});
  bool empty() const { return list_.empty(); }
  const std::vector<Problem>& list() const { return list_; }
  // Throws Error{recipe} with all problems in file order, each "place: what (hint)", when there are
  // any.
  void raise() const;

 private:
  std::vector<Problem> list_;
};

}  // namespace compress::recipe
