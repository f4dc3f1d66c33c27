#include "stages/measure/arithmetic.h"

namespace compress::pipeline {

using torch::Tensor;

Tensor contribution_sums(const std::vector<Tensor>& hidden, const Tensor& tokens) {
  std::vector<Tensor> sums;
  auto chosen = [&](const Tensor& states) {
    const Tensor rows = tokens.defined() ? states.index_select(0, tokens) : states;
    return rows.to(torch::kFloat64);
  };
  for (size_t layer = 0; layer + 1 < hidden.size(); ++layer)
    sums.push_back(
        at::cosine_similarity(chosen(hidden[layer]), chosen(hidden[layer + 1]), 1, 1e-12).sum());
  return torch::stack(sums).cpu();
}

Tensor token_losses(const Tensor& logits, const Tensor& labels) {
  return at::cross_entropy_loss(logits, labels, {}, at::Reduction::None).to(torch::kFloat32).cpu();
}

Joined join_rows(const Tensor& rows, const Tensor& counts, const Tensor& values) {
  const int64_t n = rows.size(0);
  Tensor ordered = torch::zeros({n}, torch::kInt64);
  ordered.index_copy_(0, rows, counts);
  Joined joined;
  joined.offsets = torch::cat({torch::zeros({1}, torch::kInt64), ordered.cumsum(0)});
  joined.values = torch::empty_like(values);
  const auto* row = rows.const_data_ptr<int64_t>();
  const auto* count = counts.const_data_ptr<int64_t>();
  const auto* offset = joined.offsets.const_data_ptr<int64_t>();
  int64_t at = 0;
  for (int64_t i = 0; i < n; ++i) {
    joined.values.narrow(0, offset[row[i]], count[i]).copy_(values.narrow(0, at, count[i]));
    at += count[i];
  }
  return joined;
}

Sets hard_tokens_of(const Tensor& logits, const data::Batch& batch, double above,
                    const std::vector<int32_t>& special) {
  const Tensor ids = batch.token_ids;
  Tensor hard = above < 0 ? logits.argmax(1).ne(ids)
                          : at::cross_entropy_loss(logits, ids, {}, at::Reduction::None).gt(above);
  Tensor ordinary = torch::ones_like(hard);
  for (int32_t id : special) ordinary = ordinary.logical_and(ids.ne(id));
  hard = hard.logical_and(ordinary).cpu();
  Sets sets;
  sets.ordinary = ordinary.sum().item<int64_t>();
  const Tensor places = hard.nonzero().squeeze(1);
  sets.positions = batch.positions.cpu().index_select(0, places).to(torch::kInt32);
  for (size_t row = 0; row + 1 < batch.row_offsets.size(); ++row)
    sets.counts.push_back(
        hard.slice(0, batch.row_offsets[row], batch.row_offsets[row + 1]).sum().item<int64_t>());
  return sets;
}

}  // namespace compress::pipeline
