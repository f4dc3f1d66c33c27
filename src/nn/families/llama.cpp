// Llama (Touvron et al. 2023, arXiv 2302.13971) and its kin Mistral, Qwen2, Qwen3, SmolLM: pre-norm
// decoders with root-mean-square norms, rotary positions, shared heads of keys and values, gated
// feed-forward units.

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "families/families.h"
#include "families/json.h"

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

// The block that says how positions turn: rope_scaling, which is asked first where both are there,
// or rope_parameters, where transformers 5 writes it together with rope_theta. Empty for neither.
const Json& rope_block(const Json& json) {
  static const Json none = Json::object();
  for (const char* name : {"rope_scaling", "rope_parameters"})
    if (const Json* block = present(json, name);
        block != nullptr && block->is_object() && !block->empty())
      return *block;
  return none;
}

// The number under `name`; null where there is none.
const Json* number(const Json& block, const char* name) {
  const Json* value = present(block, name);
  return value != nullptr && value->is_number() ? value : nullptr;
}

void positive(const char* name, double value) {
  if (!(value > 0)) refuse_config(str(name, " is ", value, ", not above 0"));
}

void read_rope(ModelConfig& config, const Json& json) {
  const Json& block = rope_block(json);
  // The block's base goes before the key beside it.
  if (const Json* theta = number(block, "rope_theta")) config.rope_theta = theta->get<double>();
  positive("rope_theta", config.rope_theta);
  for (const Json* place : {&json, &block})
    if (const Json* part = present(*place, "partial_rotary_factor");
        part != nullptr && *part != 1.0)
      refuse_config(
          "a partial_rotary_factor other than 1 is not supported: rotary positions turn whole "
          "heads");
  for (const auto& [key, value] : block.items())
    if (value.is_object())
      refuse_config(str("rotary positions of their own for ", key, " are not supported"));
  const Json& kind =
      block.contains("rope_type") ? block["rope_type"] : block.value("type", Json("default"));
  if (kind == "default") return;
  if (kind != "linear" && kind != "llama3")
    throw Error(ErrorKind::model, str("config.json: rope_type ", kind.dump(), " is not supported"),
                {}, "supported: default, linear, llama3");
  std::vector<const char*> needed{"factor"};
  if (kind == "llama3") needed.insert(needed.end(), {"low_freq_factor", "high_freq_factor"});
  for (const char* name : needed) {
    const Json* value = number(block, name);
    if (value == nullptr)
      refuse_config(str("rope_type ", kind.dump(), " needs a number '", name, "'"));
    positive(name, value->get<double>());
  }
  config.rope_scaling = block;
  config.rope_scaling["rope_type"] = kind;
  constexpr const char* length = "original_max_position_embeddings";
  if (number(block, length) == nullptr) config.rope_scaling[length] = config.max_positions;
}

void llama_finish(ModelConfig& config, const Json& json) {
  read_rope(config, json);
  config.gated = true;
  config.hidden_dropout = 0;
  if (config.family == "qwen3" && config.head_width == 0) config.head_width = 128;
  if (config.family == "llama") return;
  const bool mistral = config.family == "mistral";
  const Json layers = json.value("layer_types", Json());
  if (mistral && !json.contains("sliding_window")) config.window = 4096;
  if (!layers.empty() && std::count(layers.begin(), layers.end(), "full_attention") ==
                             static_cast<int64_t>(layers.size()))
    config.window = 0;
  const char* usual = config.window > 0 ? "sliding_attention" : "full_attention";
  for (const Json& kind : layers)
    if (kind != usual)
      refuse_config("layer_types with " + kind.dump() + " are not supported for " + config.family);
  if (!mistral) expect_switch(config, json, "use_sliding_window", false);
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
  f.also_read = {"rope_parameters", "rope_scaling", "partial_rotary_factor"};
  if (f.model_type == "mistral") f.also_read.emplace_back("layer_types");
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
