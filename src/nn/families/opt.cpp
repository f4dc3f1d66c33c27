// OPT (Zhang et al. 2022, arXiv 2205.01068): pre-norm decoder, learned positions that begin at
// row 2.

#include "compress/base/error.h"
#include "families/families.h"

namespace compress::nn {

namespace {

Architecture opt_plan(const ModelConfig& c) {
  Architecture a;
  a.pre_norm = true;
  a.position_offset = 2;
  a.position_rows = c.max_positions + 2;
  Stack& s = a.decoder;
  s.layers = c.layers;
  s.heads = s.kv_heads = c.attention_heads;
  s.intermediate = c.intermediate_size;
  s.causal = true;
  s.layer_prefix = "decoder.layers.";
  s.self = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj",
            "self_attn_layer_norm"};
  s.feed_forward.in = "fc1";
  s.feed_forward.out = "fc2";
  s.feed_forward.norm = "final_layer_norm";
  s.word = "decoder.embed_tokens";
  s.position = "decoder.embed_positions";
  s.final_norm = "decoder.final_layer_norm";
  a.head = decoder_head(c, "score");
  return a;
}

void opt_finish(ModelConfig& config, const Json& json) {
  config.norm_eps = 1e-5;
  auto width = json.find("word_embed_proj_dim");
  const bool narrow = width != json.end() && width->is_number_integer() &&
                      width->get<int64_t>() != config.hidden_size;
  for (const char* key : {"do_layer_norm_before", "enable_bias", "layer_norm_elementwise_affine"})
    expect_switch(config, json, key, true);
  if (narrow || json.value("_remove_final_layer_norm", false))
    throw Error(ErrorKind::model,
                "config.json: a word_embed_proj_dim other than hidden_size and "
                "_remove_final_layer_norm are not supported for opt");
}

}  // namespace

Family opt_family() {
  using C = ModelConfig;
  Family f;
  f.model_type = "opt";
  f.prefix = "model.";
  f.head_tensors = {"lm_head.", "score.", "qa_outputs."};
  f.classes = {{HeadKind::none, "OPTModel"},
               {HeadKind::causal_lm, "OPTForCausalLM"},
               {HeadKind::classification, "OPTForSequenceClassification"},
               {HeadKind::span, "OPTForQuestionAnswering"}};
  f.keys = {{"vocab_size", &C::vocab_size},
            {"hidden_size", &C::hidden_size},
            {"num_hidden_layers", &C::layers},
            {"num_attention_heads", &C::attention_heads},
            {"ffn_dim", &C::intermediate_size},
            {"max_position_embeddings", &C::max_positions},
            {"pad_token_id", &C::pad_token_id, int64_t{1}},
            {"init_std", &C::initializer_range, 0.02},
            {"dropout", &C::hidden_dropout, 0.1},
            {"attention_dropout", &C::attention_dropout, 0.0},
            {"activation_function", &C::activation, "relu"},
            {"tie_word_embeddings", &C::tied, true}};
  f.also_read = {"word_embed_proj_dim", "do_layer_norm_before", "enable_bias",
                 "layer_norm_elementwise_affine", "_remove_final_layer_norm"};
  f.finish = opt_finish;
  f.architecture = opt_plan;
  return f;
}

}  // namespace compress::nn
