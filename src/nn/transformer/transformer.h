#pragma once
// The model of every family: one or two stacks of layers and a head, composed as the family's
// Architecture says.

#include <memory>
#include <vector>

#include "compress/nn/architecture.h"
#include "compress/nn/decoding.h"
#include "compress/nn/layers.h"
#include "compress/nn/plugs.h"
#include "transformer/assembler.h"

namespace compress::nn {

struct AttentionLayer {
  FusedLinear inputs;  // query, key, value; key and value alone where the layer looks elsewhere
  Linear joined;       // or all three in one matrix
  Linear query;        // of a layer that looks elsewhere
  Linear output;
  Norm norm, query_norm, key_norm;
  AttentionShape shape;
};

struct FeedForwardLayer {
  FusedLinear gate_and_up;  // of a gated unit
  Linear in, out;
  Norm norm;
};

struct Layer {
  int64_t number = 0;  // counted through the encoder, then the decoder
  AttentionLayer self, across;
  bool crosses = false;
  FeedForwardLayer feed_forward;
};

// The modules of a stack.
struct StackModules {
  std::vector<Layer> layers;
  Embeddings embeddings;
  Norm embedding_norm, final_norm;
  Linear projection;
  Parameter* relative_bias = nullptr;
  Rotary rotary;
};

// A stack's way through one batch.
struct Run;

class Transformer : public Model {
 public:
  // `config` is the state's, completed.
  Transformer(const ModelState& state, const ModelConfig& config, uint64_t seed);

  Outputs forward(const data::Batch& batch, const Capture& capture, const Pass& pass) override;
  Decoding begin_decoding(const data::Batch& batch, int64_t copies, int64_t capacity,
                          const Pass& pass) override;
  torch::Tensor decode(Decoding& decoding, const data::Batch& tokens, const Pass& pass) override;

 private:
  void add_stack(Assembler& assemble, const Stack& plan, int64_t first, StackModules& stack);
  void add_embeddings(Assembler& assemble, const Stack& plan, StackModules& stack);
  AttentionLayer attention_layer(Assembler& assemble, const std::string& prefix,
                                 const AttentionNames& names, const Stack& plan, int64_t number,
                                 bool across);
  FeedForwardLayer feed_forward_layer(Assembler& assemble, const std::string& prefix,
                                      const Stack& plan, int64_t number);
  void add_head(Assembler& assemble);
  void fuse(FusedLinear& group);
  Norm norm(Assembler& assemble, const std::string& name, int64_t number, int64_t width);

  // [rows, H] -> [rows, H], the stack's last states.
  torch::Tensor run(StackModules& stack, Run& run);
  torch::Tensor embed(const StackModules& stack, Run& run);
  // Attention and what follows up to the residual: [rows, H].
  torch::Tensor self_attention(const Layer& layer, const StackModules& stack,
                               const torch::Tensor& x, Run& run);
  torch::Tensor cross_attention(const Layer& layer, const torch::Tensor& x, Run& run);
  torch::Tensor feed_forward(const Layer& layer, const torch::Tensor& x, Run& run);
  torch::Tensor plugged(const torch::Tensor& x, const Layer& layer, Sublayer sublayer,
                        const Run& run) const;
  // What all layers of the stack share: rows, tables of positions.
  void prepare(StackModules& stack, Run& run);
  torch::Tensor relative_bias(const StackModules& stack, int64_t reach, bool causal) const;

  // The states [T, H] of the stack that the head reads.
  void run_head(const torch::Tensor& states, const data::Batch& batch, DropoutSeeds& seeds,
                const Capture& capture, Outputs& out) const;
  void run_token_head(const torch::Tensor& states, const data::Batch& batch, DropoutSeeds& seeds,
                      Outputs& out) const;
  torch::Tensor pool(const torch::Tensor& states, const data::Batch& batch,
                     HeadPlan::From from) const;
  // The embedding head's output, [B, width].
  torch::Tensor embedding(const torch::Tensor& states, const data::Batch& batch,
                          bool training) const;
  // From states (of tokens or rows) to the layer `out`'s input, and through it.
  torch::Tensor transformed(torch::Tensor x, DropoutSeeds& seeds, int64_t first) const;
  // A tied table is multiplied in `type`.
  torch::Tensor projected(const torch::Tensor& x, torch::ScalarType type, bool training) const;

  Architecture plan_;
  StackModules encoder_, decoder_;
  Linear pooler_, dense_, out_, projection_;
  Norm dense_norm_;
  Parameter* out_bias_ = nullptr;
};

}  // namespace compress::nn
