#include "compress/nn/pooling.h"

#include <algorithm>
#include <limits>

#include "compress/base/error.h"
#include "compress/base/strings.h"

namespace compress::nn {

namespace {

using torch::Tensor;

// The row of each token, [T].
Tensor rows_of_tokens(const data::Batch& batch) {
  return batch.slots.floor_divide(batch.longest);
}

Tensor sums(const Tensor& states, const data::Batch& batch) {
  return torch::zeros({batch.rows(), states.size(1)}, states.options())
      .index_add(0, rows_of_tokens(batch), states);
}

Tensor largest(const Tensor& states, const data::Batch& batch) {
  const Tensor rows = rows_of_tokens(batch).unsqueeze(1).expand_as(states);
  return torch::full({batch.rows(), states.size(1)}, -std::numeric_limits<float>::infinity(),
                     states.options())
      .scatter_reduce(0, rows, states, "amax");
}

Tensor pooled(const Tensor& states, const data::Batch& batch, const std::string& mode) {
  const Tensor ends = batch.offsets.slice(0, 1), starts = batch.offsets.slice(0, 0, batch.rows());
  if (mode == "cls") return states.index_select(0, starts).to(torch::kFloat32);
  if (mode == "lasttoken") return states.index_select(0, ends - 1).to(torch::kFloat32);
  const Tensor wide = states.to(torch::kFloat32);
  if (mode == "max") return largest(wide, batch);
  const Tensor lengths = (ends - starts).unsqueeze(1);
  if (mode == "mean") return sums(wide, batch) / lengths;
  if (mode == "mean_sqrt_len_tokens") return sums(wide, batch) / lengths.to(torch::kFloat32).sqrt();
  // weightedmean: the weights 1, 2, ..., n of a row have the sum n (n + 1) / 2.
  const Tensor weights = (batch.positions + 1).unsqueeze(1);
  return sums(wide * weights, batch) / (lengths * (lengths + 1)).to(torch::kFloat32) * 2;
}

}  // namespace

const std::vector<std::string>& pooling_modes() {
  static const std::vector<std::string> modes = {
      "cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"};
  return modes;
}

std::vector<std::string> pooling_list(const std::string& pooling) {
  std::vector<std::string> list = split(pooling, '+');
  for (const std::string& mode : list)
    if (std::find(pooling_modes().begin(), pooling_modes().end(), mode) == pooling_modes().end())
      throw Error(ErrorKind::model, "the pooling '" + mode + "' is not known", {},
                  "poolings: " + join(pooling_modes(), ", "));
  return list;
}

bool reads_single_tokens(const std::string& pooling) {
  const std::vector<std::string> list = pooling_list(pooling);
  return std::all_of(list.begin(), list.end(),
                     [](const std::string& mode) { return mode == "cls" || mode == "lasttoken"; });
}

Tensor pooled_rows(const Tensor& states, const data::Batch& batch, const std::string& pooling) {
  std::vector<Tensor> parts;
  for (const std::string& mode : pooling_list(pooling))
    parts.push_back(pooled(states, batch, mode));
  return parts.size() == 1 ? parts.front() : torch::cat(parts, 1);
}

}  // namespace compress::nn
