#pragma once
// Models: configuration, outputs, captures, and the families that build them.

#include "compress/data/torch.h"

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "compress/data/batch.h"
#include "compress/nn/parameter.h"

namespace compress::nn {

using Json = nlohmann::ordered_json;

enum class HeadKind { none, classification, regression, masked_lm, embedding };
const char* head_name(HeadKind kind);
HeadKind parse_head(const std::string& name);  // Error{recipe} for an unknown one

// The configuration that layers need, typed; `raw` keeps the file's other keys so that they survive
// a round trip.
struct ModelConfig {
  std::string family;  // Hugging Face model_type: "bert"
  int64_t vocab_size = 0, hidden_size = 0, layers = 0, attention_heads = 0, intermediate_size = 0;
  int64_t max_positions = 0, type_vocab_size = 0, pad_token_id = 0;
  double norm_eps = 1e-12, initializer_range = 0.02;
  double hidden_dropout = 0.1, attention_dropout = 0.1, classifier_dropout = 0.1;
  std::string activation = "gelu";  // gelu (erf) | gelu_new (tanh) | relu | silu
  HeadKind head = HeadKind::none;
  std::vector<std::string>
      labels;                    // class names by index (classification); one entry for regression
  std::string pooling = "mean";  // of the embedding head: mean | cls
  Json raw;
  int64_t outputs() const { return static_cast<int64_t>(labels.size()); }
};

// A model as data: what surgery edits, checkpoints hold and families build from. Names are
// canonical.
struct ModelState {
  ModelConfig config;
  TensorMap tensors;                 // float32 unless a family says otherwise
  std::vector<std::string> history;  // edits in words: "drop_layers: kept 1, 3, 5 of 6"
  // Of a file with int8 weights, which `tensors` has as int8 times scale: how its layers quantise
  // (constraint::Constraint::export_scheme()), and the scales by the weight's name. Null and empty
  // for other files.
  Json quantization;
  TensorMap weight_scales;
};

// What to record during a forward pass; nothing else is kept.
struct Capture {
  bool hidden = false;     // hidden[0..L]
  bool attention = false;  // scores[0..L-1]
  bool pooled = false;
  Capture operator|(const Capture& o) const {
    return {hidden || o.hidden, attention || o.attention, pooled || o.pooled};
  }
};

// What is kept of a distribution over a vocabulary where keeping all of it would be too much: its
// most probable tokens and the mass of the others. Natural logarithms at temperature 1.
struct TopTokens {
  torch::Tensor ids;        // [M, k] int64, the most probable first
  torch::Tensor log_probs;  // [M, k] float32
  torch::Tensor tail;       // [M] float32: logarithm of the probability of all other tokens
};

struct Outputs {
  torch::Tensor logits;        // [B, C] float32: classification, regression (C = 1)
  torch::Tensor token_logits;  // [M, V] float32: masked LM, at positions with a label (all T when
                               // there are no targets)
  torch::Tensor token_index;   // [M] int64: packed positions of token_logits' rows
  TopTokens top_tokens;        // of the same positions, instead of token_logits: a teacher's cache
  torch::Tensor pooled;        // [B, H] float32: the pooler's output, or the pooled embedding
  std::vector<torch::Tensor> hidden;  // L + 1 of [T, H]; 0 = embedding output
  std::vector<torch::Tensor>
      attention;  // L of [B, heads, longest, longest] float32, scaled, before mask and softmax
};

// How a forward pass runs. The same `dropout_seed` gives the same dropout, so a step can be
// replayed.
struct Pass {
  bool training = false;
  uint64_t dropout_seed = 0;
  Precision precision = Precision::float32;
};

class Model {
 public:
  explicit Model(ModelConfig config) : config_(std::move(config)) {}
  virtual ~Model() = default;
  // `params().refresh(pass.precision)` must have run since the last change of weights.
  virtual Outputs forward(const data::Batch& batch, const Capture& capture, const Pass& pass) = 0;

  const ModelConfig& config() const { return config_; }
  ModelConfig& config() { return config_; }
  ParamTable& params() { return params_; }
  const ParamTable& params() const { return params_; }
  const std::vector<std::string>& history() const { return history_; }
  std::vector<std::string>& history() { return history_; }
  // Latent weights by canonical name (no copies). Set loads into the existing parameters (shapes
  // must agree).
  ModelState state() const;
  void to(torch::Device device);
  torch::Device device() const;
  // Turns off gradients: a teacher.
  void freeze();

 protected:
  ModelConfig config_;
  ParamTable params_;
  std::vector<std::string> history_;
};

// One model family: how its files are named and how it is built. A family is one file in
// src/nn/families.
struct Family {
  std::string model_type;
  std::vector<std::string> prefixes;  // accepted in front of canonical names: "bert."
  ModelConfig (*read_config)(
      const Json&);  // from config.json; Error{model} for what is missing or unsupported
  Json (*write_config)(
      const ModelConfig&);  // to config.json: raw keys updated, architectures list fitting the head
  std::string (*file_name)(const std::string& canonical,
                           HeadKind head);        // canonical -> name on disk
  bool (*ignored)(const std::string& canonical);  // buffers in files that are no parameters
  // Builds from a state. Head tensors that are missing are initialised (seeded by `seed`), tensors
  // of a dropped head are left out; anything else missing or of the wrong shape is an Error{model}
  // naming it.
  std::unique_ptr<Model> (*build)(const ModelState& state, uint64_t seed);
};
const Family& family(const std::string& model_type);  // Error{model} naming the supported ones
const std::vector<Family>& families();

// Builds the model of a state (a copy of its tensors).
std::unique_ptr<Model> build(const ModelState& state, uint64_t seed);
// Changes the head of a state: labels for classification, one output for regression. An existing
// head of the same kind and label names is kept; otherwise its tensors are removed, to be
// initialised by build().
void set_head(ModelState& state, HeadKind head, std::vector<std::string> labels,
              std::string pooling = "mean");

// Parameter counts for reports.
struct Census {
  int64_t parameters = 0;  // all, as exported
  int64_t zeros = 0;
  int64_t encoder_linear =
      0;  // weights of the matrices inside layers: the usual denominator of sparsity
  int64_t encoder_linear_zeros = 0;
};
Census census(const Model& model);

}  // namespace compress::nn
