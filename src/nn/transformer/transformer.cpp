// Building a Transformer out of a state.

#include "transformer/transformer.h"

#include <algorithm>

#include "attachments/fitting.h"
#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/nn/pooling.h"
#include "layers/rope.h"

namespace compress::nn {

using torch::Tensor;

Transformer::Transformer(const ModelState& state, const ModelConfig& config, uint64_t seed,
                         Assembler::Missing missing)
    : Model(config), plan_(nn::architecture(config)) {
  Assembler assemble(state, params_, seed, missing);
  if (plan_.encoder.layers > 0) add_stack(assemble, plan_.encoder, 0, encoder_);
  if (plan_.decoder.layers > 0) add_stack(assemble, plan_.decoder, plan_.encoder.layers, decoder_);
  head_.kind = config_.head;
  head_.plan = plan_.head;
  add_head(assemble, head_);
  add_more_heads(assemble);
  assemble.finish();
  for (StackModules* stack : {&encoder_, &decoder_}) {
    for (Parameter* table :
         {stack->embeddings.word, stack->embeddings.position, stack->embeddings.segment})
      if (table != nullptr) table->row_gradient = true;
    // The tied table of an output layer gives every row a gradient.
    if (stack->embeddings.word != nullptr && reads_table())
      stack->embeddings.word->row_gradient = false;
    if (config_.frozen_positions && stack->embeddings.position != nullptr) {
      stack->embeddings.position->trainable = false;
      stack->embeddings.position->latent.requires_grad_(false);
    }
    fuse(stack->layers);
  }
  for (HeadModules& head : more_heads_) fuse(head.layers);
  attachments_ = fit_attachments(state, config_, params_, seed);
  for (const auto& attachment : attachments_) plug(attachment.get());
}

bool Transformer::reads_table() const {
  auto reads = [](const HeadModules& head) { return head.plan.out_tied && !head.plan.out.empty(); };
  return reads(head_) || std::any_of(more_heads_.begin(), more_heads_.end(), reads);
}

void Transformer::fuse(std::vector<Layer>& layers) {
  for (Layer& layer : layers) {
    fuse(layer.self.inputs);
    if (layer.crosses) fuse(layer.across.inputs);
    fuse(layer.feed_forward.gate_and_up);
  }
}

void Transformer::fuse(FusedLinear& group) {
  if (group.parts.empty()) return;
  std::vector<Parameter*> weights, biases;
  for (const Linear& part : group.parts) {
    weights.push_back(part.weight);
    if (part.bias != nullptr) biases.push_back(part.bias);
  }
  group.weight = &params_.fuse(weights);
  if (!biases.empty()) group.bias = &params_.fuse(biases);
}

Norm Transformer::norm(Assembler& assemble, const std::string& name, int64_t number,
                       int64_t width) {
  return assemble.norm(name, static_cast<int>(number), width, plan_.norm, config_.norm_eps);
}

void Transformer::add_embeddings(Assembler& assemble, const Stack& plan, StackModules& stack) {
  const int64_t width = config_.embedding_size;
  Embeddings& tables = stack.embeddings;
  tables.word =
      assemble.take(plan.word + ".weight", Role::embedding, -1, {config_.vocab_size, width});
  if (!plan.position.empty())
    tables.position =
        assemble.take(plan.position + ".weight", Role::embedding, -1, {plan_.position_rows, width});
  if (!plan.segment.empty())
    tables.segment = assemble.take(plan.segment + ".weight", Role::embedding, -1,
                                   {config_.type_vocab_size, width});
  tables.position_offset = plan_.position_offset;
  tables.scale = plan_.embedding_scale;
  if (!plan.embedding_norm.empty())
    stack.embedding_norm = norm(assemble, plan.embedding_norm, -1, width);
  if (!plan.projection.empty())
    stack.projection =
        assemble.linear(plan.projection, Role::other, -1, config_.hidden_size, width, true);
}

void Transformer::add_stack(Assembler& assemble, const Stack& plan, int64_t first,
                            StackModules& stack) {
  add_embeddings(assemble, plan, stack);
  if (!plan.relative_bias.empty())
    stack.relative_bias = assemble.take(plan.relative_bias + ".weight", Role::embedding, -1,
                                        {config_.relative_buckets, plan.heads});
  add_layers(assemble, plan, first, stack.layers);
  if (!plan.final_norm.empty())
    stack.final_norm = norm(assemble, plan.final_norm, -1, config_.hidden_size);
  if (plan_.positions == Positions::rotary) stack.rotary = rotary_table(config_, 0);
}

void Transformer::add_layers(Assembler& assemble, const Stack& plan, int64_t first,
                             std::vector<Layer>& layers) {
  for (int64_t i = 0; i < plan.layers; ++i) {
    const std::string prefix = str(plan.layer_prefix, i, ".");
    Layer layer;
    layer.number = first + i;
    layer.self = attention_layer(assemble, prefix, plan.self, plan, layer.number, false);
    layer.crosses = plan.cross;
    if (plan.cross)
      layer.across = attention_layer(assemble, prefix, plan.across, plan, layer.number, true);
    layer.feed_forward = feed_forward_layer(assemble, prefix, plan, layer.number);
    layers.push_back(std::move(layer));
  }
}

AttentionLayer Transformer::attention_layer(Assembler& assemble, const std::string& prefix,
                                            const AttentionNames& names, const Stack& plan,
                                            int64_t number, bool across) {
  const int64_t hidden = config_.hidden_size,
                width = plan.head_width > 0 ? plan.head_width : config_.head_width,
                mixed = plan.heads * width, shared = plan.kv_heads * width;
  const auto at = static_cast<int>(number);
  auto linear = [&](const std::string& name, Role role, int64_t out, int64_t in, bool bias) {
    return assemble.linear(prefix + name, role, at, out, in, bias);
  };
  AttentionLayer layer;
  if (!names.joined.empty()) {
    layer.joined = linear(names.joined, Role::joined, mixed + 2 * shared, hidden, plan_.query_bias);
  } else {
    Linear query = linear(names.query, Role::query, mixed, hidden, plan_.query_bias);
    if (across)
      layer.query = query;
    else
      layer.inputs.parts.push_back(query);
    layer.inputs.parts.push_back(linear(names.key, Role::key, shared, hidden, plan_.query_bias));
    layer.inputs.parts.push_back(
        linear(names.value, Role::value, shared, hidden, plan_.query_bias));
  }
  layer.output = linear(names.output, Role::attention_output, hidden, mixed, plan_.output_bias);
  if (!names.query_norm.empty()) {
    layer.query_norm = norm(assemble, prefix + names.query_norm, number, width);
    layer.key_norm = norm(assemble, prefix + names.key_norm, number, width);
  }
  layer.norm = norm(assemble, prefix + names.norm, number, hidden);
  layer.shape.heads = plan.heads;
  layer.shape.kv_heads = plan.kv_heads;
  layer.shape.width = width;
  layer.shape.scale = plan_.attention_scale != 0 ? plan_.attention_scale
                                                 : 1.0 / std::sqrt(static_cast<double>(width));
  layer.shape.dropout = config_.attention_dropout;
  layer.shape.causal = plan.causal && !across;
  layer.shape.window = across ? 0 : config_.window;
  return layer;
}

FeedForwardLayer Transformer::feed_forward_layer(Assembler& assemble, const std::string& prefix,
                                                 const Stack& plan, int64_t number) {
  const int64_t hidden = config_.hidden_size, inner = plan.intermediate;
  const FeedForwardNames& names = plan.feed_forward;
  const auto at = static_cast<int>(number);
  FeedForwardLayer layer;
  if (!names.gate.empty())
    layer.gate_and_up.parts.push_back(
        assemble.linear(prefix + names.gate, Role::ffn_in, at, inner, hidden, plan_.linear_bias));
  layer.in = assemble.linear(prefix + names.in, Role::ffn_in, at, inner, hidden, plan_.linear_bias);
  if (!names.gate.empty()) layer.gate_and_up.parts.push_back(layer.in);
  layer.out =
      assemble.linear(prefix + names.out, Role::ffn_out, at, hidden, inner, plan_.linear_bias);
  layer.norm = norm(assemble, prefix + names.norm, number, hidden);
  return layer;
}

void Transformer::add_more_heads(Assembler& assemble) {
  for (const HeadSpec& spec : config_.more_heads) {
    const StackModules& body = decoder_.layers.empty() ? encoder_ : decoder_;
    if (spec.layers > static_cast<int64_t>(body.layers.size()))
      throw Error(ErrorKind::model,
                  str("the head '", spec.name, "' has ", spec.layers,
                      " layers of its own, but the stack has ", body.layers.size()));
    HeadModules head;
    head.name = spec.name;
    head.kind = spec.kind;
    head.plan = head_plan(config_, spec);
    const Stack stack = head_stack(plan_, spec);
    if (spec.layers > 0) {
      const auto before = static_cast<int64_t>(body.layers.size()) - spec.layers;
      add_layers(assemble, stack, body.layers.front().number + before, head.layers);
      if (!stack.final_norm.empty())
        head.final_norm = norm(assemble, stack.final_norm, -1, config_.hidden_size);
    }
    add_head(assemble, head);
    more_heads_.push_back(std::move(head));
  }
}

void Transformer::add_head(Assembler& assemble, HeadModules& head) {
  const HeadPlan& plan = head.plan;
  const int64_t h = config_.hidden_size;
  const double fresh = config_.initializer_range;
  const bool predicts = !plan.out.empty();
  if (!plan.pooler.empty() && (predicts || assemble.has(plan.pooler + ".weight")))
    head.pooler = assemble.linear(plan.pooler, Role::pooler, -1, h, h, true, fresh);
  if (head.kind == HeadKind::embedding && config_.projection > 0)
    projection_ = assemble.linear("projection", Role::head, -1, config_.projection,
                                  h * static_cast<int64_t>(pooling_list(config_.pooling).size()),
                                  assemble.has("projection.bias"), fresh);
  if (!predicts) return;
  const int64_t dense = plan.dense_size > 0 ? plan.dense_size : h;
  if (!plan.dense.empty())
    head.dense = assemble.linear(plan.dense, Role::head, -1, dense, h, true, fresh);
  if (!plan.dense_norm.empty())
    head.dense_norm =
        assemble.norm(plan.dense_norm, -1, dense, NormKind::layer, config_.norm_eps, true);
  const int64_t in = plan.dense.empty() ? h : dense;
  if (!plan.out_tied) {
    const bool own_bias = plan.out_bias && plan.out_bias_name.empty();
    head.out = assemble.linear(plan.out, Role::head, -1, plan.outputs, in, own_bias, fresh);
    if (head.out.weight != nullptr && predicts_tokens(head.kind)) head.out.weight->castable = true;
  }
  std::string bias = plan.out_bias_name;
  if (bias.empty() && plan.out_tied && plan.out_bias) bias = plan.out + ".bias";
  if (bias.empty()) return;
  std::vector<int64_t> shape = {plan.outputs};
  if (plan.bias_is_buffer) shape.insert(shape.begin(), 1);
  head.out_bias = assemble.take(bias, Role::bias, -1, shape, 0);
  if (head.out_bias != nullptr && plan.bias_is_buffer) {
    head.out_bias->trainable = false;
    head.out_bias->latent.requires_grad_(false);
  }
}

}  // namespace compress::nn
