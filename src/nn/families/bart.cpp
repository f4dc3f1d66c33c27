// BART (Lewis et al. 2020, arXiv 1910.13461): post-norm encoder and decoder, learned positions that
// begin at row 2.

#include <cmath>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "families/families.h"

namespace compress::nn {

namespace {

HeadPlan bart_plan_head(const ModelConfig& c) {
  HeadPlan head;
  switch (c.head) {
    case HeadKind::classification:
    case HeadKind::regression:
    case HeadKind::multi_label:
      return sentence_head(c, HeadPlan::From::last, "classification_head", "tanh");
    case HeadKind::span:
      return token_head("qa_outputs", 2, 0);
    case HeadKind::seq2seq_lm:
      head = language_head(c);
      head.out_bias_name = "final_logits_bias";
      head.bias_is_buffer = true;
      return head;
    default:
      return head;
  }
}

Stack bart_stack(const ModelConfig& c, const std::string& name, bool decoder) {
  Stack s;
  s.layers = decoder ? c.decoder_layers : c.layers;
  s.heads = s.kv_heads = decoder ? c.decoder_heads : c.attention_heads;
  s.head_width = c.hidden_size / s.heads;
  s.intermediate = decoder ? c.decoder_intermediate_size : c.intermediate_size;
  s.causal = s.cross = decoder;
  s.layer_prefix = name + ".layers.";
  s.self = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj",
            "self_attn_layer_norm"};
  if (decoder)
    s.across = {"encoder_attn.q_proj", "encoder_attn.k_proj", "encoder_attn.v_proj",
                "encoder_attn.out_proj", "encoder_attn_layer_norm"};
  s.feed_forward.in = "fc1";
  s.feed_forward.out = "fc2";
  s.feed_forward.norm = "final_layer_norm";
  s.word = "shared";
  s.position = name + ".embed_positions";
  s.embedding_norm = name + ".layernorm_embedding";
  return s;
}

Architecture bart_plan(const ModelConfig& c) {
  Architecture a;
  a.position_offset = 2;
  a.embedding_dropout = c.hidden_dropout;
  a.position_rows = c.max_positions + 2;
  if (c.scale_embedding) a.embedding_scale = std::sqrt(static_cast<double>(c.hidden_size));
  a.encoder = bart_stack(c, "encoder", false);
  a.decoder = bart_stack(c, "decoder", true);
  a.head = bart_plan_head(c);
  return a;
}

void bart_finish(ModelConfig& config, const Json& json) {
  config.norm_eps = 1e-5;
  if (config.decoder_start_token_id < 0) config.decoder_start_token_id = 2;
  if (config.hidden_size % config.decoder_heads != 0)
    throw Error(ErrorKind::model,
                str("config.json: d_model ", config.hidden_size, " does not divide by ",
                    config.decoder_heads, " decoder_attention_heads"));
  // Switches of the first versions, which mBART and Pegasus had otherwise.
  for (const char* key :
       {"is_decoder", "normalize_before", "add_final_layer_norm", "static_position_embeddings"})
    expect_switch(config, json, key, false);
  expect_switch(config, json, "normalize_embedding", true);
  if (auto more = json.find("extra_pos_embeddings"); more != json.end() && *more != 2)
    throw Error(ErrorKind::model,
                "config.json: extra_pos_embeddings other than 2 is not supported");
  auto names = json.find("id2label");
  const bool unnamed = names == json.end() || !names->is_object();
  if (has_labels(config.head) && unnamed && !json.contains("num_labels"))
    config.labels = {"LABEL_0", "LABEL_1", "LABEL_2"};
}

}  // namespace

Family bart_family() {
  using C = ModelConfig;
  Family f;
  f.model_type = "bart";
  f.prefix = "model.";
  f.head_tensors = {"lm_head.", "final_logits_bias", "classification_head.", "qa_outputs."};
  f.classes = {{HeadKind::none, "BartModel"},
               {HeadKind::seq2seq_lm, "BartForConditionalGeneration"},
               {HeadKind::classification, "BartForSequenceClassification"},
               {HeadKind::span, "BartForQuestionAnswering"}};
  f.keys = {{"vocab_size", &C::vocab_size},
            {"d_model", &C::hidden_size},
            {"encoder_layers", &C::layers},
            {"decoder_layers", &C::decoder_layers},
            {"encoder_attention_heads", &C::attention_heads},
            {"decoder_attention_heads", &C::decoder_heads},
            {"encoder_ffn_dim", &C::intermediate_size},
            {"decoder_ffn_dim", &C::decoder_intermediate_size},
            {"max_position_embeddings", &C::max_positions},
            {"pad_token_id", &C::pad_token_id, int64_t{1}},
            {"init_std", &C::initializer_range, 0.02},
            {"dropout", &C::hidden_dropout, 0.1},
            {"attention_dropout", &C::attention_dropout, 0.0},
            {"activation_dropout", &C::activation_dropout, 0.0},
            {"classifier_dropout", &C::classifier_dropout, 0.0},
            {"activation_function", &C::activation, "gelu"},
            {"scale_embedding", &C::scale_embedding, false},
            {"tie_word_embeddings", &C::tied, true}};
  f.aliases = {{"num_attention_heads", "encoder_attention_heads"},
               {"hidden_size", "d_model"},
               {"num_hidden_layers", "encoder_layers"}};
  f.also_read = {"is_decoder",          "normalize_before",           "add_final_layer_norm",
                 "normalize_embedding", "static_position_embeddings", "extra_pos_embeddings"};
  f.ignored = {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "encoder.version",
               "decoder.version"};
  f.finish = bart_finish;
  f.architecture = bart_plan;
  return f;
}

}  // namespace compress::nn
