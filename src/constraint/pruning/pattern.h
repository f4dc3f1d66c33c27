#pragma once
// Which weights are pruned together: the recipe's `pattern`, and the one place where weights are
// grouped to be scored.

#include <optional>
#include <vector>

#include "compress/nn/parameter.h"
#include "compress/nn/pattern.h"
#include "compress/recipe/options.h"

namespace compress::constraint {

struct PatternOptions {
  std::vector<int64_t> block;  // outputs, inputs
  std::optional<int64_t> n, of;
  recipe::Mark mark;
  static const recipe::Options<PatternOptions>& options();
  nn::Pattern pattern() const;
};
// Single weights where the recipe says nothing.
nn::Pattern pattern_of(const std::optional<PatternOptions>& options);

// Error{recipe} at `mark` that names the first matrix that the pattern does not divide.
void check_divides(const nn::Pattern& pattern, const std::vector<nn::Parameter*>& parameters,
                   const recipe::Mark& mark);

// What a pattern ranks of a float32 weight [out, in]: a magnitude for each unit.
//
//   single weights  [out, in], the weights
//   blocks          [out / rows, in / columns], the mean |w| of each, summed in float64 in the
//                   order of rows and columns; not finite where one of its weights is not
//   n of m          [out, in]: the m - n weights of each group that may go, and the largest finite
//                   float for the n that stay. Those that may go are masked ones first, then the
//                   smallest magnitudes, among equal ones the earlier.
//
// `before` is the mask so far (uint8, [out, in], 0 = masked), undefined where masked weights may
// return.
torch::Tensor unit_scores(const torch::Tensor& weight, const torch::Tensor& before,
                          const nn::Pattern& pattern);
// A mask of weights as a mask of units, and back. Undefined stays undefined.
torch::Tensor mask_of_units(const torch::Tensor& keep, const nn::Pattern& pattern);
torch::Tensor mask_of_weights(const torch::Tensor& kept, const nn::Pattern& pattern);
// Of `units` of all tensors together, how many may be masked.
int64_t most_masked(int64_t units, const nn::Pattern& pattern);
// Whether a mask [out, in] is one that the pattern allows.
bool allows(const nn::Pattern& pattern, const torch::Tensor& keep);

}  // namespace compress::constraint
