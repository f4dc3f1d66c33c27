#include "selection.h"

#include <algorithm>
#include <cmath>

#include "compress/base/error.h"
#include "compress/base/strings.h"

namespace compress::constraint {

namespace {

const std::vector<std::string> groups = {"encoder", "attention", "ffn", "linear", "all"};

std::vector<std::string> matrix_names(const nn::ParamTable& weights) {
  std::vector<std::string> names;
  for (const nn::Parameter& parameter : weights.list())
    if (parameter.is_matrix()) names.push_back(parameter.name);
  return names;
}

[[noreturn]] void refuse_unmatched(const nn::ParamTable& weights, const std::string& what,
                                   const std::string& pattern, const recipe::Mark& mark,
                                   bool groups_too) {
  std::vector<std::string> candidates;
  if (groups_too) {
    candidates = groups;
    for (const nn::Parameter& parameter : weights.list())
      if (parameter.is_matrix()) candidates.emplace_back(nn::role_name(parameter.role));
  }
  std::vector<std::string> names = matrix_names(weights);
  candidates.insert(candidates.end(), names.begin(), names.end());
  const std::string hint = names.empty()
                               ? "the model has no linear layer"
                               : "a glob over tensor names such as '" + names.front() + "'" +
                                     (groups_too ? ", or one of " + join(groups, ", ") : "");
  throw Error(ErrorKind::recipe, what + " '" + pattern + "' matches no linear weight", mark.text(),
              did_you_mean(pattern, candidates, hint));
}

}  // namespace

bool is_named(const std::vector<std::string>& selectors, const nn::Parameter& parameter) {
  return std::any_of(selectors.begin(), selectors.end(), [&](const std::string& selector) {
    return selector == nn::role_name(parameter.role) || glob_match(selector, parameter.name);
  });
}

std::vector<nn::Parameter*> select(nn::ParamTable& weights, const Selection& selection,
                                   const recipe::Mark& mark) {
  std::vector<std::string> unmatched;
  std::vector<nn::Parameter*> chosen = weights.select(selection.targets, &unmatched);
  if (!unmatched.empty()) refuse_unmatched(weights, "target", unmatched.front(), mark, true);
  if (selection.head_by_name)
    std::erase_if(chosen, [&](const nn::Parameter* parameter) {
      return parameter->role == nn::Role::head && !is_named(selection.targets, *parameter);
    });
  for (const std::string& glob : selection.exclude)
    if (std::none_of(chosen.begin(), chosen.end(), [&](const nn::Parameter* parameter) {
          return glob_match(glob, parameter->name);
        }))
      refuse_unmatched(weights, "exclude", glob, mark, false);
  std::erase_if(chosen, [&](const nn::Parameter* parameter) {
    return std::any_of(selection.exclude.begin(), selection.exclude.end(),
                       [&](const std::string& glob) { return glob_match(glob, parameter->name); });
  });
  if (chosen.empty())
    throw Error(ErrorKind::recipe, "targets and exclude leave no weight", mark.text(),
                "name more targets or exclude less");
  for (const nn::Parameter* parameter : chosen)
    if (!parameter->latent.is_contiguous() || parameter->latent.scalar_type() != torch::kFloat32)
      throw Error(ErrorKind::internal, parameter->name + " is not contiguous float32");
  return chosen;
}

std::string percent(double fraction) {
  return shortest(std::round(fraction * 1e4) / 100) + "%";
}

}  // namespace compress::constraint
