// Building a Transformer out of a state.

#include "transformer/transformer.h"

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/nn/pooling.h"
#include "layers/rope.h"

namespace compress::nn {

using torch::Tensor;

Transformer::Transformer(const ModelState& state, const ModelConfig& config, uint64_t seed)
    : Model(config), plan_(nn::architecture(config)) {
  Assembler assemble(state, params_, seed);
  if (plan_.encoder.layers > 0) add_stack(assemble, plan_.encoder, 0, encoder_);
  if (plan_.decoder.layers > 0) add_stack(assemble, plan_.decoder, plan_.encoder.layers, decoder_);
  add_head(assemble);
  assemble.finish();
  for (StackModules* stack : {&encoder_, &decoder_}) {
    for (Parameter* table :
         {stack->embeddings.word, stack->embeddings.position, stack->embeddings.segment})
      if (table != nullptr) table->row_gradient = true;
    // The tied table of an output layer gives every row a gradient.
    if (stack->embeddings.word != nullptr && plan_.head.out_tied && !plan_.head.out.empty())
      stack->embeddings.word->row_gradient = false;
    if (config_.frozen_positions && stack->embeddings.position != nullptr) {
      stack->embeddings.position->trainable = false;
      stack->embeddings.position->latent.requires_grad_(false);
    }
    for (Layer& layer : stack->layers) {
      fuse(layer.self.inputs);
      if (layer.crosses) fuse(layer.across.inputs);
      fuse(layer.feed_forward.gate_and_up);
    }
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
  for (int64_t i = 0; i < plan.layers; ++i) {
    const std::string prefix = str(plan.layer_prefix, i, ".");
    Layer layer;
    layer.number = first + i;
    layer.self = attention_layer(assemble, prefix, plan.self, plan, layer.number, false);
    layer.crosses = plan.cross;
    if (plan.cross)
      layer.across = attention_layer(assemble, prefix, plan.across, plan, layer.number, true);
    layer.feed_forward = feed_forward_layer(assemble, prefix, plan, layer.number);
    stack.layers.push_back(std::move(layer));
  }
  if (!plan.final_norm.empty())
    stack.final_norm = norm(assemble, plan.final_norm, -1, config_.hidden_size);
  if (plan_.positions == Positions::rotary) stack.rotary = rotary_table(config_, 0);
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

void Transformer::add_head(Assembler& assemble) {
  const HeadPlan& head = plan_.head;
  const int64_t h = config_.hidden_size;
  const double fresh = config_.initializer_range;
  const bool predicts = !head.out.empty();
  if (!head.pooler.empty() && (predicts || assemble.has(head.pooler + ".weight")))
    pooler_ = assemble.linear(head.pooler, Role::pooler, -1, h, h, true, fresh);
  if (config_.head == HeadKind::embedding && config_.projection > 0)
    projection_ = assemble.linear("projection", Role::head, -1, config_.projection,
                                  h * static_cast<int64_t>(pooling_list(config_.pooling).size()),
                                  assemble.has("projection.bias"), fresh);
  if (!predicts) return;
  const int64_t dense = head.dense_size > 0 ? head.dense_size : h;
  if (!head.dense.empty())
    dense_ = assemble.linear(head.dense, Role::head, -1, dense, h, true, fresh);
  if (!head.dense_norm.empty())
    dense_norm_ =
        assemble.norm(head.dense_norm, -1, dense, NormKind::layer, config_.norm_eps, true);
  const int64_t in = head.dense.empty() ? h : dense;
  if (!head.out_tied) {
    const bool own_bias = head.out_bias && head.out_bias_name.empty();
    out_ = assemble.linear(head.out, Role::head, -1, head.outputs, in, own_bias, fresh);
    if (out_.weight != nullptr && predicts_tokens(config_.head)) out_.weight->castable = true;
  }
  std::string bias = head.out_bias_name;
  if (bias.empty() && head.out_tied && head.out_bias) bias = head.out + ".bias";
  if (bias.empty()) return;
  std::vector<int64_t> shape = {head.outputs};
  if (head.bias_is_buffer) shape.insert(shape.begin(), 1);
  out_bias_ = assemble.take(bias, Role::bias, -1, shape, 0);
  if (out_bias_ != nullptr && head.bias_is_buffer) {
    out_bias_->trainable = false;
    out_bias_->latent.requires_grad_(false);
  }
}

}  // namespace compress::nn
