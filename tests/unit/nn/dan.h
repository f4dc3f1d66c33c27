#pragma once
// A small random deep averaging network for the batches of support.h.

#include "unit/nn/support.h"

namespace compress::nn {

inline ModelState tiny_dan(HeadKind head, int64_t vocabulary = 50, int64_t width = 8,
                           int64_t hidden = 12) {
  ModelState state;
  ModelConfig& c = state.config;
  c.family = "dan";
  c.vocab_size = vocabulary;
  c.embedding_size = width;
  c.hidden_size = hidden;
  c.initializer_range = 0.1;
  c.activation = "relu";
  c.raw = Json::object();
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(7);
  auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    state.tensors[name] = torch::empty(shape).normal_(0, 0.4, generator);
  };
  add("embeddings.weight", {vocabulary, width});
  add("dense.0.weight", {hidden, width});
  add("dense.0.bias", {hidden});
  set_head(state, head,
           head == HeadKind::classification ? std::vector<std::string>{"no", "yes"}
                                            : std::vector<std::string>{});
  return state;
}

}  // namespace compress::nn
