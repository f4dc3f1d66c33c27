#pragma once
// A stack's way through one batch.

#include "transformer/transformer.h"

namespace compress::nn {

// `first`: number of the first row of x among the tokens or rows of the update.
torch::Tensor drop(const torch::Tensor& x, double p, DropoutSeeds& seeds, int64_t first);

// Where a stack's captures go. Layers that are not wanted stay undefined.
struct Recorder {
  const Layers* layers = nullptr;
  std::vector<torch::Tensor>* into = nullptr;
  void open(const Layers& wanted, std::vector<torch::Tensor>& list, int64_t count) {
    if (!wanted) return;
    layers = &wanted;
    into = &list;
    list.resize(static_cast<size_t>(count));
  }
  bool wants(int64_t layer) const { return into != nullptr && layers->has(layer); }
  void put(int64_t layer, const torch::Tensor& value) {
    if (wants(layer)) (*into)[static_cast<size_t>(layer)] = value;
  }
};

// Keys of rows behind those of a prefix, which each row has in front.
struct Fronted {
  torch::Tensor places;  // of (prefix, tokens); undefined until it is known
  TokenRows rows;
  // `pairs` [tokens, width] of the rows `tokens` becomes that of `rows`. The prefix has the same
  // length each time.
  void put(const std::pair<torch::Tensor, torch::Tensor>& prefix, const TokenRows& tokens,
           torch::Tensor& pairs);
};

// The first token of each row, where heads read no others behind the last layer: there only its
// queries, its feed-forward unit and its norms are computed.
struct ReadTokens {
  torch::Tensor places;  // [B] int64; undefined: all tokens are read
  TokenRows rows;        // 0 .. B - 1, one token each
  bool alone = false;    // from the last layer on states are those tokens', [B, H]
};

struct StackPass {
  StackPass(const data::Batch& tokens_read, const Pass& how, DropoutSeeds& draws,
            torch::Device device)
      : batch(tokens_read),
        pass(how),
        seeds(draws),
        computed(computed_rows(tokens_read.tokens(), how.precision, device)),
        rows{how.training, tokens_read.tokens(), how.dropout_seed, draws.first_token()} {}

  // The way of a branch, which begins where a head leaves the stack: with draws of its own, and
  // nothing of it is captured.
  StackPass(const StackPass& stack, DropoutSeeds& draws)
      : batch(stack.batch),
        pass(stack.pass),
        seeds(draws),
        computed(stack.computed),
        rows(stack.rows),
        tokens(stack.tokens),
        distance_bias(stack.distance_bias),
        memory(stack.memory),
        memory_rows(stack.memory_rows),
        memory_info(stack.memory_info),
        prefix(stack.prefix),
        own(stack.own),
        across(stack.across) {}

  // Leaves the tokens that are not read behind.
  void read_alone();

  const data::Batch& batch;
  const Pass& pass;
  DropoutSeeds& seeds;
  int64_t computed;
  RowInfo rows;
  TokenRows tokens;
  torch::Tensor distance_bias;
  size_t index = 0;  // of the layer in its stack
  // What a decoder reads of its encoder: the states, their rows and their number.
  torch::Tensor memory;
  TokenRows memory_rows;
  RowInfo memory_info;
  Recorder hidden, attention, cross;
  ReadTokens read;
  std::map<size_t, torch::Tensor> kept;  // the states before a layer, for heads that branch off
  // While text is generated: where the tokens' keys and values go, and all that each row sees.
  Decoding* decoding = nullptr;
  torch::Tensor places;
  TokenRows cached;
  // With keys and values that are plugged in.
  int64_t prefix = 0;
  Fronted own, across;
};

}  // namespace compress::nn
