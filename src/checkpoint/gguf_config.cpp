// Metadata of GGUF files (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md) as
// config.json.

#include <charconv>
#include <cmath>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/storage/tensor.h"
#include "gguf.h"

namespace compress::checkpoint {

namespace {

using storage::GgufReader;
using storage::GgufTensor;

// The double that a decimal fraction kept in float32 was: 1e-05, not 9.99999975e-06.
double unrounded(double value) {
  char digits[64];
  const auto end = std::to_chars(digits, digits + sizeof digits, static_cast<float>(value));
  double result = value;
  std::from_chars(digits, end.ptr, result);
  return result;
}

class Metadata {
 public:
  Metadata(const GgufReader& reader, std::string place)
      : reader_(reader),
        place_(std::move(place)),
        architecture_(reader.text("general.architecture")) {}

  const std::string& architecture() const { return architecture_; }
  bool has(const std::string& key) const { return reader_.find_value(named(key)) != nullptr; }
  int64_t integer(const std::string& key) const { return reader_.integer(named(key)); }
  double real(const std::string& key) const { return unrounded(reader_.real(named(key))); }
  std::string text(const std::string& key) const { return std::string(reader_.text(named(key))); }
  const GgufTensor* tensor(const std::string& name) const { return reader_.find(name); }
  [[noreturn]] void refuse(const std::string& what, const std::string& hint = {}) const {
    throw Error(ErrorKind::model, what, place_, hint);
  }
  // A key outside the architecture's own.
  const GgufReader& reader() const { return reader_; }

 private:
  std::string named(const std::string& key) const { return architecture_ + "." + key; }

  const GgufReader& reader_;
  std::string place_, architecture_;
};

void put_integer(nn::Json& json, const Metadata& data, const char* key, const std::string& from) {
  if (data.has(from)) json[key] = data.integer(from);
}

// Rows of the embedding table; files need not state the size of the vocabulary.
int64_t vocabulary(const Metadata& data) {
  const GgufTensor* table = data.tensor("token_embd.weight");
  if (table == nullptr || table->shape.size() != 2)
    data.refuse("the file has no table token_embd.weight",
                "a file of a whole model is needed, not of an adapter or a projector");
  return table->shape[0];
}

void put_tokens(nn::Json& json, const Metadata& data) {
  for (auto [key, from] : {std::pair{"bos_token_id", "tokenizer.ggml.bos_token_id"},
                           std::pair{"eos_token_id", "tokenizer.ggml.eos_token_id"},
                           std::pair{"pad_token_id", "tokenizer.ggml.padding_token_id"}})
    if (data.reader().find_value(from) != nullptr) json[key] = data.reader().integer(from);
}

// Llama 3 divides the frequencies of its rotary positions by factors that lie in a tensor instead
// of the metadata: the rule and its constants are found by trying them.
nn::Json llama3_scaling(const Metadata& data, const GgufTensor& tensor, double theta,
                        int64_t width) {
  std::vector<float> factors(tensor.elements());
  if (static_cast<int64_t>(factors.size()) != width / 2)
    data.refuse(str("rope_freqs.weight has ", factors.size(), " factors for heads of ", width));
  storage::dequantize(tensor, factors);
  double factor = 1;
  for (float each : factors) factor = std::max(factor, static_cast<double>(each));
  if (factor == 1) return nullptr;
  constexpr double low = 1, high = 4, length = 8192;
  for (size_t i = 0; i < factors.size(); ++i) {
    const double wave =
        2 * M_PI * std::pow(theta, 2 * static_cast<double>(i) / static_cast<double>(width));
    double expected = 1;
    if (wave > length / low)
      expected = factor;
    else if (wave >= length / high)
      expected = 1 / ((1 - (length / wave - low) / (high - low)) / factor +
                      (length / wave - low) / (high - low));
    if (!(std::abs(expected - static_cast<double>(factors[i])) <= 1e-3 * expected))
      data.refuse("rope_freqs.weight is not the scaling of Llama 3 with its usual constants",
                  "use the model's folder in Hugging Face's layout");
  }
  return {{"rope_type", "llama3"},
          {"factor", factor},
          {"low_freq_factor", low},
          {"high_freq_factor", high},
          {"original_max_position_embeddings", static_cast<int64_t>(length)}};
}

nn::Json rope_scaling(const Metadata& data, double theta, int64_t width) {
  if (const GgufTensor* factors = data.tensor("rope_freqs.weight"))
    return llama3_scaling(data, *factors, theta, width);
  for (const char* name : {"rope_factors_long.weight", "rope_factors_short.weight"})
    if (data.tensor(name) != nullptr)
      data.refuse("rotary positions with the scaling 'longrope' are not supported");
  double factor = 1;
  if (data.has("rope.scale_linear")) factor = data.real("rope.scale_linear");
  if (data.has("rope.scaling.type")) {
    const std::string type = data.text("rope.scaling.type");
    if (type != "none" && type != "linear")
      data.refuse(
          "rotary positions with the scaling " + storage::shown_name(type) + " are not supported",
          "supported: none, linear, and Llama 3's");
    if (type == "linear" && data.has("rope.scaling.factor"))
      factor = data.real("rope.scaling.factor");
  }
  if (factor == 1) return nullptr;
  return {{"rope_type", "linear"}, {"factor", factor}};
}

void put_rope(nn::Json& json, const Metadata& data, int64_t width) {
  if (data.has("rope.dimension_count") && data.integer("rope.dimension_count") != width)
    data.refuse(str("rotary positions turn ", data.integer("rope.dimension_count"), " of a head's ",
                    width, " dimensions; all are needed"));
  const double theta = data.has("rope.freq_base") ? data.real("rope.freq_base") : 10000.0;
  if (!(theta > 0) || !std::isfinite(theta)) data.refuse("rope.freq_base is no positive number");
  json["rope_theta"] = theta;
  if (nn::Json scaling = rope_scaling(data, theta, width); !scaling.is_null())
    json["rope_scaling"] = scaling;
}

// What `head: embedding` pools with: 0 none, 1 mean, 2 the first token, 3 the last, 4 a reranker.
void put_pooling(nn::Json& json, const Metadata& data) {
  const int64_t type = data.has("pooling_type") ? data.integer("pooling_type") : 0;
  if (type >= 1 && type <= 3)
    json["compress"] = {{"pooling", type == 1 ? "mean" : type == 2 ? "cls" : "lasttoken"}};
}

// Keys that all decoders have.
void put_decoder(nn::Json& json, const Metadata& data) {
  if (data.has("expert_count") && data.integer("expert_count") > 0)
    data.refuse("mixtures of experts are not supported");
  json["vocab_size"] = vocabulary(data);
  json["tie_word_embeddings"] = data.tensor("output.weight") == nullptr;
  put_pooling(json, data);
  put_tokens(json, data);
}

nn::Json llama(const Metadata& data) {
  std::string family = data.architecture();
  // Converters write Mistral as Llama with a window.
  const bool window = data.has("attention.sliding_window");
  if (family == "llama" && window) family = "mistral";
  const char* model_class = family == "llama"     ? "LlamaForCausalLM"
                            : family == "mistral" ? "MistralForCausalLM"
                            : family == "qwen2"   ? "Qwen2ForCausalLM"
                                                  : "Qwen3ForCausalLM";
  const int64_t heads = data.integer("attention.head_count"),
                hidden = data.integer("embedding_length");
  if (heads < 1 || hidden < 1)
    data.refuse("the numbers of heads and of dimensions must be positive");
  const bool stated = data.has("attention.key_length");
  const int64_t width = stated ? data.integer("attention.key_length") : hidden / heads;
  if (data.has("attention.value_length") && data.integer("attention.value_length") != width)
    data.refuse("heads whose values are not as wide as their keys are not supported");
  nn::Json json = {{"architectures", {model_class}},
                   {"model_type", family},
                   {"hidden_size", hidden},
                   {"num_hidden_layers", data.integer("block_count")},
                   {"num_attention_heads", heads},
                   {"intermediate_size", data.integer("feed_forward_length")},
                   {"max_position_embeddings", data.integer("context_length")},
                   {"rms_norm_eps", data.real("attention.layer_norm_rms_epsilon")},
                   {"hidden_act", "silu"}};
  put_integer(json, data, "num_key_value_heads", "attention.head_count_kv");
  if (stated || family == "qwen3") json["head_dim"] = width;
  if (family == "mistral") {
    if (window)
      json["sliding_window"] = data.integer("attention.sliding_window");
    else
      json["sliding_window"] = nullptr;
  }
  if (family == "llama") {
    if (data.tensor("blk.0.attn_q.bias") != nullptr) json["attention_bias"] = true;
    if (data.tensor("blk.0.ffn_up.bias") != nullptr) json["mlp_bias"] = true;
  }
  put_decoder(json, data);
  put_rope(json, data, width);
  return json;
}

nn::Json gpt2(const Metadata& data) {
  nn::Json json = {{"architectures", {"GPT2LMHeadModel"}},
                   {"model_type", "gpt2"},
                   {"n_embd", data.integer("embedding_length")},
                   {"n_layer", data.integer("block_count")},
                   {"n_head", data.integer("attention.head_count")},
                   {"n_inner", data.integer("feed_forward_length")},
                   {"n_positions", data.integer("context_length")},
                   {"layer_norm_epsilon", data.real("attention.layer_norm_epsilon")},
                   {"activation_function", "gelu_new"}};
  put_decoder(json, data);
  return json;
}

nn::Json bert(const Metadata& data) {
  if (data.reader().find_value("tokenizer.ggml.model") != nullptr &&
      data.reader().text("tokenizer.ggml.model") != "bert")
    data.refuse("of encoders those with BERT's vocabulary (WordPiece) are supported",
                "use the model's folder in Hugging Face's layout");
  for (const char* name : {"cls.weight", "cls.output.weight"})
    if (data.tensor(name) != nullptr)
      data.refuse("encoders with a head (a reranker) are not supported as GGUF",
                  "use the model's folder in Hugging Face's layout");
  nn::Json json = {{"architectures", {"BertModel"}},
                   {"model_type", "bert"},
                   {"vocab_size", vocabulary(data)},
                   {"hidden_size", data.integer("embedding_length")},
                   {"num_hidden_layers", data.integer("block_count")},
                   {"num_attention_heads", data.integer("attention.head_count")},
                   {"intermediate_size", data.integer("feed_forward_length")},
                   {"max_position_embeddings", data.integer("context_length")},
                   {"layer_norm_eps", data.real("attention.layer_norm_epsilon")},
                   {"hidden_act", "gelu"}};
  if (const GgufTensor* positions = data.tensor("position_embd.weight");
      positions != nullptr && positions->shape.size() == 2)
    json["max_position_embeddings"] = positions->shape[0];
  // A model without segments is one whose segments are all zero.
  const GgufTensor* segments = data.tensor("token_types.weight");
  json["type_vocab_size"] = segments != nullptr && segments->shape.size() == 2
                                ? segments->shape[0]
                                : int64_t{segments == nullptr ? 2 : 1};
  put_tokens(json, data);
  if (!json.contains("pad_token_id")) json["pad_token_id"] = 0;
  put_pooling(json, data);
  if (json.contains("compress")) json["compress"]["head"] = "embedding";
  return json;
}

}  // namespace

nn::Json gguf_config(const GgufReader& reader, const std::string& place) {
  const Metadata data(reader, place);
  if (reader.find_value("split.count") != nullptr && reader.integer("split.count") > 1)
    data.refuse("is one of several files of a model; one file is needed",
                "join them: llama-gguf-split --merge");
  const std::string& name = data.architecture();
  if (name == "llama" || name == "mistral" || name == "qwen2" || name == "qwen3")
    return llama(data);
  if (name == "gpt2") return gpt2(data);
  if (name == "bert") return bert(data);
  data.refuse("the GGUF architecture " + storage::shown_name(name) + " is not supported",
              "supported: llama, mistral, qwen2, qwen3, gpt2, bert");
}

}  // namespace compress::checkpoint
