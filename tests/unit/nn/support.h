#pragma once
// A small random BERT and batches for it.

#include <ATen/CPUGeneratorImpl.h>

#include "compress/base/random.h"
#include "compress/base/strings.h"
#include "compress/nn/model.h"

namespace compress::nn {

inline ModelState tiny_bert(HeadKind head, int64_t layers = 2, int64_t heads = 4,
                            int64_t hidden = 32) {
  ModelState state;
  ModelConfig& c = state.config;
  c.family = "bert";
  c.vocab_size = 50;
  c.hidden_size = hidden;
  c.layers = layers;
  c.attention_heads = heads;
  c.intermediate_size = 64;
  c.max_positions = 64;
  c.type_vocab_size = 2;
  c.raw = Json::object();
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(7);
  auto add = [&](const std::string& name, std::vector<int64_t> shape, double mean = 0) {
    state.tensors[name] = torch::empty(shape).normal_(0, 0.2, generator).add_(mean);
  };
  add("embeddings.word_embeddings.weight", {50, hidden});
  add("embeddings.position_embeddings.weight", {64, hidden});
  add("embeddings.token_type_embeddings.weight", {2, hidden});
  add("embeddings.LayerNorm.weight", {hidden}, 1);
  add("embeddings.LayerNorm.bias", {hidden});
  for (int64_t i = 0; i < layers; ++i) {
    std::string p = str("encoder.layer.", i, ".");
    for (const char* part : {"attention.self.query", "attention.self.key", "attention.self.value",
                             "attention.output.dense"}) {
      add(p + part + ".weight", {hidden, hidden});
      add(p + part + ".bias", {hidden});
    }
    add(p + "intermediate.dense.weight", {64, hidden});
    add(p + "intermediate.dense.bias", {64});
    add(p + "output.dense.weight", {hidden, 64});
    add(p + "output.dense.bias", {hidden});
    for (const char* norm : {"attention.output.LayerNorm", "output.LayerNorm"}) {
      add(p + norm + ".weight", {hidden}, 1);
      add(p + norm + ".bias", {hidden});
    }
  }
  add("pooler.dense.weight", {hidden, hidden});
  add("pooler.dense.bias", {hidden});
  set_head(state, head,
           head == HeadKind::classification ? std::vector<std::string>{"no", "yes"}
                                            : std::vector<std::string>{});
  return state;
}

// Rows of the given lengths with random tokens.
inline data::Batch random_batch(const std::vector<int64_t>& lengths, uint64_t seed = 3) {
  data::Batch batch;
  Random random(seed);
  std::vector<int64_t> ids, segments, positions, slots;
  batch.row_offsets = {0};
  for (int64_t length : lengths) batch.longest = std::max(batch.longest, length);
  for (size_t row = 0; row < lengths.size(); ++row) {
    for (int64_t p = 0; p < lengths[row]; ++p) {
      ids.push_back(static_cast<int64_t>(random.below(50)));
      segments.push_back(p > lengths[row] / 2 ? 1 : 0);
      positions.push_back(p);
      slots.push_back(static_cast<int64_t>(row) * batch.longest + p);
    }
    batch.row_offsets.push_back(static_cast<int64_t>(ids.size()));
    batch.example_ids.push_back(static_cast<int64_t>(row));
  }
  batch.token_ids = torch::tensor(ids);
  batch.segment_ids = torch::tensor(segments);
  batch.positions = torch::tensor(positions);
  batch.slots = torch::tensor(slots);
  batch.offsets = torch::tensor(batch.row_offsets);
  return batch;
}

}  // namespace compress::nn
