#pragma once
// A trained linear map from the student's width to the teacher's, it helps a term to compare
// states, is trained with the student and not exported.

#include <string>

#include "compress/objective/objective.h"

namespace compress::objective {

inline constexpr const char* projection_doc =
    "a trained linear map to the teacher's width; auto: where widths differ";

class Projection {
 public:
  // `when`: auto, always or never. The map [theirs, ours] and its bias are drawn uniformly from
  // +-1 / sqrt(ours), named after the term. Error{recipe} at the term's mark where it is needed and
  // forbidden.
  void bind(const std::string& when, int64_t ours, int64_t theirs, const roles::Scene& scene,
            const Objective& term, bool with_bias = false);
  // [N, ours] -> [N, theirs] float32.
  torch::Tensor operator()(const torch::Tensor& states) const;
  std::string summary() const;  // "projection 384x768", or ""

 private:
  nn::Parameter* matrix_ = nullptr;  // null: states are compared as they are
  nn::Parameter* bias_ = nullptr;    // null: none
};

}  // namespace compress::objective
