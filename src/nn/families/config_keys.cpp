// Keys of config.json that name the classes, and those that say nothing about what a model
// computes.

#include <algorithm>
#include <map>

#include "compress/base/strings.h"
#include "families/families.h"
#include "families/json.h"

namespace compress::nn {

namespace {

// Who wrote the file and how, how text is generated (generate/options.h reads that), what the
// outputs of a Python call are, what a first version of a family had.
constexpr const char* harmless[] = {
    "_name_or_path", "name_or_path", "_commit_hash", "architectures", "model_type",
    "transformers_version", "dtype", "torch_dtype", "compress", "quantization_config",
    "pruned_heads", "per_layer_config", "compression_config", "transformers.js_config",
    "unsloth_version", "unsloth_fixed", "finetuning_task", "language", "xla_device",
    // Read for every family: read_config().
    "is_causal",
    // Classes and names: labels_of() and write_config().
    "id2label", "label2id", "num_labels", "_num_labels", "problem_type",
    // Python's calls.
    "output_attentions", "output_hidden_states", "return_dict", "use_return_dict", "use_cache",
    "output_past", "torchscript", "use_bfloat16", "tf_legacy_loss", "chunk_size_feed_forward",
    "gradient_checkpointing", "attn_implementation", "_attn_implementation",
    "_attn_implementation_internal", "_attn_implementation_autoset", "pretraining_tp",
    "reorder_and_upcast_attn", "is_encoder_decoder",
    // Tokens and generation.
    "tokenizer_class", "bos_token_id", "eos_token_id", "sep_token_id", "cls_token_id",
    "unk_token_id", "mask_token_id", "decoder_start_token_id", "forced_bos_token_id",
    "forced_eos_token_id", "task_specific_params", "prefix", "max_length", "min_length",
    "max_new_tokens", "do_sample", "early_stopping", "num_beams", "num_beam_groups",
    "diversity_penalty", "temperature", "top_k", "top_p", "typical_p", "repetition_penalty",
    "length_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "bad_words_ids",
    "num_return_sequences", "output_scores", "return_dict_in_generate", "remove_invalid_values",
    "exponential_decay_length_penalty", "suppress_tokens", "begin_suppress_tokens",
    // Keys of the first versions, and of heads that are not read.
    "directionality", "pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers",
    "pooler_size_per_head", "pooler_type", "n_ctx", "n_positions", "predict_special_tokens",
    "summary_activation", "summary_first_dropout", "summary_last_dropout", "summary_proj_to_labels",
    "summary_type", "summary_use_proj", "initializer_factor", "tie_weights_", "classif_dropout",
    "force_bos_token_to_be_generated", "is_llama_config"};

// Keys that are harmless while they say this.
struct Usual {
  const char* key;
  Json value;
};
const std::vector<Usual>& usual() {
  static const std::vector<Usual> list = {{"position_embedding_type", "absolute"},
                                          {"is_decoder", false},
                                          {"add_cross_attention", false},
                                          {"tie_encoder_decoder", false},
                                          {"add_bias_logits", false},
                                          {"attention_bias", false},
                                          {"mlp_bias", false},
                                          {"encoder_layerdrop", 0.0},
                                          {"decoder_layerdrop", 0.0},
                                          {"layerdrop", 0.0},
                                          {"activation_dropout", 0.0},
                                          {"rope_interleaved", false},
                                          {"use_mrope", false}};
  return list;
}

bool says_nothing(const std::string& key, const Json& value) {
  if (value.is_null()) return true;
  for (const char* known : harmless)
    if (key == known) return true;
  return std::any_of(usual().begin(), usual().end(),
                     [&](const Usual& one) { return key == one.key && value == one.value; });
}

}  // namespace

std::vector<std::string> unread_keys(const Family& family, const Json& json) {
  std::vector<std::string> unread;
  auto read = [&](const std::string& key) {
    return std::any_of(family.keys.begin(), family.keys.end(),
                       [&](const ConfigKey& one) { return key == one.name; }) ||
           std::any_of(family.aliases.begin(), family.aliases.end(),
                       [&](const ConfigAlias& one) { return key == one.name; }) ||
           std::find(family.also_read.begin(), family.also_read.end(), key) !=
               family.also_read.end();
  };
  for (const auto& [key, value] : json.items())
    if (!read(key) && !says_nothing(key, value)) unread.push_back(key);
  return unread;
}

std::vector<std::string> labels_of(const Json& json) {
  const Json* names = present(json, "id2label");
  if (names != nullptr && !names->is_object())
    refuse_config(str("id2label must map numbers to names, not be ", names->type_name()));
  if (names == nullptr) {
    const Json* count = present(json, "num_labels");
    if (count != nullptr && !count->is_number_integer())
      refuse_config(str("num_labels must be a whole number, not ", count->dump()));
    const int64_t n = count != nullptr ? count->get<int64_t>() : 2;
    if (n < 1 || n > 1'000'000) refuse_config(str("num_labels of ", n, " is out of range"));
    std::vector<std::string> labels;
    for (int64_t i = 0; i < n; ++i) labels.push_back(str("LABEL_", i));
    return labels;
  }
  std::vector<std::string> labels(names->size());
  std::map<std::string, std::string> ids;  // of the names
  for (const auto& [id, name] : names->items()) {
    size_t index = 0;
    const bool digits =
        !id.empty() && id.size() < 8 && id.find_first_not_of("0123456789") == std::string::npos;
    if (digits) index = std::stoul(id);
    if (!digits || index >= labels.size() || std::to_string(index) != id)
      refuse_config(str("id2label must map 0 to ", labels.size() - 1, " to names: it has ",
                        labels.size(), " of them, and the id ", Json(id).dump()));
    // Numbers as names are those of the data.
    if (!name.is_string() && !name.is_number_integer())
      refuse_config(str("id2label maps ", id, " to ", name.dump(), ", and a name is due"));
    labels[index] = name.is_string() ? name.get<std::string>() : name.dump();
    const auto [first, is_new] = ids.emplace(labels[index], id);
    if (!is_new)
      refuse_config(str("id2label calls ", first->second, " and ", id, " both ",
                        Json(labels[index]).dump(), ", and classes are matched by name"));
  }
  return labels;
}

bool label2id_differs(const Json& json) {
  const Json* names = present(json, "id2label");
  const Json* ids = present(json, "label2id");
  if (names == nullptr || ids == nullptr || !names->is_object()) return false;
  if (!ids->is_object() || ids->size() != names->size()) return true;
  for (const auto& [id, name] : names->items()) {
    const auto found = ids->find(name.is_string() ? name.get<std::string>() : name.dump());
    if (found == ids->end() || (*found != id && found->dump() != id)) return true;
  }
  return false;
}

}  // namespace compress::nn
