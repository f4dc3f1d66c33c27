#pragma once
// Small models of every kind of family whose values say where they come from: element (r, c) of a
// matrix is 1000 r + c, element r of a vector r.

#include "compress/base/strings.h"
#include "compress/nn/architecture.h"
#include "compress/recipe/options.h"
#include "compress/surgery/surgery.h"
#include "unit/nn/support.h"

namespace compress::surgery {

inline torch::Tensor places(const std::vector<int64_t>& shape) {
  torch::Tensor rows = torch::arange(shape[0], torch::kFloat32);
  if (shape.size() == 1) return rows;
  return rows.unsqueeze(1) * 1000 + torch::arange(shape[1], torch::kFloat32);
}

class StateMaker {
 public:
  explicit StateMaker(const nn::Json& json) {
    state_.config = nn::family(json.at("model_type")).read_config(json);
    plan_ = nn::architecture(state_.config);
  }

  nn::ModelState make() {
    if (plan_.encoder.layers > 0) add_stack(plan_.encoder);
    if (plan_.decoder.layers > 0) add_stack(plan_.decoder);
    return state_;
  }

 private:
  void linear(const std::string& module, int64_t out, int64_t in, bool bias) {
    if (module.empty()) return;
    state_.tensors[module + ".weight"] = places({out, in});
    if (bias) state_.tensors[module + ".bias"] = places({out});
  }
  void norm(const std::string& module, int64_t width) {
    if (module.empty()) return;
    state_.tensors[module + ".weight"] = places({width});
    if (plan_.norm == nn::NormKind::layer) state_.tensors[module + ".bias"] = places({width});
  }
  void table(const std::string& module, int64_t rows, int64_t width) {
    if (!module.empty()) state_.tensors[module + ".weight"] = places({rows, width});
  }
  void attention(const std::string& p, const nn::AttentionNames& n, const nn::Stack& s) {
    const nn::ModelConfig& c = state_.config;
    const int64_t q = s.heads * c.head_width, kv = s.kv_heads * c.head_width, h = c.hidden_size;
    auto at = [&](const std::string& name) { return name.empty() ? name : p + name; };
    linear(at(n.query), q, h, plan_.query_bias);
    linear(at(n.key), kv, h, plan_.query_bias);
    linear(at(n.value), kv, h, plan_.query_bias);
    linear(at(n.joined), q + 2 * kv, h, plan_.query_bias);
    linear(at(n.output), h, q, plan_.output_bias);
    norm(at(n.norm), h);
    norm(at(n.query_norm), c.head_width);
    norm(at(n.key_norm), c.head_width);
  }
  void add_stack(const nn::Stack& s) {
    const nn::ModelConfig& c = state_.config;
    const int64_t h = c.hidden_size, e = c.embedding_size;
    table(s.word, c.vocab_size, e);
    table(s.position, plan_.position_rows, e);
    table(s.segment, c.type_vocab_size, e);
    table(s.relative_bias, c.relative_buckets, s.heads);
    norm(s.embedding_norm, e);
    linear(s.projection, h, e, true);
    norm(s.final_norm, h);
    for (int64_t i = 0; i < s.layers; ++i) {
      const std::string p = str(s.layer_prefix, i, ".");
      attention(p, s.self, s);
      if (s.cross) attention(p, s.across, s);
      if (!s.feed_forward.gate.empty())
        linear(p + s.feed_forward.gate, s.intermediate, h, plan_.linear_bias);
      linear(p + s.feed_forward.in, s.intermediate, h, plan_.linear_bias);
      linear(p + s.feed_forward.out, h, s.intermediate, plan_.linear_bias);
      norm(p + s.feed_forward.norm, h);
    }
  }

  nn::ModelState state_;
  nn::Architecture plan_;
};

inline nn::ModelState bert_state() {
  return StateMaker({{"model_type", "bert"},
                     {"architectures", {"BertModel"}},
                     {"vocab_size", 60},
                     {"hidden_size", 8},
                     {"num_hidden_layers", 4},
                     {"num_attention_heads", 2},
                     {"intermediate_size", 12},
                     {"max_position_embeddings", 20}})
      .make();
}
inline nn::ModelState electra_state() {
  return StateMaker({{"model_type", "electra"},
                     {"architectures", {"ElectraModel"}},
                     {"vocab_size", 60},
                     {"hidden_size", 8},
                     {"embedding_size", 6},
                     {"num_hidden_layers", 2},
                     {"num_attention_heads", 2},
                     {"intermediate_size", 12},
                     {"max_position_embeddings", 20}})
      .make();
}
inline nn::ModelState gpt2_state() {
  return StateMaker({{"model_type", "gpt2"},
                     {"architectures", {"GPT2LMHeadModel"}},
                     {"vocab_size", 60},
                     {"n_embd", 8},
                     {"n_layer", 4},
                     {"n_head", 2},
                     {"n_positions", 20}})
      .make();
}
inline nn::ModelState llama_state(bool tied = true) {
  nn::ModelState state = StateMaker({{"model_type", "llama"},
                                     {"architectures", {"LlamaForCausalLM"}},
                                     {"vocab_size", 60},
                                     {"hidden_size", 8},
                                     {"num_hidden_layers", 4},
                                     {"num_attention_heads", 4},
                                     {"num_key_value_heads", 2},
                                     {"head_dim", 4},
                                     {"intermediate_size", 12},
                                     {"max_position_embeddings", 20},
                                     {"tie_word_embeddings", tied},
                                     {"eos_token_id", 2},
                                     {"layer_types", {"a", "b", "c", "d"}}})
                             .make();
  if (!tied) state.tensors["lm_head.weight"] = places({60, 8});
  return state;
}
inline nn::ModelState t5_state() {
  return StateMaker({{"model_type", "t5"},
                     {"architectures", {"T5ForConditionalGeneration"}},
                     {"vocab_size", 60},
                     {"d_model", 8},
                     {"d_kv", 4},
                     {"d_ff", 12},
                     {"num_layers", 4},
                     {"num_decoder_layers", 3},
                     {"num_heads", 2}})
      .make();
}
inline nn::ModelState bart_state() {
  nn::ModelState state = StateMaker({{"model_type", "bart"},
                                     {"architectures", {"BartForConditionalGeneration"}},
                                     {"vocab_size", 60},
                                     {"d_model", 8},
                                     {"encoder_layers", 4},
                                     {"decoder_layers", 2},
                                     {"encoder_attention_heads", 2},
                                     {"decoder_attention_heads", 2},
                                     {"encoder_ffn_dim", 12},
                                     {"decoder_ffn_dim", 12},
                                     {"max_position_embeddings", 20}})
                             .make();
  state.tensors["final_logits_bias"] = torch::arange(60, torch::kFloat32).unsqueeze(0);
  return state;
}

inline recipe::Component component_of(const std::string& text) {
  recipe::Component component;
  recipe::Problems problems;
  edits().read(recipe::parse_text(text, "recipe.yaml"), component, problems);
  problems.raise();
  return component;
}
inline void edit(const std::string& text, nn::ModelState& state, Workshop& workshop) {
  apply({component_of(text)}, state, workshop);
}
inline void edit(const std::string& text, nn::ModelState& state) {
  Workshop workshop(0);
  edit(text, state, workshop);
}

// Whether the model can be built and gives numbers.
inline bool runs(nn::ModelState state) {
  for (auto& [name, tensor] : state.tensors) tensor = torch::full_like(tensor, 0.01);
  std::unique_ptr<nn::Model> model = nn::build(state, 1);
  model->params().refresh(nn::Precision::float32);
  data::Batch batch = nn::random_batch({5, 3});
  if (model->config().encoder_decoder())
    batch.decoder = std::make_shared<data::Batch>(nn::random_batch({4, 2}, 9));
  nn::Capture capture;
  capture.hidden = true;
  nn::Outputs out = model->forward(batch, capture, {});
  const torch::Tensor& last = out.token_logits.defined() ? out.token_logits : out.hidden.back();
  return last.isfinite().all().item<bool>();
}

}  // namespace compress::surgery
