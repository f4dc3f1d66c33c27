#pragma once
// Small random models that write text: GPT-2 and T5 of one layer a stack, 50 tokens.

#include <ATen/CPUGeneratorImpl.h>

#include "compress/base/strings.h"
#include "compress/nn/model.h"

namespace compress::nn {

// Random tensors of a state.
class TensorMaker {
 public:
  explicit TensorMaker(ModelState& state) : state_(state) {}
  void matrix(const std::string& name, std::vector<int64_t> shape) {
    state_.tensors[name + ".weight"] = torch::empty(shape).normal_(0, 0.2, generator_);
  }
  void linear(const std::string& name, int64_t out, int64_t in) {
    matrix(name, {out, in});
    state_.tensors[name + ".bias"] = torch::empty({out}).normal_(0, 0.2, generator_);
  }
  void norm(const std::string& name, int64_t width, bool bias) {
    state_.tensors[name + ".weight"] = torch::empty({width}).normal_(1, 0.2, generator_);
    if (bias) state_.tensors[name + ".bias"] = torch::empty({width}).normal_(0, 0.2, generator_);
  }

 private:
  ModelState& state_;
  at::Generator generator_ = at::make_generator<at::CPUGeneratorImpl>(7);
};

inline ModelState tiny_gpt2(int64_t layers = 1, int64_t width = 16) {
  ModelState state;
  ModelConfig& c = state.config;
  c.family = "gpt2";
  c.vocab_size = 50;
  c.hidden_size = width;
  c.layers = layers;
  c.attention_heads = 2;
  c.intermediate_size = 4 * width;
  c.max_positions = 64;
  c.activation = "gelu_new";
  c.raw = Json::object();
  TensorMaker add(state);
  add.matrix("wte", {50, width});
  add.matrix("wpe", {64, width});
  for (int64_t i = 0; i < layers; ++i) {
    const std::string p = str("h.", i, ".");
    add.norm(p + "ln_1", width, true);
    add.linear(p + "attn.c_attn", 3 * width, width);
    add.linear(p + "attn.c_proj", width, width);
    add.norm(p + "ln_2", width, true);
    add.linear(p + "mlp.c_fc", 4 * width, width);
    add.linear(p + "mlp.c_proj", width, 4 * width);
  }
  add.norm("ln_f", width, true);
  set_head(state, HeadKind::causal_lm, {});
  return state;
}

inline ModelState tiny_t5(int64_t layers = 1, int64_t width = 16) {
  ModelState state;
  ModelConfig& c = state.config;
  c.family = "t5";
  c.vocab_size = 50;
  c.hidden_size = width;
  c.attention_heads = c.decoder_heads = 2;
  c.layers = c.decoder_layers = layers;
  c.intermediate_size = c.decoder_intermediate_size = 32;
  c.head_width = width / 2;
  c.relative_buckets = 32;
  c.relative_distance = 128;
  c.activation = "relu";
  c.decoder_start_token_id = 0;
  c.raw = Json::object();
  TensorMaker add(state);
  add.matrix("shared", {50, width});
  for (const char* stack : {"encoder", "decoder"}) {
    const bool decoder = std::string(stack) == "decoder";
    for (int64_t i = 0; i < layers; ++i) {
      const std::string p = str(stack, ".block.", i, ".layer.");
      auto attention = [&](const std::string& place, const std::string& name) {
        for (const char* part : {"q", "k", "v", "o"})
          add.matrix(p + place + "." + name + "." + part, {width, width});
        add.norm(p + place + ".layer_norm", width, false);
      };
      attention("0", "SelfAttention");
      if (i == 0) add.matrix(p + "0.SelfAttention.relative_attention_bias", {32, 2});
      if (decoder) attention("1", "EncDecAttention");
      const std::string last = p + (decoder ? "2" : "1");
      add.matrix(last + ".DenseReluDense.wi", {32, width});
      add.matrix(last + ".DenseReluDense.wo", {width, 32});
      add.norm(last + ".layer_norm", width, false);
    }
    add.norm(str(stack, ".final_layer_norm"), width, false);
  }
  set_head(state, HeadKind::seq2seq_lm, {});
  return state;
}

}  // namespace compress::nn
