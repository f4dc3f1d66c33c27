// The way of a batch through the stacks of a Transformer.

#include <algorithm>
#include <numeric>

#include "compress/base/error.h"
#include "compress/base/hash.h"
#include "compress/base/strings.h"
#include "compress/nn/device.h"
#include "layers/rope.h"
#include "transformer/stack_pass.h"

namespace compress::nn {

using torch::Tensor;

namespace {

// Each head's first columns through a norm of the head's width.
Tensor normed_heads(const Tensor& qkv, const AttentionLayer& layer) {
  const AttentionShape& shape = layer.shape;
  const int64_t rows = qkv.size(0), queries = shape.heads * shape.width,
                keys = shape.keys() * shape.width;
  auto through = [&](const Norm& norm, int64_t begin, int64_t columns) {
    return norm(qkv.narrow(1, begin, columns).reshape({-1, shape.width})).view({rows, columns});
  };
  return torch::cat({through(layer.query_norm, 0, queries), through(layer.key_norm, queries, keys),
                     qkv.narrow(1, queries + keys, keys)},
                    1);
}

// What the decoder reads in place of what it is to write: shifted by one place behind `start`.
data::Batch shifted(const data::Batch& batch, int64_t start) {
  data::Batch out = batch;
  const int64_t tokens = batch.token_ids.size(0);
  Tensor ids = torch::empty_like(batch.token_ids);
  ids.narrow(0, 1, tokens - 1).copy_(batch.token_ids.narrow(0, 0, tokens - 1));
  ids.index_fill_(0, batch.offsets.narrow(0, 0, batch.rows()), start);
  out.token_ids = ids;
  out.segment_ids = torch::zeros_like(ids);
  return out;
}

}  // namespace

Tensor drop(const Tensor& x, double p, DropoutSeeds& seeds, int64_t first) {
  return seeds.training() ? dropout(x, p, seeds.next(), first * x.size(1)) : x;
}

Tensor Transformer::relative_bias(const StackModules& stack, int64_t reach, bool causal) const {
  const Tensor buckets =
      relative_buckets(reach, causal, config_.relative_buckets, config_.relative_distance)
          .to(device());
  return stack.relative_bias->effective.index_select(0, buckets).t().contiguous();
}

void Transformer::prepare(StackModules& stack, StackPass& run) {
  run.tokens = TokenRows::of(run.batch);
  run.own = run.across = {};
  const int64_t past = run.decoding == nullptr ? 0 : run.decoding->capacity;
  if (plan_.positions == Positions::rotary) {
    const int64_t needed = std::max(run.batch.longest, past);
    if (stack.rotary.cos.size(0) < needed || stack.rotary.cos.device() != device()) {
      stack.rotary = rotary_table(config_, std::max(needed, 2 * stack.rotary.cos.size(0)));
      stack.rotary.cos = stack.rotary.cos.to(device());
      stack.rotary.sin = stack.rotary.sin.to(device());
    }
  }
  if (stack.relative_bias == nullptr) return;
  if (run.decoding == nullptr) {
    const Tensor front = prefix(stack.layers.front(), Sublayer::attention, run.rows).first;
    run.prefix = front.defined() ? front.size(0) : 0;
  }
  if (run.decoding != nullptr && run.decoding->distance_bias.defined()) {
    run.distance_bias = run.decoding->distance_bias;
    return;
  }
  const int64_t reach = std::max<int64_t>(1, std::max(run.batch.longest, past) + run.prefix);
  run.distance_bias = relative_bias(stack, reach, &stack == &decoder_);
  if (run.decoding != nullptr) run.decoding->distance_bias = run.distance_bias;
}

Tensor Transformer::embed(const StackModules& stack, StackPass& run) {
  Tensor x = stack.embeddings(run.batch, run.computed);
  if (stack.embedding_norm.weight != nullptr) x = stack.embedding_norm(x);
  if (plan_.embedding_dropout > 0 || stack.embedding_norm.weight != nullptr)
    x = drop(x, hidden(plan_.embedding_dropout), run.seeds, run.seeds.first_token());
  if (stack.projection.weight != nullptr) x = stack.projection(x, run.rows);
  return x.to(dtype(run.pass.precision));
}

Tensor Transformer::plugged(const Tensor& x, const Layer& layer, Sublayer sublayer,
                            const StackPass& run) const {
  Tensor y = x;
  for (Plugs* plugs : plugs_) y = plugs->sublayer_output(y, {layer.number, sublayer}, run.rows);
  return y;
}

std::pair<Tensor, Tensor> Transformer::prefix(const Layer& layer, Sublayer sublayer,
                                              const RowInfo& rows) const {
  std::vector<Tensor> keys, values;
  for (Plugs* plugs : plugs_) {
    auto [own_keys, own_values] = plugs->prefix({layer.number, sublayer}, rows);
    if (!own_keys.defined()) continue;
    keys.push_back(std::move(own_keys));
    values.push_back(std::move(own_values));
  }
  if (keys.empty()) return {};
  if (keys.size() == 1) return {keys.front(), values.front()};
  return {torch::cat(keys), torch::cat(values)};
}

double Transformer::hidden(double dropout) const {
  const bool drops = std::all_of(plugs_.begin(), plugs_.end(),
                                 [](const Plugs* plugs) { return plugs->drops_hidden(); });
  return drops ? dropout : 0;
}

void Fronted::put(const std::pair<Tensor, Tensor>& prefix, const TokenRows& tokens, Tensor& pairs) {
  const Tensor front = torch::cat({prefix.first, prefix.second}, 1).to(pairs.scalar_type());
  const int64_t count = front.size(0);
  if (!places.defined()) {
    std::vector<int64_t> order;
    rows = {};
    for (size_t row = 0; row < tokens.begin.size(); ++row) {
      rows.begin.push_back(static_cast<int64_t>(order.size()));
      for (int64_t i = 0; i < count; ++i) order.push_back(i);
      for (int64_t i = 0; i < tokens.length[row]; ++i)
        order.push_back(count + tokens.begin[row] + i);
      rows.length.push_back(count + tokens.length[row]);
    }
    rows.longest = count + tokens.longest;
    places = torch::tensor(order).to(pairs.device());
  }
  pairs = torch::cat({front, pairs}).index_select(0, places);
}

void StackPass::read_alone() {
  const int64_t count = batch.rows();
  read.alone = true;
  read.rows.longest = 1;
  read.rows.length.assign(static_cast<size_t>(count), 1);
  read.rows.begin.resize(static_cast<size_t>(count));
  std::iota(read.rows.begin.begin(), read.rows.begin.end(), 0);
  seeds.narrow(read.places);
  rows.count = count;
}

Tensor Transformer::self_attention(const Layer& layer, const StackModules& stack, const Tensor& x,
                                   bool narrows, StackPass& run) {
  const AttentionLayer& modules = layer.self;
  const AttentionShape& shape = modules.shape;
  Tensor qkv =
      modules.joined.weight != nullptr ? modules.joined(x, run.rows) : modules.inputs(x, run.rows);
  if (modules.query_norm.weight != nullptr) qkv = normed_heads(qkv, modules);
  if (plan_.positions == Positions::rotary)
    qkv = stack.rotary(qkv, run.batch.positions, shape.heads + shape.keys(), shape.width);
  AttentionInput input;
  input.queries = qkv;
  input.query_rows = &run.tokens;
  input.distance_bias = run.distance_bias;
  const int64_t queries = shape.heads * shape.width, both = 2 * shape.keys() * shape.width;
  if (narrows) {
    run.read_alone();
    input.queries = qkv.narrow(1, 0, queries).index_select(0, run.read.places);
    input.query_rows = &run.read.rows;
    input.pairs = qkv.narrow(1, queries, both);
    input.key_rows = input.drawn_rows = &run.tokens;
  }
  input.first_token = run.seeds.first_token();
  if (run.decoding != nullptr) {  // a prefix lies in front of the keys that are kept
    input.pairs = run.decoding->layers[run.index].self;
    input.pairs.index_copy_(0, run.places, run.rows.of(qkv).narrow(1, queries, both));
    input.key_rows = &run.cached;
  } else if (const auto front = prefix(layer, Sublayer::attention, run.rows);
             front.first.defined()) {
    input.pairs = qkv.narrow(1, queries, both);
    run.own.put(front, run.tokens, input.pairs);
    input.key_rows = &run.own.rows;
  }
  Tensor scores;
  const auto layer_index = static_cast<int64_t>(run.index);
  Tensor* wanted = run.attention.wants(layer_index) ? &scores : nullptr;
  const bool plain = !input.pairs.defined() && !input.distance_bias.defined();
  Tensor mixed = plain && qkv.is_cuda() ? attention(qkv, run.batch, shape, run.seeds, wanted)
                                        : attention(input, shape, run.seeds, wanted);
  run.attention.put(layer_index, scores);
  return plugged(modules.output(mixed, run.rows), layer, Sublayer::attention, run);
}

Tensor Transformer::cross_attention(const Layer& layer, const Tensor& x, StackPass& run) {
  const AttentionLayer& modules = layer.across;
  AttentionInput input;
  input.queries = modules.query(x, run.rows);
  input.query_rows = &run.tokens;
  input.first_token = run.seeds.first_token();
  if (run.decoding != nullptr) {
    input.pairs = run.decoding->layers[run.index].across;
    input.key_rows = &run.decoding->encoder;
  } else {
    input.pairs = modules.inputs(run.memory, run.memory_info);
    input.key_rows = &run.memory_rows;
    if (const auto front = prefix(layer, Sublayer::cross_attention, run.rows);
        front.first.defined()) {
      run.across.put(front, run.memory_rows, input.pairs);
      input.key_rows = &run.across.rows;
    }
  }
  Tensor scores;
  const auto layer_index = static_cast<int64_t>(run.index);
  Tensor mixed =
      attention(input, modules.shape, run.seeds, run.cross.wants(layer_index) ? &scores : nullptr);
  run.cross.put(layer_index, scores);
  return plugged(modules.output(mixed, run.rows), layer, Sublayer::cross_attention, run);
}

Tensor Transformer::feed_forward(const Layer& layer, const Tensor& x, StackPass& run) {
  const FeedForwardLayer& modules = layer.feed_forward;
  Tensor inner = modules.gate_and_up.parts.empty()
                     ? modules.in.activated(x, run.rows, config_.activation)
                     : gated(modules.gate_and_up(x, run.rows), config_.activation);
  if (config_.activation_dropout > 0)
    inner = drop(inner, config_.activation_dropout, run.seeds, run.seeds.first_token());
  return plugged(modules.out(inner, run.rows), layer, Sublayer::feed_forward, run);
}

Tensor Transformer::run(StackModules& stack, StackPass& run) {
  prepare(stack, run);
  const Tensor x = embed(stack, run);
  run.hidden.put(0, run.rows.of(x));
  return run_layers(stack, stack.layers, stack.final_norm, 0, x, run);
}

Tensor Transformer::run_layers(const StackModules& stack, const std::vector<Layer>& layers,
                               const Norm& final_norm, size_t from, Tensor x, StackPass& run) {
  const bool pre = plan_.pre_norm;
  const double p = hidden(config_.hidden_dropout);
  Tensor normed = pre ? layers.front().self.norm(x) : x;
  // A sub-layer's output joins the residual; `next` is the norm of what reads the sum.
  auto add = [&](const Tensor& output, const Norm& own, const Norm& next) {
    if (pre) {
      SumAndNorm both = residual_sum_norm(output, x, next, p, run.seeds);
      x = both.sum;
      normed = both.normed;
    } else {
      x = normed = residual_norm(output, x, own, p, run.seeds);
    }
  };
  for (size_t i = 0; i < layers.size(); ++i) {
    const Layer& layer = layers[i];
    const bool last = i + 1 == layers.size();
    const bool narrows = last && run.read.places.defined();
    run.index = from + i;
    if (const auto kept = run.kept.find(run.index); kept != run.kept.end()) kept->second = x;
    const Norm& inner = layer.feed_forward.norm;
    // `next` is the norm of what reads the state.
    auto change = [&](auto place, const Norm& next) {
      Tensor changed = x;
      for (Plugs* plugs : plugs_) changed = (plugs->*place)(changed, layer.number, run.rows);
      if (changed.is_same(x)) return;
      x = changed;
      normed = pre ? next(x) : x;
    };
    change(&Plugs::before_layer, layer.self.norm);
    const Tensor attended = self_attention(layer, stack, normed, narrows, run);
    if (narrows) x = x.index_select(0, run.read.places);
    add(attended, layer.self.norm, layer.crosses ? layer.across.norm : inner);
    if (layer.crosses) add(cross_attention(layer, normed, run), layer.across.norm, inner);
    change(&Plugs::before_feed_forward, inner);
    add(feed_forward(layer, normed, run), inner, last ? final_norm : layers[i + 1].self.norm);
    if (last && plan_.final_dropout) normed = drop(normed, p, run.seeds, run.seeds.first_token());
    run.hidden.put(static_cast<int64_t>(run.index) + 1, run.rows.of(last ? normed : x));
  }
  return normed;
}

// Notes before which layers the states are kept for heads that branch off there.
void Transformer::keep_branches(const StackModules& stack, const Capture& capture,
                                StackPass& run) const {
  for (const HeadModules& head : more_heads_)
    if (!head.layers.empty() && capture.heads.contains(head.name))
      run.kept.try_emplace(stack.layers.size() - head.layers.size());
}

Outputs Transformer::forward(const data::Batch& batch, const Capture& capture, const Pass& pass) {
  Outputs out;
  if (pass.training) begin_draws(device(), pass.dropout_seed, batch.part);
  const bool encodes = !encoder_.layers.empty(), both = encodes && !decoder_.layers.empty();
  DropoutSeeds seeds(pass.dropout_seed, pass.training, batch.part);
  StackPass first(batch, pass, seeds, device());
  StackModules& reads = encodes ? encoder_ : decoder_;
  const auto layers = static_cast<int64_t>(reads.layers.size());
  first.hidden.open(capture.hidden, out.hidden, layers + 1);
  first.attention.open(capture.attention, out.attention, layers);
  if (!both) {
    keep_branches(reads, capture, first);
    first.read.places = read_tokens(reads, batch, capture, pass);
  }
  const Tensor first_states = run(reads, first);
  if (!both) {
    run_heads(reads, first_states, capture, first, out);
    return out;
  }
  data::Batch read =
      shifted(batch.decoder != nullptr ? *batch.decoder : batch, config_.decoder_start_token_id);
  read.targets = batch.targets;
  DropoutSeeds others(mix64(pass.dropout_seed ^ 0xDEC0DE), pass.training, read.part);
  StackPass second(read, pass, others, device());
  second.memory = first_states;
  second.memory_rows = first.tokens;
  second.memory_info = first.rows;
  const auto writes = static_cast<int64_t>(decoder_.layers.size());
  second.hidden.open(capture.decoder_hidden, out.decoder_hidden, writes + 1);
  second.attention.open(capture.decoder_attention, out.decoder_attention, writes);
  second.cross.open(capture.cross_attention, out.cross_attention, writes);
  keep_branches(decoder_, capture, second);
  const Tensor states = run(decoder_, second);
  run_heads(decoder_, states, capture, second, out);
  return out;
}

}  // namespace compress::nn
