// GPT-2 (Radford et al. 2019) and DistilGPT2: pre-norm decoder, learned positions. Matrices lie on
// disk as [in, out], query, key and value in one.

#include "families/families.h"

namespace compress::nn {

namespace {

Architecture gpt2_plan(const ModelConfig& c) {
  Architecture a;
  a.pre_norm = true;
  a.position_rows = c.max_positions;
  a.embedding_dropout = c.embedding_dropout;
  Stack& s = a.decoder;
  s.layers = c.layers;
  s.heads = s.kv_heads = c.attention_heads;
  s.intermediate = c.intermediate_size;
  s.causal = true;
  s.layer_prefix = "h.";
  s.self.joined = "attn.c_attn";
  s.self.output = "attn.c_proj";
  s.self.norm = "ln_1";
  s.feed_forward.in = "mlp.c_fc";
  s.feed_forward.out = "mlp.c_proj";
  s.feed_forward.norm = "ln_2";
  s.word = "wte";
  s.position = "wpe";
  s.final_norm = "ln_f";
  a.head = decoder_head(c, "classifier");
  return a;
}

void gpt2_finish(ModelConfig& config, const Json& json) {
  if (config.intermediate_size == 0) config.intermediate_size = 4 * config.hidden_size;
  if (config.classifier_dropout < 0) config.classifier_dropout = config.hidden_dropout;
  if (json.contains("hidden_dropout") && !json.contains("classifier_dropout") &&
      json["hidden_dropout"].is_number())
    config.classifier_dropout = json["hidden_dropout"].get<double>();
  expect_switch(config, json, "scale_attn_by_inverse_layer_idx", false);
  expect_switch(config, json, "add_cross_attention", false);
  expect_switch(config, json, "scale_attn_weights", true);
}

}  // namespace

Family gpt2_family() {
  using C = ModelConfig;
  Family f;
  f.model_type = "gpt2";
  f.prefix = "transformer.";
  f.head_tensors = {"lm_head.", "score.", "classifier.", "qa_outputs.", "multiple_choice_head."};
  f.classes = {{HeadKind::none, "GPT2Model"},
               {HeadKind::causal_lm, "GPT2LMHeadModel"},
               {HeadKind::causal_lm, "GPT2DoubleHeadsModel"},
               {HeadKind::classification, "GPT2ForSequenceClassification"},
               {HeadKind::token_classification, "GPT2ForTokenClassification"},
               {HeadKind::span, "GPT2ForQuestionAnswering"}};
  f.keys = {{"vocab_size", &C::vocab_size},
            {"n_embd", &C::hidden_size},
            {"n_layer", &C::layers},
            {"n_head", &C::attention_heads},
            {"n_inner", &C::intermediate_size, int64_t{0}},
            {"n_positions", &C::max_positions},
            {"pad_token_id", &C::pad_token_id, int64_t{-1}},
            {"layer_norm_epsilon", &C::norm_eps, 1e-5},
            {"initializer_range", &C::initializer_range, 0.02},
            {"resid_pdrop", &C::hidden_dropout, 0.1},
            {"embd_pdrop", &C::embedding_dropout, 0.1},
            {"attn_pdrop", &C::attention_dropout, 0.1},
            {"classifier_dropout", &C::classifier_dropout, -1.0},
            {"activation_function", &C::activation, "gelu_new"},
            {"tie_word_embeddings", &C::tied, true}};
  f.aliases = {{"hidden_size", "n_embd"},
               {"max_position_embeddings", "n_positions"},
               {"num_attention_heads", "n_head"},
               {"num_hidden_layers", "n_layer"}};
  f.also_read = {"hidden_dropout", "scale_attn_by_inverse_layer_idx", "add_cross_attention",
                 "scale_attn_weights"};
  f.ignored = {"h.*.attn.bias", "h.*.attn.masked_bias"};
  f.transposed = {"h.*.attn.c_attn.weight", "h.*.attn.c_proj.weight", "h.*.mlp.c_fc.weight",
                  "h.*.mlp.c_proj.weight"};
  f.finish = gpt2_finish;
  f.architecture = gpt2_plan;
  return f;
}

}  // namespace compress::nn
