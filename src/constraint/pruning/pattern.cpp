#include "pruning/pattern.h"

#include "compress/data/torch.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "compress/base/error.h"
#include "compress/base/strings.h"

namespace compress::constraint {

namespace {

using torch::Tensor;

constexpr int64_t units_a_task = 1 << 13;

// The mean magnitude of each block of a contiguous matrix.
Tensor block_means(const Tensor& weight, const nn::Pattern& pattern) {
  const int64_t across = weight.size(1) / pattern.columns, width = weight.size(1);
  Tensor scores = torch::empty({weight.size(0) / pattern.rows, across}, torch::kFloat32);
  const float* from = weight.const_data_ptr<float>();
  float* to = scores.mutable_data_ptr<float>();
  const auto size = static_cast<double>(pattern.rows * pattern.columns);
  at::parallel_for(0, scores.numel(), units_a_task, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const float* corner =
          from + block / across * pattern.rows * width + block % across * pattern.columns;
      double sum = 0;
      for (int64_t row = 0; row < pattern.rows; ++row)
        for (int64_t i = 0; i < pattern.columns; ++i)
          sum += std::abs(static_cast<double>(corner[row * width + i]));
      to[block] = static_cast<float>(sum / size);
    }
  });
  return scores;
}

// The largest finite float for the weights of each group that stay.
Tensor removable(const Tensor& weight, const Tensor& before, const nn::Pattern& pattern) {
  Tensor scores = weight.clone();
  float* value = scores.mutable_data_ptr<float>();
  const uint8_t* old = before.defined() ? before.const_data_ptr<uint8_t>() : nullptr;
  const auto of = static_cast<size_t>(pattern.of);
  at::parallel_for(0, scores.numel() / pattern.of, units_a_task, [&](int64_t begin, int64_t end) {
    std::vector<size_t> order(of);
    for (int64_t group = begin; group < end; ++group) {
      float* first = value + group * pattern.of;
      for (size_t i = 0; i < of; ++i) order[i] = i;
      auto rank = [&](size_t i) {
        const bool masked =
            old != nullptr && old[group * pattern.of + static_cast<int64_t>(i)] == 0;
        return masked ? -1.0f : std::abs(first[i]);
      };
      // What is not finite must not confuse the order; it is found where scores are ranked.
      if (std::all_of(first, first + of, [](float x) { return std::isfinite(x); }))
        std::stable_sort(order.begin(), order.end(),
                         [&](size_t a, size_t b) { return rank(a) < rank(b); });
      else
        continue;
      for (size_t i = of - static_cast<size_t>(pattern.kept); i < of; ++i)
        first[order[i]] = std::numeric_limits<float>::max();
    }
  });
  return scores;
}

}  // namespace

const recipe::Options<PatternOptions>& PatternOptions::options() {
  using P = PatternOptions;
  static const auto description =
      recipe::Options<P>("pattern")
          .field("block", &P::block,
                 "[outputs, inputs]: weights of a matrix that are zero together, counted from its "
                 "first output and input on")
          .field("n", &P::n, "weights that stay of each `of` (N:M); at most so many are not zero")
          .at_least(1)
          .field("of", &P::of, "so many consecutive inputs of one output")
          .range(2, 1024)
          .mark(&P::mark)
          .check([](const P& o, const recipe::Mark& mark, recipe::Problems& problems) {
            const bool groups = o.n.has_value() || o.of.has_value();
            if (groups == !o.block.empty())
              problems.add(mark, groups ? "the pattern is told twice" : "the pattern says nothing",
                           "write `block: [1, 4]`, or `n: 2, of: 4`");
            else if (groups && (!o.n || !o.of))
              problems.add(mark, "`n` and `of` belong together", "2 of 4 is `n: 2, of: 4`");
            else if (groups && *o.n >= *o.of)
              problems.add(mark, str(*o.n, " of ", *o.of, " leaves nothing to prune"),
                           "`n` is how many of `of` stay");
            if (!o.block.empty() &&
                (o.block.size() != 2 || o.block[0] < 1 || o.block[1] < 1 || o.block[0] > 4096 ||
                 o.block[1] > 4096 || o.block[0] * o.block[1] == 1))
              problems.add(
                  mark,
                  "`block` is two whole numbers, outputs and inputs, from 1 to 4096, not both 1",
                  "write `block: [1, 4]`: one output, four inputs");
          });
  return description;
}

nn::Pattern PatternOptions::pattern() const {
  if (block.size() == 2) return {block[0], block[1]};
  return {1, 1, n.value_or(0), of.value_or(0)};
}

nn::Pattern pattern_of(const std::optional<PatternOptions>& options) {
  return options ? options->pattern() : nn::Pattern{};
}

void check_divides(const nn::Pattern& pattern, const std::vector<nn::Parameter*>& parameters,
                   const recipe::Mark& mark) {
  for (const nn::Parameter* parameter : parameters) {
    const int64_t out = parameter->latent.size(0), in = parameter->latent.size(1);
    if (pattern.divides(out, in)) continue;
    throw Error(ErrorKind::recipe,
                str(pattern.text(), " do", pattern.groups() ? "es" : "", " not divide ",
                    parameter->name, ", which has ", out, " outputs and ", in, " inputs"),
                mark.text(),
                "take sizes that divide all targets, or leave the matrix out with `exclude`");
  }
}

Tensor unit_scores(const Tensor& weight, const Tensor& before, const nn::Pattern& pattern) {
  if (pattern.single()) return weight;
  return pattern.blocks() ? block_means(weight, pattern) : removable(weight, before, pattern);
}

Tensor mask_of_units(const Tensor& keep, const nn::Pattern& pattern) {
  if (!keep.defined() || !pattern.blocks()) return keep;
  return nn::kept_blocks(keep, pattern);
}

Tensor mask_of_weights(const Tensor& kept, const nn::Pattern& pattern) {
  if (!kept.defined() || !pattern.blocks()) return kept;
  const int64_t rows = kept.size(0), columns = kept.size(1);
  return kept.view({rows, 1, columns, 1})
      .expand({rows, pattern.rows, columns, pattern.columns})
      .reshape({rows * pattern.rows, columns * pattern.columns})
      .contiguous();  // whole rows of blocks would be views of one
}

int64_t most_masked(int64_t units, const nn::Pattern& pattern) {
  return pattern.groups() ? units / pattern.of * (pattern.of - pattern.kept) : units;
}

bool allows(const nn::Pattern& pattern, const Tensor& keep) {
  if (pattern.single()) return true;
  if (pattern.groups())
    return keep.numel() == 0 ||
           keep.view({-1, pattern.of}).sum(1).amax().item<int64_t>() <= pattern.kept;
  return torch::equal(mask_of_weights(nn::kept_blocks(keep, pattern), pattern), keep);
}

}  // namespace compress::constraint
