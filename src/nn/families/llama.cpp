// Llama (Touvron et al. 2023, arXiv 2302.13971) and its kin Mistral, Qwen2, Qwen3, SmolLM: pre-norm
// decoders with root-mean-square norms, rotary positions, shared heads of keys and values, gated
// feed-forward units.

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "families.h"

namespace compress::nn {

namespace {

HeadPlan plan_head(const ModelConfig& c) {
  HeadPlan head;
  switch (c.head) {
    case HeadKind::classification:
    case HeadKind::regression:
      head.from = HeadPlan::From::last;
      head.out = "score";
      head.out_bias = false;
      head.outputs = c.outputs();
      return head;
    case HeadKind::token_classification:
      return token_head("score", c.outputs(), c.classifier_dropout);
    case HeadKind::span:
      return token_head("qa_outputs", 2, 0);
    case HeadKind::causal_lm:
      head.out = "lm_head";
      head.out_bias = false;
      head.outputs = c.vocab_size;
      head.out_tied = c.tied;
      return head;
    default:
      return head;
  }
}

Architecture plan(const ModelConfig& c) {
  Architecture a;
  a.norm = NormKind::rms;
  a.pre_norm = true;
  a.positions = Positions::rotary;
  a.query_bias = c.attention_bias || c.family == "qwen2";
  a.output_bias = c.attention_bias;
  a.linear_bias = c.mlp_bias;
  Stack& s = a.decoder;
  s.layers = c.layers;
  s.heads = c.attention_heads;
  s.kv_heads = c.kv_heads;
  s.intermediate = c.intermediate_size;
  s.causal = true;
  s.layer_prefix = "layers.";
  s.self.query = "self_attn.q_proj";
  s.self.key = "self_attn.k_proj";
  s.self.value = "self_attn.v_proj";
  s.self.output = "self_attn.o_proj";
  s.self.norm = "input_layernorm";
  if (c.family == "qwen3") {
    s.self.query_norm = "self_attn.q_norm";
    s.self.key_norm = "self_attn.k_norm";
  }
  s.feed_forward.gate = "mlp.gate_proj";
  s.feed_forward.in = "mlp.up_proj";
  s.feed_forward.out = "mlp.down_proj";
  s.feed_forward.norm = "post_attention_layernorm";
  s.word = "embed_tokens";
  s.final_norm = "norm";
  a.head = plan_head(c);
  return a;
}

// rope_theta and rope_scaling lie in rope_parameters since transformers 5.
void read_rope(ModelConfig& config, const Json& json) {
  auto block = json.find("rope_parameters");
  const bool newer = block != json.end() && block->is_object();
  if (newer && block->contains("rope_theta") && (*block)["rope_theta"].is_number())
    config.rope_theta = (*block)["rope_theta"].get<double>();
  if (!newer) block = json.find("rope_scaling");
  if (block == json.end() || !block->is_object()) return;
  const Json& kind =
      block->contains("rope_type") ? (*block)["rope_type"] : block->value("type", Json("default"));
  if (kind == "default") return;
  if (kind != "linear" && kind != "llama3")
    throw Error(ErrorKind::model, str("config.json: rope_type ", kind.dump(), " is not supported"),
                {}, "supported: default, linear, llama3");
  config.rope_scaling = *block;
  config.rope_scaling["rope_type"] = kind;
}

void finish(ModelConfig& config, const Json& json) {
  read_rope(config, json);
  config.gated = true;
  config.hidden_dropout = 0;
  if (config.family == "qwen3" && config.head_width == 0) config.head_width = 128;
  if (config.family == "mistral") {
    if (!json.contains("sliding_window")) config.window = 4096;
    return;
  }
  config.window = 0;
  if (json.value("use_sliding_window", false))
    throw Error(ErrorKind::model,
                "config.json: use_sliding_window is not supported for " + config.family);
}

// Keys that the file had no need of.
void write(const ModelConfig& config, Json& json) {
  const Json& raw = config.raw.is_object() ? config.raw : Json::object();
  if (!raw.contains("rope_theta") && raw.contains("rope_parameters")) json.erase("rope_theta");
  const bool given = raw.contains("head_dim") && !raw["head_dim"].is_null();
  if (!given && config.head_width * config.attention_heads == config.hidden_size)
    json.erase("head_dim");
}

Family make(const char* type, const char* const (&names)[5]) {
  using C = ModelConfig;
  Family f;
  f.model_type = type;
  f.prefix = "model.";
  f.also_prefixes = {"transformer."};
  f.head_tensors = {"lm_head.", "score.", "qa_outputs."};
  f.classes = {{HeadKind::none, names[0]},
               {HeadKind::causal_lm, names[1]},
               {HeadKind::classification, names[2]},
               {HeadKind::token_classification, names[3]},
               {HeadKind::span, names[4], f.model_type == "mistral" ? nullptr : "transformer."}};
  f.keys = {{"vocab_size", &C::vocab_size},
            {"hidden_size", &C::hidden_size},
            {"num_hidden_layers", &C::layers},
            {"num_attention_heads", &C::attention_heads},
            {"num_key_value_heads", &C::kv_heads, int64_t{0}},
            {"head_dim", &C::head_width, int64_t{0}},
            {"intermediate_size", &C::intermediate_size},
            {"max_position_embeddings", &C::max_positions},
            {"pad_token_id", &C::pad_token_id, int64_t{-1}},
            {"rms_norm_eps", &C::norm_eps, 1e-6},
            {"initializer_range", &C::initializer_range, 0.02},
            {"attention_dropout", &C::attention_dropout, 0.0},
            {"classifier_dropout", &C::classifier_dropout, 0.1},
            {"hidden_act", &C::activation, "silu"},
            {"tie_word_embeddings", &C::tied, false},
            {"attention_bias", &C::attention_bias, false},
            {"mlp_bias", &C::mlp_bias, false},
            {"sliding_window", &C::window, int64_t{0}},
            {"rope_theta", &C::rope_theta, 10000.0}};
  f.ignored = {"*.rotary_emb.inv_freq"};
  f.finish = finish;
  f.write = write;
  f.architecture = plan;
  return f;
}

}  // namespace

Family llama_family() {
  return make("llama", {"LlamaModel", "LlamaForCausalLM", "LlamaForSequenceClassification",
                        "LlamaForTokenClassification", "LlamaForQuestionAnswering"});
}

Family mistral_family() {
  return make("mistral", {"MistralModel", "MistralForCausalLM", "MistralForSequenceClassification",
                          "MistralForTokenClassification", "MistralForQuestionAnswering"});
}

Family qwen2_family() {
  return make("qwen2", {"Qwen2Model", "Qwen2ForCausalLM", "Qwen2ForSequenceClassification",
                        "Qwen2ForTokenClassification", "Qwen2ForQuestionAnswering"});
}

Family qwen3_family() {
  return make("qwen3", {"Qwen3Model", "Qwen3ForCausalLM", "Qwen3ForSequenceClassification",
                        "Qwen3ForTokenClassification", "Qwen3ForQuestionAnswering"});
}

}  // namespace compress::nn
