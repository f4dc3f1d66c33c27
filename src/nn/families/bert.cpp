// BERT (Devlin et al. 2019, arXiv 1810.04805): post-norm encoder, learned positions, segment
// embeddings.

#include <ATen/CPUGeneratorImpl.h>

#include "compress/base/error.h"
#include "compress/base/random.h"
#include "compress/base/strings.h"
#include "compress/nn/device.h"
#include "compress/nn/layers.h"
#include "families.h"

namespace compress::nn {

namespace {

using torch::Tensor;

// --- config keys

template <class T>
T required_key(const Json& json, const char* key) {
  auto it = json.find(key);
  if (it == json.end() || !it->is_number())
    throw Error(ErrorKind::model, str("config.json has no number '", key, "'"));
  return it->get<T>();
}

double number_key(const Json& json, const char* key, double fallback) {
  auto it = json.find(key);
  return it != json.end() && it->is_number() ? it->get<double>() : fallback;
}

std::string text_key(const Json& json, const char* key, const char* fallback) {
  auto it = json.find(key);
  return it != json.end() && it->is_string() ? it->get<std::string>() : fallback;
}

// Class names in order of their ids.
std::vector<std::string> labels_of(const Json& json) {
  auto it = json.find("id2label");
  if (it == json.end() || !it->is_object()) return {"LABEL_0", "LABEL_1"};
  std::vector<std::string> labels(it->size());
  for (const auto& [id, name] : it->items()) {
    size_t index = 0;
    bool digits =
        !id.empty() && id.size() < 8 && id.find_first_not_of("0123456789") == std::string::npos;
    if (digits) index = std::stoul(id);
    if (!digits || index >= labels.size() || !name.is_string())
      throw Error(ErrorKind::model, "config.json: id2label must map 0 .. n-1 to names");
    labels[index] = name.get<std::string>();
  }
  return labels;
}

HeadKind head_of(const Json& json) {
  auto it = json.find("architectures");
  std::string name = it != json.end() && it->is_array() && !it->empty() && it->front().is_string()
                         ? it->front().get<std::string>()
                         : "";
  if (name == "BertForSequenceClassification")
    return text_key(json, "problem_type", "") == "regression" || labels_of(json).size() == 1
               ? HeadKind::regression
               : HeadKind::classification;
  if (name == "BertForMaskedLM" || name == "BertForPreTraining") return HeadKind::masked_lm;
  return HeadKind::none;
}

ModelConfig read_config(const Json& json) {
  ModelConfig c;
  c.family = "bert";
  c.raw = json;
  c.vocab_size = required_key<int64_t>(json, "vocab_size");
  c.hidden_size = required_key<int64_t>(json, "hidden_size");
  c.layers = required_key<int64_t>(json, "num_hidden_layers");
  c.attention_heads = required_key<int64_t>(json, "num_attention_heads");
  c.intermediate_size = required_key<int64_t>(json, "intermediate_size");
  c.max_positions = required_key<int64_t>(json, "max_position_embeddings");
  c.type_vocab_size = static_cast<int64_t>(number_key(json, "type_vocab_size", 2));
  c.pad_token_id = static_cast<int64_t>(number_key(json, "pad_token_id", 0));
  c.norm_eps = number_key(json, "layer_norm_eps", 1e-12);
  c.initializer_range = number_key(json, "initializer_range", 0.02);
  c.hidden_dropout = number_key(json, "hidden_dropout_prob", 0.1);
  c.attention_dropout = number_key(json, "attention_probs_dropout_prob", 0.1);
  c.classifier_dropout = number_key(json, "classifier_dropout", c.hidden_dropout);
  c.activation = text_key(json, "hidden_act", "gelu");
  c.head = head_of(json);
  if (c.head == HeadKind::classification || c.head == HeadKind::regression)
    c.labels = labels_of(json);
  for (int64_t size : {c.vocab_size, c.hidden_size, c.layers, c.attention_heads,
                       c.intermediate_size, c.max_positions, c.type_vocab_size})
    if (size <= 0 || size > (int64_t{1} << 31))
      throw Error(ErrorKind::model, str("config.json: a size of ", size, " is out of range"));
  if (c.hidden_size % c.attention_heads != 0)
    throw Error(ErrorKind::model,
                str("config.json: hidden_size ", c.hidden_size, " does not divide by ",
                    c.attention_heads, " attention heads"));
  if (text_key(json, "position_embedding_type", "absolute") != "absolute")
    throw Error(ErrorKind::model,
                "config.json: only absolute position embeddings are supported for bert");
  return c;
}

Json write_config(const ModelConfig& c) {
  Json json = c.raw.is_object() ? c.raw : Json::object();
  const char* architecture = c.head == HeadKind::classification || c.head == HeadKind::regression
                                 ? "BertForSequenceClassification"
                             : c.head == HeadKind::masked_lm ? "BertForMaskedLM"
                                                             : "BertModel";
  json["architectures"] = Json::array({architecture});
  json["model_type"] = "bert";
  json["vocab_size"] = c.vocab_size;
  json["hidden_size"] = c.hidden_size;
  json["num_hidden_layers"] = c.layers;
  json["num_attention_heads"] = c.attention_heads;
  json["intermediate_size"] = c.intermediate_size;
  json["max_position_embeddings"] = c.max_positions;
  json["type_vocab_size"] = c.type_vocab_size;
  json["pad_token_id"] = c.pad_token_id;
  json["layer_norm_eps"] = c.norm_eps;
  json["hidden_act"] = c.activation;
  json["dtype"] = "float32";
  json.erase("torch_dtype");
  json.erase("quantization_config");
  for (const char* key : {"id2label", "label2id", "problem_type", "num_labels"}) json.erase(key);
  if (!c.labels.empty()) {
    Json names = Json::object(), ids = Json::object();
    for (size_t i = 0; i < c.labels.size(); ++i)
      names[std::to_string(i)] = c.labels[i], ids[c.labels[i]] = i;
    json["id2label"] = names;
    json["label2id"] = ids;
    json["problem_type"] =
        c.head == HeadKind::regression ? "regression" : "single_label_classification";
  }
  return json;
}

// --- tensor names

struct LayerTensor {
  const char* name;  // of a linear layer or a norm inside "encoder.layer.<i>."
  Role role;
  int64_t ModelConfig::*out;
  int64_t ModelConfig::*in;  // null: a norm
};
constexpr LayerTensor layer_tensors[] = {
    {"attention.self.query", Role::query, &ModelConfig::hidden_size, &ModelConfig::hidden_size},
    {"attention.self.key", Role::key, &ModelConfig::hidden_size, &ModelConfig::hidden_size},
    {"attention.self.value", Role::value, &ModelConfig::hidden_size, &ModelConfig::hidden_size},
    {"attention.output.dense", Role::attention_output, &ModelConfig::hidden_size,
     &ModelConfig::hidden_size},
    {"attention.output.LayerNorm", Role::norm, &ModelConfig::hidden_size, nullptr},
    {"intermediate.dense", Role::ffn_in, &ModelConfig::intermediate_size,
     &ModelConfig::hidden_size},
    {"output.dense", Role::ffn_out, &ModelConfig::hidden_size, &ModelConfig::intermediate_size},
    {"output.LayerNorm", Role::norm, &ModelConfig::hidden_size, nullptr}};

bool is_head_tensor(const std::string& name) {
  return starts_with(name, "classifier.") || starts_with(name, "cls.");
}

std::string file_name(const std::string& canonical, HeadKind head) {
  bool bare = head == HeadKind::none || head == HeadKind::embedding || is_head_tensor(canonical);
  return bare ? canonical : "bert." + canonical;
}

// Buffers of older files, the tied decoder, and the next-sentence head of pre-training checkpoints.
bool ignored(const std::string& name) {
  return name == "embeddings.position_ids" || name == "embeddings.token_type_ids" ||
         name == "cls.predictions.decoder.weight" || name == "cls.predictions.decoder.bias" ||
         starts_with(name, "cls.seq_relationship.");
}

// --- the model

// Takes tensors out of a state into a parameter table, initialising those of a new head.
class Assembler {
 public:
  Assembler(const ModelState& state, ParamTable& params, uint64_t seed)
      : state_(state),
        params_(params),
        generator_(at::make_generator<at::CPUGeneratorImpl>(stream_seed(seed, "init"))) {}

  bool has(const std::string& name) const { return state_.tensors.contains(name); }

  Parameter* take(const std::string& name, Role role, int layer, std::vector<int64_t> shape,
                  double fresh = -1) {
    auto it = state_.tensors.find(name);
    Tensor value;
    if (it != state_.tensors.end()) {
      if (it->second.sizes() != shape) {
        problems_.push_back(compress::str(name, " has shape ", it->second.sizes(),
                                          ", the config asks for ", at::IntArrayRef(shape)));
        return nullptr;
      }
      value = it->second.detach().to(torch::kFloat32).clone(at::MemoryFormat::Contiguous);
    } else if (fresh >= 0) {
      value = torch::zeros(shape);
      if (fresh > 0) value.normal_(0, fresh, generator_);
    } else {
      problems_.push_back(name + " is missing");
      return nullptr;
    }
    Parameter& parameter = params_.add(name, role, layer, value);
    parameter.castable = layer >= 0 && role != Role::norm;
    return &parameter;
  }

  Linear linear(const std::string& name, Role role, int layer, int64_t out, int64_t in,
                double fresh = -1) {
    Linear result;
    result.weight = take(name + ".weight", role, layer, {out, in}, fresh);
    result.bias = take(name + ".bias", Role::bias, layer, {out}, fresh < 0 ? -1 : 0);
    return result;
  }

  LayerNorm norm(const std::string& name, int layer, int64_t width, double eps,
                 bool fresh = false) {
    LayerNorm result;
    bool initialise = fresh && !has(name + ".weight");
    result.weight = take(name + ".weight", Role::norm, layer, {width}, fresh ? 0 : -1);
    result.bias = take(name + ".bias", Role::norm, layer, {width}, fresh ? 0 : -1);
    torch::NoGradGuard no_grad;
    if (initialise && result.weight != nullptr) result.weight->latent.fill_(1);
    result.eps = eps;
    return result;
  }

  // Throws one error that lists everything that did not fit.
  void finish() const {
    if (problems_.empty()) return;
    std::vector<std::string> shown(problems_.begin(),
                                   problems_.begin() + std::min<size_t>(problems_.size(), 12));
    if (shown.size() < problems_.size())
      shown.push_back(str("and ", problems_.size() - shown.size(), " more"));
    throw Error(ErrorKind::model, "tensors do not fit the config: " + join(shown, "; "), {},
                "the weights and config.json must belong to the same model");
  }

 private:
  const ModelState& state_;
  ParamTable& params_;
  at::Generator generator_;
  std::vector<std::string> problems_;
};

struct Layer {
  FusedLinear qkv;
  Linear attention_output, ffn_in, ffn_out;
  LayerNorm attention_norm, output_norm;
};

class Bert : public Model {
 public:
  Bert(const ModelState& state, uint64_t seed) : Model(state.config) {
    Assembler assemble(state, params_, seed);
    const ModelConfig& c = config_;
    embeddings_.word = assemble.take("embeddings.word_embeddings.weight", Role::embedding, -1,
                                     {c.vocab_size, c.hidden_size});
    embeddings_.position = assemble.take("embeddings.position_embeddings.weight", Role::embedding,
                                         -1, {c.max_positions, c.hidden_size});
    embeddings_.segment = assemble.take("embeddings.token_type_embeddings.weight", Role::embedding,
                                        -1, {c.type_vocab_size, c.hidden_size});
    embedding_norm_ = assemble.norm("embeddings.LayerNorm", -1, c.hidden_size, c.norm_eps);
    for (int i = 0; i < c.layers; ++i) add_layer(assemble, i);
    add_head(assemble);
    assemble.finish();
    // The tied decoder of a masked LM gives every row a gradient.
    bool rows = c.head != HeadKind::masked_lm;
    embeddings_.word->row_gradient = rows;
    embeddings_.position->row_gradient = true;
    embeddings_.segment->row_gradient = true;
    for (Layer& layer : layers_) {
      layer.qkv.weight = &params_.fuse(
          {layer.qkv.parts[0].weight, layer.qkv.parts[1].weight, layer.qkv.parts[2].weight});
      layer.qkv.bias = &params_.fuse(
          {layer.qkv.parts[0].bias, layer.qkv.parts[1].bias, layer.qkv.parts[2].bias});
    }
  }

  Outputs forward(const data::Batch& batch, const Capture& capture, const Pass& pass) override {
    Outputs out;
    DropoutSeeds seeds(pass.dropout_seed, pass.training, batch.part);
    // Parts of an update draw for themselves there.
    if (pass.training)
      begin_draws(device(),
                  batch.part.first_token == 0
                      ? pass.dropout_seed
                      : mix64(pass.dropout_seed ^ static_cast<uint64_t>(batch.part.first_token)));
    const int64_t computed = computed_rows(batch.tokens(), pass.precision, device());
    const Rows rows{pass.training, batch.tokens()};
    Tensor hidden = drop(embedding_norm_(embeddings_(batch, computed)), config_.hidden_dropout,
                         seeds, seeds.first_token())
                        .to(dtype(pass.precision));
    if (capture.hidden) out.hidden.push_back(rows.of(hidden));
    for (const Layer& layer : layers_) {
      hidden = run_layer(layer, hidden, batch, rows, seeds, capture, out);
      if (capture.hidden) out.hidden.push_back(rows.of(hidden));
    }
    run_head(rows.of(hidden), batch, seeds, capture, out);
    return out;
  }

 private:
  void add_layer(Assembler& assemble, int index) {
    const ModelConfig& c = config_;
    std::string prefix = str("encoder.layer.", index, ".");
    std::vector<Linear> linears;
    std::vector<LayerNorm> norms;
    for (const LayerTensor& entry : layer_tensors) {
      if (entry.in == nullptr) {
        norms.push_back(assemble.norm(prefix + entry.name, index, c.*entry.out, c.norm_eps));
      } else {
        linears.push_back(
            assemble.linear(prefix + entry.name, entry.role, index, c.*entry.out, c.*entry.in));
      }
    }
    Layer layer;
    layer.qkv.parts.assign(linears.begin(), linears.begin() + 3);
    layer.attention_output = linears[3];
    layer.ffn_in = linears[4];
    layer.ffn_out = linears[5];
    layer.attention_norm = norms[0];
    layer.output_norm = norms[1];
    layers_.push_back(std::move(layer));
  }

  void add_head(Assembler& assemble) {
    const ModelConfig& c = config_;
    const int64_t h = c.hidden_size;
    bool classifier = c.head == HeadKind::classification || c.head == HeadKind::regression;
    if (classifier || (c.head != HeadKind::masked_lm && assemble.has("pooler.dense.weight")))
      pooler_ = assemble.linear("pooler.dense", Role::pooler, -1, h, h, c.initializer_range);
    if (classifier)
      classifier_ =
          assemble.linear("classifier", Role::head, -1, c.outputs(), h, c.initializer_range);
    if (c.head == HeadKind::masked_lm) {
      transform_ = assemble.linear("cls.predictions.transform.dense", Role::head, -1, h, h,
                                   c.initializer_range);
      transform_norm_ =
          assemble.norm("cls.predictions.transform.LayerNorm", -1, h, c.norm_eps, true);
      decoder_bias_ = assemble.take("cls.predictions.bias", Role::bias, -1, {c.vocab_size}, 0);
    }
  }

  // `first`: number of the first row of x among the tokens or rows of the update.
  static Tensor drop(const Tensor& x, double p, DropoutSeeds& seeds, int64_t first) {
    return seeds.training() ? dropout(x, p, seeds.next(), first * x.size(1)) : x;
  }

  Tensor run_layer(const Layer& layer, const Tensor& x, const data::Batch& batch, const Rows& rows,
                   DropoutSeeds& seeds, const Capture& capture, Outputs& out) const {
    const int64_t width = config_.hidden_size / config_.attention_heads;
    AttentionShape shape{config_.attention_heads, width,
                         1.0 / std::sqrt(static_cast<double>(width)), config_.attention_dropout};
    Tensor scores;
    Tensor mixed =
        attention(layer.qkv(x, rows), batch, shape, seeds, capture.attention ? &scores : nullptr);
    if (capture.attention) out.attention.push_back(scores);
    const double p = config_.hidden_dropout;
    Tensor middle =
        residual_norm(layer.attention_output(mixed, rows), x, layer.attention_norm, p, seeds);
    Tensor inner = layer.ffn_in.activated(middle, rows, config_.activation);
    return residual_norm(layer.ffn_out(inner, rows), middle, layer.output_norm, p, seeds);
  }

  // Mean over each row's tokens, or its first token; [B, H] float32.
  Tensor pool(const Tensor& hidden, const data::Batch& batch) const {
    const int64_t rows = batch.rows();
    Tensor starts = batch.offsets.slice(0, 0, rows);
    if (config_.head != HeadKind::embedding || config_.pooling == "cls")
      return hidden.index_select(0, starts).to(torch::kFloat32);
    Tensor row = batch.slots.floor_divide(batch.longest);
    Tensor sum = torch::zeros({rows, hidden.size(1)}, hidden.options().dtype(torch::kFloat32))
                     .index_add(0, row, hidden.to(torch::kFloat32));
    return sum / (batch.offsets.slice(0, 1) - starts).unsqueeze(1);
  }

  void run_head(const Tensor& hidden, const data::Batch& batch, DropoutSeeds& seeds,
                const Capture& capture, Outputs& out) const {
    if (config_.head == HeadKind::masked_lm) {
      run_masked_lm(hidden, batch, out);
      return;
    }
    if (config_.head == HeadKind::embedding) {
      out.pooled = pool(hidden, batch);
      return;
    }
    if (pooler_.weight == nullptr) return;
    Tensor pooled = torch::tanh(pooler_(pool(hidden, batch), {seeds.training()}));
    if (capture.pooled || classifier_.weight == nullptr) out.pooled = pooled;
    if (classifier_.weight != nullptr)
      out.logits = classifier_(drop(pooled, config_.classifier_dropout, seeds, seeds.first_row()),
                               {seeds.training()});
  }

  void run_masked_lm(const Tensor& hidden, const data::Batch& batch, Outputs& out) const {
    Tensor states = hidden;
    const Tensor& labels = batch.targets.token_labels;
    if (labels.defined()) {
      // Looking for labels on a device would wait for it.
      const Tensor& listed = batch.targets.token_index;
      out.token_index = listed.defined() ? listed : labels.ne(-100).nonzero().squeeze(1);
      states = hidden.index_select(0, out.token_index);
    } else {
      out.token_index = torch::arange(hidden.size(0), batch.token_ids.options());
    }
    Tensor x =
        transform_norm_(activation(transform_(states.to(torch::kFloat32), {}), config_.activation));
    const Tensor& table = embeddings_.word->effective;
    out.token_logits =
        at::linear(x.to(hidden.scalar_type()), table.to(hidden.scalar_type())).to(torch::kFloat32) +
        decoder_bias_->effective;
  }

  Embeddings embeddings_;
  LayerNorm embedding_norm_, transform_norm_;
  std::vector<Layer> layers_;
  Linear pooler_, classifier_, transform_;
  Parameter* decoder_bias_ = nullptr;
};

std::unique_ptr<Model> build_bert(const ModelState& state, uint64_t seed) {
  return std::make_unique<Bert>(state, seed);
}

}  // namespace

Family bert_family() {
  return {"bert", {"bert."}, read_config, write_config, file_name, ignored, build_bert};
}

}  // namespace compress::nn
