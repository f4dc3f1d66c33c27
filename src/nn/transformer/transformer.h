#pragma once
// The model of every family: one or two stacks of layers and a head, composed as the family's
// Architecture says.

#include <memory>
#include <vector>

#include "compress/nn/architecture.h"
#include "compress/nn/attachment.h"
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

// The modules of a head, and the layers that it has of its own.
struct HeadModules {
  std::string name;  // "" for the model's own
  HeadKind kind = HeadKind::none;
  HeadPlan plan;
  Linear pooler, dense, out;
  Norm dense_norm;
  Parameter* out_bias = nullptr;
  std::vector<Layer> layers;  // in place of the stack's last ones
  Norm final_norm;            // behind them, where the stack has one
};

// A stack's way through one batch.
struct StackPass;

class Transformer : public Model {
 public:
  // `config` is the state's, completed.
  Transformer(const ModelState& state, const ModelConfig& config, uint64_t seed,
              Assembler::Missing missing = Assembler::Missing::problem);

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
  void add_layers(Assembler& assemble, const Stack& plan, int64_t first,
                  std::vector<Layer>& layers);
  void add_more_heads(Assembler& assemble);
  void add_head(Assembler& assemble, HeadModules& head);
  bool reads_table() const;  // some head multiplies with the table of words
  void fuse(std::vector<Layer>& layers);
  void fuse(FusedLinear& group);
  Norm norm(Assembler& assemble, const std::string& name, int64_t number, int64_t width);

  // [rows, H] -> [rows, H], the stack's last states.
  torch::Tensor run(StackModules& stack, StackPass& run);
  torch::Tensor embed(const StackModules& stack, StackPass& run);
  // The states x of a stack before layer `from` through layers and the norm behind them.
  torch::Tensor run_layers(const StackModules& stack, const std::vector<Layer>& layers,
                           const Norm& final_norm, size_t from, torch::Tensor x, StackPass& run);
  // Attention and what follows up to the residual: [rows, H]; where it narrows, of the tokens alone
  // that are read, [B, H].
  torch::Tensor self_attention(const Layer& layer, const StackModules& stack,
                               const torch::Tensor& x, bool narrows, StackPass& run);
  torch::Tensor cross_attention(const Layer& layer, const torch::Tensor& x, StackPass& run);
  torch::Tensor feed_forward(const Layer& layer, const torch::Tensor& x, StackPass& run);
  torch::Tensor plugged(const torch::Tensor& x, const Layer& layer, Sublayer sublayer,
                        const StackPass& run) const;
  // Keys and values of all plugs' prefixes; undefined where there are none.
  std::pair<torch::Tensor, torch::Tensor> prefix(const Layer& layer, Sublayer sublayer,
                                                 const RowInfo& rows) const;
  // The probability of dropout on hidden states.
  double hidden(double dropout) const;
  // The first token of each row where the heads read no others of the stack's last states; else
  // undefined, as where somebody captures the last layer, where draws would become others, and on a
  // card, where rows of one token would have to be laid out by the host.
  torch::Tensor read_tokens(const StackModules& stack, const data::Batch& batch,
                            const Capture& capture, const Pass& pass) const;
  // What all layers of the stack share: rows, tables of positions.
  void prepare(StackModules& stack, StackPass& run);
  torch::Tensor relative_bias(const StackModules& stack, int64_t reach, bool causal) const;

  void keep_branches(const StackModules& stack, const Capture& capture, StackPass& run) const;
  // Heads on the last states of the stack that they read, those with layers of their own on what
  // the run kept for them.
  void run_heads(const StackModules& stack, const torch::Tensor& states, const Capture& capture,
                 StackPass& run, Outputs& out);
  // `states` [T, H], or [B, H] where run.read.alone.
  void run_head(const HeadModules& head, const torch::Tensor& states, const StackPass& run,
                DropoutSeeds& seeds, bool pooled, HeadOutputs& out) const;
  void run_token_head(const HeadModules& head, const torch::Tensor& states,
                      const data::Batch& batch, DropoutSeeds& seeds, HeadOutputs& out) const;
  torch::Tensor pool(const torch::Tensor& states, const data::Batch& batch,
                     HeadPlan::From from) const;
  // The embedding head's output, [B, width], of the pooled states.
  torch::Tensor embedding(torch::Tensor pooled, bool training) const;
  // From states (of tokens or rows) to the layer `out`'s input, and through it.
  torch::Tensor transformed(const HeadModules& head, torch::Tensor x, DropoutSeeds& seeds,
                            int64_t first) const;
  // A tied table is multiplied in `type`.
  torch::Tensor projected(const HeadModules& head, const torch::Tensor& x, torch::ScalarType type,
                          bool training) const;

  Architecture plan_;
  StackModules encoder_, decoder_;
  HeadModules head_;
  std::vector<HeadModules> more_heads_;
  Linear projection_;
  std::vector<std::unique_ptr<Plugs>> attachments_;
};

}  // namespace compress::nn
