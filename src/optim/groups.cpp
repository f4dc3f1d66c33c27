#include "groups.h"

#include <algorithm>

#include "components.h"
#include "compress/base/error.h"
#include "compress/base/strings.h"

namespace compress::optim {

namespace {

bool names(const GroupOptions& group, const nn::Parameter& parameter) {
  return std::any_of(group.match.begin(), group.match.end(), [&](const std::string& selector) {
    return nn::selects(selector, parameter, /*any_shape=*/true);
  });
}

}  // namespace

const recipe::Options<GroupOptions>& GroupOptions::options() {
  static const auto description =
      recipe::Options<GroupOptions>("group")
          .field("match", &GroupOptions::match,
                 "roles, groups of roles or globs over tensor names, trained helpers' too")
          .required()
          .field("lr", &GroupOptions::lr, "base learning rate; default: the optimizer's")
          .above(0)
          .field("weight_decay", &GroupOptions::weight_decay,
                 "of matrices and embeddings; default: the optimizer's")
          .at_least(0)
          .mark(&GroupOptions::mark);
  return description;
}

Rates::Rates(Rate plain, const std::vector<GroupOptions>& groups) : groups_(groups) {
  auto add = [&](double lr, double weight_decay) {
    rates_.push_back({lr, 0});
    rates_.push_back({lr, weight_decay});
  };
  for (const GroupOptions& group : groups_)
    add(group.lr.value_or(plain.lr), group.weight_decay.value_or(plain.weight_decay));
  add(plain.lr, plain.weight_decay);
}

void Rates::bind(const std::vector<nn::Parameter*>& trained) const {
  for (const GroupOptions& group : groups_)
    for (const std::string& selector : group.match) {
      const bool any = std::any_of(trained.begin(), trained.end(), [&](const auto* parameter) {
        return nn::selects(selector, *parameter, /*any_shape=*/true);
      });
      if (any) continue;
      std::vector<std::string> known;
      for (const nn::Parameter* parameter : trained) {
        known.emplace_back(nn::role_name(parameter->role));
        known.push_back(parameter->name);
      }
      const std::string near = nearest(selector, known);
      throw Error(ErrorKind::recipe,
                  "a group of the optimizer names '" + selector +
                      "', which matches nothing that is "
                      "trained",
                  group.mark.text(), near.empty() ? "" : "did you mean '" + near + "'?");
    }
}

size_t Rates::of(const nn::Parameter& parameter) const {
  const auto group = std::find_if(groups_.begin(), groups_.end(),
                                  [&](const GroupOptions& each) { return names(each, parameter); });
  return 2 * static_cast<size_t>(group - groups_.begin()) + (decays(parameter) ? 1 : 0);
}

}  // namespace compress::optim
