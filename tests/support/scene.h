#pragma once
// Parts bound to a few parameters by hand.

#include "compress/roles/part.h"

namespace compress {

// Binds a part as a stage of this length would. Nothing but the weights is there.
inline void bind(roles::Part& part, nn::ParamTable& weights, const Length& length = {100, 10},
                 nn::Precision precision = nn::Precision::float32, roles::Moments moments = {}) {
  static const nn::ModelConfig config;
  static nn::ParamTable helpers;
  part.bind({.student = config,
             .weights = weights,
             .helpers = helpers,
             .length = length,
             .precision = precision,
             .moments = std::move(moments)});
}
inline void bind(roles::Part& part, nn::Model& model, const Length& length = {100, 10},
                 nn::Precision precision = nn::Precision::float32, roles::Moments moments = {}) {
  bind(part, model.params(), length, precision, std::move(moments));
}

}  // namespace compress
