#pragma once
// Groups of parameters with a rate and a decay of their own: the option `groups` of optimizers.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "compress/optim/optim.h"

namespace compress::optim {

// `{match: [head], lr: 1e-3, weight_decay: 0}`
struct GroupOptions {
  std::vector<std::string> match;  // selectors of nn::ParamTable::select()
  std::optional<double> lr, weight_decay;
  recipe::Mark mark;
  static const recipe::Options<GroupOptions>& options();
};

// How a parameter moves.
struct Rate {
  double lr = 0, weight_decay = 0;
};

// The rates of a stage's parameters. A parameter belongs to the first group that names it, or to
// none; norms and biases never decay.
class Rates {
 public:
  // `plain` is that of parameters in no group.
  Rates(Rate plain, const std::vector<GroupOptions>& groups);
  // Finds the groups' parameters. Error{recipe} at a group whose selector matches nothing that is
  // trained.
  void bind(const roles::Scene& scene);
  const std::vector<Rate>& list() const { return rates_; }
  // A parameter's number in list().
  size_t of(const nn::Parameter& parameter) const;

 private:
  [[noreturn]] static void refuse(const GroupOptions& group, const std::string& selector,
                                  const std::vector<nn::Parameter*>& trained);

  std::vector<GroupOptions> groups_;
  std::vector<Rate> rates_;  // of each group, then of no group: without decay, with it
  std::map<const nn::Parameter*, size_t> group_of_;
};

}  // namespace compress::optim
