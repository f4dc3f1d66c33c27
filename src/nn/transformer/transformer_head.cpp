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

Tensor Transformer::read_tokens(const StackModules& stack, const data::Batch& batch,
                                const Capture& capture, const Pass& pass) const {
  const auto layers = static_cast<int64_t>(stack.layers.size());
  const Layer& layer = stack.layers.back();
  const AttentionShape& shape = layer.self.shape;
  // A row's only query would lie at its last key.
  const bool placed = shape.causal || shape.window > 0 || stack.relative_bias != nullptr;
  const bool drawn =
      pass.training && (!plugs_.empty() || config_.activation_dropout > 0 || plan_.final_dropout ||
                        config_.hidden_size % 4 != 0 || pass.precision == Precision::fp16);
  if (!batch.offsets.is_cpu() || layer.crosses || placed || drawn || capture.hidden.has(layers) ||
      capture.attention.has(layers - 1))
    return {};
  auto reads_first = [&](const HeadModules& head) {
    if (!head.layers.empty()) return false;
    if (head.kind == HeadKind::embedding) return config_.pooling == "cls";
    return head.plan.from == HeadPlan::From::first &&
           (head.pooler.weight != nullptr || !head.plan.out.empty());
  };
  bool all = reads_first(head_);
  for (const HeadModules& head : more_heads_)
    if (capture.heads.contains(head.name)) all = all && reads_first(head);
  return all ? batch.offsets.slice(0, 0, batch.rows()) : Tensor();
}

Tensor Transformer::embedding(Tensor x, bool training) const {
  if (projection_.weight != nullptr) x = projection_(x, {training});
  return config_.normalize ? x / x.norm(2, 1, /*keepdim=*/true).clamp_min(1e-12) : x;
}

Tensor Transformer::transformed(const HeadModules& head, Tensor x, DropoutSeeds& seeds,
                                int64_t first) const {
  const HeadPlan& plan = head.plan;
  if (plan.first_dropout > 0) x = drop(x, plan.first_dropout, seeds, first);
  if (head.dense.weight != nullptr) {
    x = head.dense(x.to(torch::kFloat32), {seeds.training()});
    const std::string& name = plan.dense_activation;
    if (!name.empty()) x = name == "tanh" ? torch::tanh(x) : activation(x, name);
  }
  if (head.dense_norm.weight != nullptr) x = head.dense_norm(x);
  if (plan.dropout > 0) x = drop(x, plan.dropout, seeds, first);
  return plan.scale == 1 ? x : x * plan.scale;
}

Tensor Transformer::projected(const HeadModules& head, const Tensor& x, torch::ScalarType type,
                              bool training) const {
  const Parameter* bias = head.out_bias;
  if (!head.plan.out_tied) {
    Tensor y = head.out(x, {training}).to(torch::kFloat32);
    return bias == nullptr ? y : y + bias->effective;
  }
  const StackModules& stack = decoder_.layers.empty() ? encoder_ : decoder_;
  const Linear table{stack.embeddings.word, nullptr};
  Tensor y;
  if (table.weight->packed != nullptr && type == torch::kFloat32) {
    y = table(x.to(type), {training});
  } else {
    y = at::linear(x.to(type), table.weight->effective.to(type)).to(torch::kFloat32);
  }
  return bias == nullptr ? y : y + bias->effective;
}

void Transformer::run_token_head(const HeadModules& head, const Tensor& states,
                                 const data::Batch& batch, DropoutSeeds& seeds,
                                 HeadOutputs& out) const {
  const HeadPlan& plan = head.plan;
  const data::Targets& targets = batch.targets;
  // Which tokens were changed is said of every token.
  const bool all = head.kind == HeadKind::span ||
                   (head.kind == HeadKind::replaced_token && targets.changed.defined());
  const Tensor& labels = targets.token_labels;
  Tensor x = states;
  // Dropout of a token does not depend on which others have a label.
  const bool early = head.dense.weight == nullptr && plan.dropout > 0;
  if (early) x = drop(x, plan.dropout, seeds, seeds.first_token());
  if (labels.defined() && !all) {
    // Looking for labels on a device would wait for it.
    const Tensor& listed = targets.token_index;
    out.token_index = listed.defined() ? listed : labels.ne(-100).nonzero().squeeze(1);
    if (out.token_index.size(0) != x.size(0)) x = x.index_select(0, out.token_index);
  } else {
    out.token_index = torch::arange(states.size(0), batch.token_ids.options());
  }
  if (!early) x = transformed(head, x, seeds, seeds.first_token());
  out.token_logits = projected(head, x, states.scalar_type(), seeds.training());
}

void Transformer::run_head(const HeadModules& head, const Tensor& states, const StackPass& run,
                           DropoutSeeds& seeds, bool pooled, HeadOutputs& out) const {
  const HeadPlan& plan = head.plan;
  const data::Batch& batch = run.batch;
  const Tensor alone = run.read.alone ? states.to(torch::kFloat32) : Tensor();
  if (head.kind == HeadKind::embedding) {
    out.pooled = embedding(alone.defined() ? alone : pooled_rows(states, batch, config_.pooling),
                           seeds.training());
    return;
  }
  if (plan.from == HeadPlan::From::tokens) {
    if (!plan.out.empty()) run_token_head(head, states, batch, seeds, out);
    return;
  }
  if (head.pooler.weight == nullptr && plan.out.empty()) return;
  Tensor x = alone.defined() ? alone : pool(states, batch, plan.from);
  if (head.pooler.weight != nullptr) x = torch::tanh(head.pooler(x, {seeds.training()}));
  if (pooled || plan.out.empty()) out.pooled = x;
  if (plan.out.empty()) return;
  x = transformed(head, x, seeds, seeds.first_row());
  out.logits = projected(head, x, torch::kFloat32, seeds.training());
}

void Transformer::run_heads(const StackModules& stack, const Tensor& states, const Capture& capture,
                            StackPass& run, Outputs& out) {
  run_head(head_, run.rows.of(states), run, run.seeds, capture.pooled, out);
  for (const HeadModules& head : more_heads_) {
    if (!capture.heads.contains(head.name)) continue;
    // Draws of its own: what one head draws does not change with the others.
    DropoutSeeds seeds = run.seeds.apart(head.name);
    Tensor own = states;
    if (!head.layers.empty()) {
      const size_t from = stack.layers.size() - head.layers.size();
      StackPass branch(run, seeds);
      own = run_layers(stack, head.layers, head.final_norm, from, run.kept.at(from), branch);
    }
    run_head(head, run.rows.of(own), run, seeds, capture.pooled, out.more[head.name]);
  }
}

}  // namespace compress::nn
