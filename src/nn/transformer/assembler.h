#pragma once
// Takes tensors out of a state into a parameter table, initialising those of a new head.

#include <map>
#include <string>
#include <vector>

#include "compress/nn/architecture.h"
#include "compress/nn/layers.h"

namespace compress::nn {

class Assembler {
 public:
  // What is to be done with a tensor that the state lacks and that is not drawn.
  enum class Missing { problem, zeros };

  Assembler(const ModelState& state, ParamTable& params, uint64_t seed,
            Missing missing = Missing::problem);

  // Of an outline all that may be there.
  bool has(const std::string& name) const {
    return missing_ == Missing::zeros || state_.tensors.contains(name);
  }

  // The parameter `name` of this shape. One that was taken before is the same parameter (a tied
  // table). A tensor that is missing is drawn with the standard deviation `fresh`, or is a problem
  // where that is negative.
  Parameter* take(const std::string& name, Role role, int layer, std::vector<int64_t> shape,
                  double fresh = -1);
  Linear linear(const std::string& name, Role role, int layer, int64_t out, int64_t in, bool bias,
                double fresh = -1);
  Norm norm(const std::string& name, int layer, int64_t width, NormKind kind, double eps,
            bool fresh = false);
  // Throws one error that lists everything that did not fit.
  void finish() const;

 private:
  const ModelState& state_;
  ParamTable& params_;
  Missing missing_;
  at::Generator generator_;
  std::vector<std::string> problems_;
};

}  // namespace compress::nn
