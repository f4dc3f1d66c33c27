#pragma once
// Which tensors a constraint holds.

#include <string>
#include <vector>

#include "compress/nn/model.h"
#include "compress/recipe/node.h"

namespace compress::constraint {

struct Selection {
  std::vector<std::string> targets;  // selectors of ParamTable::select
  std::vector<std::string> exclude;  // globs over tensor names
  bool head_by_name = false;         // a task head is left out unless a target names it
};

// The matrices that `selection` names. Error{recipe} at `mark` for a target or an exclusion that
// matches nothing (with the nearest name) and when nothing is left.
std::vector<nn::Parameter*> select(nn::ParamTable& weights, const Selection& selection,
                                   const recipe::Mark& mark);

// Whether one of `selectors` is the parameter's role or a glob over its name.
bool is_named(const std::vector<std::string>& selectors, const nn::Parameter& parameter);

// 0.8 -> "80%", 0.12345 -> "12.35%".
std::string percent(double fraction);

}  // namespace compress::constraint
