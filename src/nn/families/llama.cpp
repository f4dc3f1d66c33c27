// Llama (Touvron et al. 2023, arXiv 2302.13971) and its kin Mistral, Qwen2, Qwen3, SmolLM: pre-norm
// decoders with root-mean-square norms, rotary positions, shared heads of keys and values, gated
// feed-forward units.

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "families/families.h"

namespace compress::nn {

namespace {

Architecture llama_plan(const ModelConfig& c) {
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
  a.head = decoder_head(c, "score");
  return a;
}

// rope_theta and rope_scaling lie in rope_parameters since transformers 5.
void read_rope(ModelConfig& config, const Json& json) {
  auto block = json.find("rope_parameters");
  const bool newer = block != json.end() && block->is_object();
  if (!newer) block = json.find("rope_scaling");
  const bool there = block != json.end() && block->is_object();
  // Either block may have the base, and goes before the key beside it.
  if (there && block->contains("rope_theta") && (*block)["rope_theta"].is_number())
    config.rope_theta = (*block)["rope_theta"].get<double>();
  for (const Json* place : {&json, there ? &*block : &json})
    if (auto part = place->find("partial_rotary_factor");
        part != place->end() && !part->is_null() && *part != 1.0)
      throw Error(ErrorKind::model,
                  "config.json: a partial_rotary_factor other than 1 is not "
                  "supported: rotary positions turn whole heads");
  if (!there) return;
  const Json& kind =
      block->contains("rope_type") ? (*block)["rope_type"] : block->value("type", Json("default"));
  if (kind == "default") return;
  if (kind != "linear" && kind != "llama3")
    throw Error(ErrorKind::model, str("config.json: rope_type ", kind.dump(), " is not supported"),
                {}, "supported: default, linear, llama3");
  if (!block->contains("factor") || !(*block)["factor"].is_number())
    throw Error(ErrorKind::model,
                str("config.json: rope_type ", kind.dump(), " needs a number 'factor'"));
  config.rope_scaling = *block;
  config.rope_scaling["rope_type"] = kind;
}

void llama_finish(ModelConfig& config, const Json& json) {
  read_rope(config, json);
  expect_switch(config, json, "is_causal", true);
  config.gated = true;
  config.hidden_dropout = 0;
  if (config.family == "qwen3" && config.head_width == 0) config.head_width = 128;
  if (config.family == "mistral") {
    if (!json.contains("sliding_window")) config.window = 4096;
    return;
  }
  config.window = 0;
  if (config.family == "llama") return;
  const Json layers = json.value("layer_types", Json::array());
  for (const Json& kind : layers)
    if (kind != "full_attention")
      throw Error(ErrorKind::model, "config.json: layer_types with " + kind.dump() +
                                        " are not supported for " + config.family);
  expect_switch(config, json, "use_sliding_window", false);
}

Family llama_make(const char* type, const char* stem) {
  using C = ModelConfig;
  Family f;
  f.model_type = type;
  f.prefix = "model.";
  f.also_prefixes = {"transformer."};
  f.head_tensors = {"lm_head.", "score.", "qa_outputs."};
  const char* base = f.model_type == "mistral" ? nullptr : "transformer.";
  f.classes = classes_of(stem, {{HeadKind::none, "Model"},
                                {HeadKind::causal_lm, "ForCausalLM"},
                                {HeadKind::classification, "ForSequenceClassification"},
                                {HeadKind::token_classification, "ForTokenClassification"},
                                {HeadKind::span, "ForQuestionAnswering", base}});
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
            {"rope_theta", &C::rope_theta, 10000.0}};
  const bool qwen = f.model_type == "qwen2" || f.model_type == "qwen3";
  if (f.model_type == "llama") f.keys.push_back({"mlp_bias", &C::mlp_bias, false});
  if (f.model_type == "llama" || f.model_type == "qwen3")
    f.keys.push_back({"attention_bias", &C::attention_bias, false});
  if (f.model_type == "mistral") f.keys.push_back({"sliding_window", &C::window, int64_t{0}});
  f.also_read = {"rope_parameters", "rope_scaling", "partial_rotary_factor", "is_causal"};
  // Windows that are off.
  if (qwen)
    for (const char* key :
         {"use_sliding_window", "sliding_window", "max_window_layers", "layer_types"})
      f.also_read.emplace_back(key);
  f.ignored = {"*.rotary_emb.inv_freq"};
  f.finish = llama_finish;
  f.architecture = llama_plan;
  return f;
}

}  // namespace

Family llama_family() {
  return llama_make("llama", "Llama");
}

Family mistral_family() {
  return llama_make("mistral", "Mistral");
}

Family qwen2_family() {
  return llama_make("qwen2", "Qwen2");
}

Family qwen3_family() {
  return llama_make("qwen3", "Qwen3");
}

}  // namespace compress::nn
