#include "groups.h"

#include <set>

#include "components.h"
#include "compress/base/error.h"
#include "compress/base/strings.h"

namespace compress::optim {

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

void Rates::bind(const roles::Scene& scene) {
  group_of_.clear();
  const std::vector<nn::Parameter*> trained = scene.trained();
  const std::set<const nn::Parameter*> moved(trained.begin(), trained.end());
  for (size_t group = 0; group < groups_.size(); ++group)
    for (const std::string& selector : groups_[group].match) {
      bool any = false;
      for (nn::ParamTable* table : {&scene.weights, &scene.helpers})
        for (const nn::Parameter* parameter : table->select({selector}, nullptr, true)) {
          if (!moved.contains(parameter)) continue;
          any = true;
          group_of_.emplace(parameter, group);  // the first one counts
        }
      if (!any) refuse(groups_[group], selector, trained);
    }
}

void Rates::refuse(const GroupOptions& group, const std::string& selector,
                   const std::vector<nn::Parameter*>& trained) {
  std::vector<std::string> known;
  for (const nn::Parameter* parameter : trained) {
    known.emplace_back(nn::role_name(parameter->role));
    known.push_back(parameter->name);
  }
  throw Error(
      ErrorKind::recipe,
      "a group of the optimizer names '" + selector + "', which matches nothing that is trained",
      group.mark.text(), did_you_mean(selector, known));
}

size_t Rates::of(const nn::Parameter& parameter) const {
  const auto found = group_of_.find(&parameter);
  const size_t group = found == group_of_.end() ? groups_.size() : found->second;
  return 2 * group + (decays(parameter) ? 1 : 0);
}

}  // namespace compress::optim
