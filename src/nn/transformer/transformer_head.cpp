// The heads of a Transformer.

#include "compress/nn/pooling.h"
#include "transformer/stack_pass.h"

namespace compress::nn {

using torch::Tensor;

Tensor Transformer::pool(const Tensor& states, const data::Batch& batch,
                         HeadPlan::From from) const {
  if (from == HeadPlan::From::first) return pooled_rows(states, batch, "cls");
  if (from == HeadPlan::From::last || config_.pad_token_id < 0)
    return pooled_rows(states, batch, "lasttoken");
  // The first token of a row that is nothing but padding.
  const Tensor places = torch::arange(batch.token_ids.size(0), batch.token_ids.options());
  const Tensor rows = batch.slots.floor_divide(batch.longest);
  const Tensor starts = batch.offsets.slice(0, 0, batch.rows());
  const Tensor last = starts.scatter_reduce(
      0, rows, places.where(batch.token_ids != config_.pad_token_id, starts.index_select(0, rows)),
      "amax");
  return states.index_select(0, last).to(torch::kFloat32);
}

Tensor Transformer::embedding(const Tensor& states, const data::Batch& batch, bool training) const {
  Tensor x = pooled_rows(states, batch, config_.pooling);
  if (projection_.weight != nullptr) x = projection_(x, {training});
  return config_.normalize ? x / x.norm(2, 1, /*keepdim=*/true).clamp_min(1e-12) : x;
}

Tensor Transformer::transformed(Tensor x, DropoutSeeds& seeds, int64_t first) const {
  const HeadPlan& head = plan_.head;
  if (head.first_dropout > 0) x = drop(x, head.first_dropout, seeds, first);
  if (dense_.weight != nullptr) {
    x = dense_(x.to(torch::kFloat32), {seeds.training()});
    const std::string& name = head.dense_activation;
    if (!name.empty()) x = name == "tanh" ? torch::tanh(x) : activation(x, name);
  }
  if (dense_norm_.weight != nullptr) x = dense_norm_(x);
  if (head.dropout > 0) x = drop(x, head.dropout, seeds, first);
  return head.scale == 1 ? x : x * head.scale;
}

Tensor Transformer::projected(const Tensor& x, torch::ScalarType type, bool training) const {
  if (!plan_.head.out_tied) {
    Tensor y = out_(x, {training}).to(torch::kFloat32);
    return out_bias_ == nullptr ? y : y + out_bias_->effective;
  }
  const StackModules& stack = decoder_.layers.empty() ? encoder_ : decoder_;
  const Linear table{stack.embeddings.word, nullptr};
  Tensor y;
  if (table.weight->packed != nullptr && type == torch::kFloat32) {
    y = table(x.to(type), {training});
  } else {
    y = at::linear(x.to(type), table.weight->effective.to(type)).to(torch::kFloat32);
  }
  return out_bias_ == nullptr ? y : y + out_bias_->effective;
}

void Transformer::run_token_head(const Tensor& states, const data::Batch& batch,
                                 DropoutSeeds& seeds, Outputs& out) const {
  const HeadPlan& head = plan_.head;
  const Tensor& labels = batch.targets.token_labels;
  Tensor x = states;
  // Dropout of a token does not depend on which others have a label.
  const bool early = dense_.weight == nullptr && head.dropout > 0;
  if (early) x = drop(x, head.dropout, seeds, seeds.first_token());
  if (labels.defined() && config_.head != HeadKind::span) {
    // Looking for labels on a device would wait for it.
    const Tensor& listed = batch.targets.token_index;
    out.token_index = listed.defined() ? listed : labels.ne(-100).nonzero().squeeze(1);
    if (out.token_index.size(0) != x.size(0)) x = x.index_select(0, out.token_index);
  } else {
    out.token_index = torch::arange(states.size(0), batch.token_ids.options());
  }
  if (!early) x = transformed(x, seeds, seeds.first_token());
  out.token_logits = projected(x, states.scalar_type(), seeds.training());
}

void Transformer::run_head(const Tensor& states, const data::Batch& batch, DropoutSeeds& seeds,
                           const Capture& capture, Outputs& out) const {
  const HeadPlan& head = plan_.head;
  if (config_.head == HeadKind::embedding) {
    out.pooled = embedding(states, batch, seeds.training());
    return;
  }
  if (head.from == HeadPlan::From::tokens) {
    if (!head.out.empty()) run_token_head(states, batch, seeds, out);
    return;
  }
  if (pooler_.weight == nullptr && head.out.empty()) return;
  Tensor x = pool(states, batch, head.from);
  if (pooler_.weight != nullptr) x = torch::tanh(pooler_(x, {seeds.training()}));
  if (capture.pooled || head.out.empty()) out.pooled = x;
  if (head.out.empty()) return;
  x = transformed(x, seeds, seeds.first_row());
  out.logits = projected(x, torch::kFloat32, seeds.training());
}

}  // namespace compress::nn
