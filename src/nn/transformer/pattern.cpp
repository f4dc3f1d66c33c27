#include "compress/nn/pattern.h"

#include <algorithm>

#include "compress/base/strings.h"
#include "compress/nn/model.h"

namespace compress::nn {

namespace {

constexpr int64_t largest_side = 64;
constexpr double least_inside = 0.5, least_full = 0.9, least_zeros = 0.05;

std::vector<uint8_t> kept_of(const Tensor& weight) {
  const Tensor kept = (weight.detach() != 0).to(torch::kCPU).contiguous();
  const auto* from = static_cast<const uint8_t*>(kept.const_data_ptr());  // bool: 0 or 1
  return {from, from + kept.numel()};
}

// The most that any of the groups of `of` values, a power of two, keeps.
int64_t most_kept(const std::vector<uint8_t>& kept, int64_t of) {
  std::vector<uint8_t> sums(kept.size() / 2), next(kept.size() / 4);
  const uint8_t* from = kept.data();
  size_t count = kept.size();
  for (int64_t joined = 1; joined < of; joined *= 2) {
    uint8_t* __restrict to = from == sums.data() ? next.data() : sums.data();
    count /= 2;
    for (size_t i = 0; i < count; ++i) to[i] = static_cast<uint8_t>(from[2 * i] + from[2 * i + 1]);
    from = to;
  }
  uint8_t most = 0;
  for (size_t i = 0; i < count; ++i) most = std::max(most, from[i]);
  return most;
}

double share(int64_t part, int64_t whole) {
  return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0;
}

}  // namespace

std::string Pattern::text() const {
  if (groups()) return str(kept, " of ", of);
  return blocks() ? str("blocks of ", rows, "x", columns) : "single weights";
}

std::string Pattern::behind() const {
  return single() ? "" : (groups() ? ", " : " in ") + text();
}

Tensor kept_blocks(const Tensor& weight, const Pattern& pattern) {
  const int64_t out = weight.size(0), in = weight.size(1);
  return (weight.detach() != 0)
      .view({out / pattern.rows, pattern.rows, in / pattern.columns, pattern.columns})
      .any(3)
      .any(1)
      .to(torch::kUInt8)
      .contiguous();
}

void ZeroPattern::add(const Tensor& weight) {
  const int64_t rows = weight.size(0), columns = weight.size(1), count = weight.numel();
  const int64_t zeros = count - weight.detach().count_nonzero().item<int64_t>();
  weights_ += count;
  zeros_ += zeros;
  if (zeros == 0) return;
  std::vector<uint8_t> kept = kept_of(weight);
  if (share(zeros, count) >= least_zeros)
    for (Groups& group : groups_) {
      group.possible = group.possible && columns % group.of == 0;
      if (!group.possible) continue;
      group.kept += count - zeros;
      group.weights += count;
      group.most = std::max(group.most, most_kept(kept, group.of));
    }
  std::vector<Blocks> here;
  for (const BlockCount& block : count_zero_blocks(kept, rows, columns, largest_side))
    here.push_back({block.rows, block.columns, block.zero * block.rows * block.columns});
  if (std::exchange(first_, false)) {
    shapes_ = std::move(here);
    return;
  }
  std::erase_if(shapes_, [&](Blocks& known) {
    const auto found = std::find_if(here.begin(), here.end(), [&](const Blocks& block) {
      return block.rows == known.rows && block.columns == known.columns;
    });
    if (found == here.end()) return true;
    known.inside += found->inside;
    return false;
  });
}

const ZeroPattern::Blocks* ZeroPattern::blocks() const {
  const Blocks* best = nullptr;
  for (const Blocks& shape : shapes_) {
    const int64_t area = shape.rows * shape.columns;
    if (area == 1 || share(shape.inside, zeros_) < least_inside ||
        share(zeros_ - shape.inside, weights_ - shape.inside) > most_zeros_outside)
      continue;
    if (best == nullptr || area > best->rows * best->columns) best = &shape;
  }
  return best;
}

Pattern ZeroPattern::found() const {
  if (const Blocks* shape = blocks()) return {shape->rows, shape->columns};
  Pattern best;
  for (const Groups& group : groups_) {
    if (!group.possible || group.weights == 0 || group.most == 0 || group.most == group.of)
      continue;
    const double allowed = share(group.most, group.of);
    if (share(group.kept, group.weights) < least_full * allowed) continue;
    if (!best.groups() || allowed < share(best.kept, best.of)) best = {1, 1, group.most, group.of};
  }
  return best;
}

std::string ZeroPattern::text() const {
  if (zeros_ == 0) return {};
  const Pattern pattern = found();
  if (pattern.single()) return single_zeros;
  if (pattern.groups()) return pattern.text();
  const int64_t outside = zeros_ - blocks()->inside;
  return pattern.text() + (outside > 0 ? str(", ", fixed(100 * share(outside, zeros_), 2),
                                             "% of zeros outside of them")
                                       : "");
}

std::string zeros_text(const Model& model) {
  torch::NoGradGuard no_grad;
  ZeroPattern zeros;
  for (const Parameter& parameter : model.params().list())
    if (parameter.is_matrix() && parameter.layer >= 0 && parameter.role != Role::attachment)
      zeros.add(parameter.latent);
  return zeros.text();
}

}  // namespace compress::nn
