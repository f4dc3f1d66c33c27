// T5 (Raffel et al. 2020, arXiv 1910.10683), versions 1.0 and 1.1: pre-norm encoder and decoder
// with root-mean-square norms, relative position biases and neither biases nor a scale of the
// scores.

#include <cmath>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "families/families.h"

namespace compress::nn {

namespace {

HeadPlan t5_plan_head(const ModelConfig& c) {
  HeadPlan head;
  switch (c.head) {
    case HeadKind::classification:
    case HeadKind::regression:
    case HeadKind::multi_label:
      return sentence_head(c, HeadPlan::From::last, "classification_head", "tanh");
    case HeadKind::token_classification:
      return token_head("classifier", c.outputs(), c.classifier_dropout);
    case HeadKind::span:
      return token_head("qa_outputs", 2, 0);
    case HeadKind::seq2seq_lm:
      head = language_head(c);
      // Version 1.1 has an output table of its own and no scale.
      if (c.tied) head.scale = 1.0 / std::sqrt(static_cast<double>(c.hidden_size));
      return head;
    default:
      return head;
  }
}

Stack t5_stack(const ModelConfig& c, const std::string& name, bool decoder) {
  Stack s;
  s.layers = decoder ? c.decoder_layers : c.layers;
  s.heads = s.kv_heads = c.attention_heads;
  s.intermediate = c.intermediate_size;
  s.causal = s.cross = decoder;
  s.layer_prefix = name + ".block.";
  s.self = {"layer.0.SelfAttention.q", "layer.0.SelfAttention.k", "layer.0.SelfAttention.v",
            "layer.0.SelfAttention.o", "layer.0.layer_norm"};
  if (decoder)
    s.across = {"layer.1.EncDecAttention.q", "layer.1.EncDecAttention.k",
                "layer.1.EncDecAttention.v", "layer.1.EncDecAttention.o", "layer.1.layer_norm"};
  const std::string last = decoder ? "layer.2." : "layer.1.";
  s.feed_forward.in = last + (c.gated ? "DenseReluDense.wi_1" : "DenseReluDense.wi");
  if (c.gated) s.feed_forward.gate = last + "DenseReluDense.wi_0";
  s.feed_forward.out = last + "DenseReluDense.wo";
  s.feed_forward.norm = last + "layer_norm";
  s.word = "shared";
  s.final_norm = name + ".final_layer_norm";
  s.relative_bias = name + ".block.0.layer.0.SelfAttention.relative_attention_bias";
  return s;
}

bool encoder_alone(HeadKind head) {
  return head == HeadKind::embedding || head == HeadKind::token_classification;
}

Architecture t5_plan(const ModelConfig& c) {
  Architecture a;
  a.norm = NormKind::rms;
  a.pre_norm = true;
  a.positions = Positions::relative;
  a.linear_bias = a.query_bias = a.output_bias = false;
  a.attention_scale = 1;
  a.final_dropout = true;
  a.embedding_dropout = c.hidden_dropout;
  a.encoder = t5_stack(c, "encoder", false);
  if (!encoder_alone(c.head)) a.decoder = t5_stack(c, "decoder", true);
  a.head = t5_plan_head(c);
  return a;
}

// "relu", "gated-gelu" (which means the tanh form) or "gated-silu".
void t5_finish(ModelConfig& config, const Json& json) {
  std::string unit = "relu";
  if (auto it = json.find("feed_forward_proj"); it != json.end() && it->is_string())
    unit = it->get<std::string>();
  config.gated = starts_with(unit, "gated-");
  config.activation = config.gated ? unit.substr(6) : unit;
  if (unit == "gated-gelu") config.activation = "gelu_new";
  // transformers writes what it made of the unit as well, and believes that first.
  const Json said = {{"dense_act_fn", config.activation}, {"is_gated_act", config.gated}};
  for (const auto& [key, value] : said.items())
    if (auto it = json.find(key); it != json.end() && !it->is_null() && *it != value)
      throw Error(ErrorKind::model,
                  str("config.json: ", key, " ", it->dump(), " is not what feed_forward_proj '",
                      unit, "' means, and is not supported beside it"));
  expect_switch(config, json, "is_decoder", false);
  if (config.decoder_layers == 0) config.decoder_layers = config.layers;
  // Since transformers 5 version 1.1 is told by its scale alone; tie_word_embeddings stays true.
  if (auto scale = json.find("scale_decoder_outputs"); scale != json.end() && *scale == false)
    config.tied = false;
  config.decoder_heads = config.attention_heads;
  config.decoder_intermediate_size = config.intermediate_size;
  config.attention_dropout = config.activation_dropout = config.hidden_dropout;
  if (config.decoder_start_token_id < 0) config.decoder_start_token_id = config.pad_token_id;
}

void t5_write(const ModelConfig& config, Json& json) {
  if (!config.tied) json["tie_word_embeddings"] = false;
  json["is_encoder_decoder"] = !encoder_alone(config.head);
}

}  // namespace

Family t5_family() {
  using C = ModelConfig;
  Family f;
  f.model_type = "t5";
  f.also_prefixes = {"transformer."};
  f.head_tensors = {"lm_head.", "classification_head.", "classifier.", "qa_outputs."};
  f.optional_tensors = {"decoder."};
  f.classes = {{HeadKind::none, "T5Model"},
               {HeadKind::embedding, "T5EncoderModel"},
               {HeadKind::seq2seq_lm, "T5ForConditionalGeneration"},
               {HeadKind::classification, "T5ForSequenceClassification", "transformer."},
               {HeadKind::token_classification, "T5ForTokenClassification", "transformer."},
               {HeadKind::span, "T5ForQuestionAnswering"}};
  f.keys = {{"vocab_size", &C::vocab_size},
            {"d_model", &C::hidden_size},
            {"d_kv", &C::head_width},
            {"d_ff", &C::intermediate_size},
            {"num_layers", &C::layers},
            {"num_decoder_layers", &C::decoder_layers, int64_t{0}},
            {"num_heads", &C::attention_heads},
            {"relative_attention_num_buckets", &C::relative_buckets, int64_t{32}},
            {"relative_attention_max_distance", &C::relative_distance, int64_t{128}},
            {"pad_token_id", &C::pad_token_id, int64_t{0}},
            {"dropout_rate", &C::hidden_dropout, 0.1},
            {"classifier_dropout", &C::classifier_dropout, 0.0},
            {"layer_norm_epsilon", &C::norm_eps, 1e-6},
            {"tie_word_embeddings", &C::tied, true}};
  f.aliases = {{"hidden_size", "d_model"},
               {"num_attention_heads", "num_heads"},
               {"num_hidden_layers", "num_layers"},
               {"head_dim", "d_kv"}};
  f.also_read = {"feed_forward_proj", "dense_act_fn", "is_gated_act", "scale_decoder_outputs"};
  f.ignored = {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight",
               "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"};
  f.finish = t5_finish;
  f.write = t5_write;
  f.architecture = t5_plan;
  return f;
}

}  // namespace compress::nn
