#pragma once
// Models: configuration, outputs, captures, and the families that build them.

#include "compress/data/torch.h"

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "compress/data/batch.h"
#include "compress/nn/heads.h"
#include "compress/nn/parameter.h"

namespace compress::nn {

using Json = nlohmann::ordered_json;

// Something that is added to a finished model (attachment.h): its kind, the name that it has in the
// model, and its options.
struct AttachmentSpec {
  std::string kind, name;
  Json options;
};

// The configuration that layers need, typed; `raw` keeps the file's other keys so that they survive
// a round trip. What a family does not have stays 0.
struct ModelConfig {
  std::string family;  // Hugging Face model_type: "bert"
  int64_t vocab_size = 0, hidden_size = 0, layers = 0, attention_heads = 0, intermediate_size = 0;
  int64_t max_positions = 0, type_vocab_size = 0, pad_token_id = 0;
  int64_t kv_heads = 0;        // heads of keys and values; read_config() gives attention_heads
                               // where the file has none
  int64_t head_width = 0;      // of one head; hidden_size / attention_heads where the file has none
  int64_t embedding_size = 0;  // hidden_size where the file has none
  // Sizes of an encoder-decoder's decoder; `layers` and the others are then the encoder's.
  int64_t decoder_layers = 0, decoder_heads = 0, decoder_intermediate_size = 0;
  int64_t relative_buckets = 0, relative_distance = 0;
  int64_t window = 0;  // keys that a query sees at most, itself included; 0 = all before it
  double rope_theta = 10000;
  Json rope_scaling;  // null = none
  double norm_eps = 1e-12, initializer_range = 0.02;
  double hidden_dropout = 0.1, attention_dropout = 0.1, classifier_dropout = 0.1;
  double embedding_dropout = 0.1, activation_dropout = 0, span_dropout = 0.1;
  std::string activation = "gelu";  // gelu (erf) | gelu_new (tanh) | relu | silu
  bool gated = false;               // feed-forward: activation(gate x) * (up x)
  bool tied = true;                 // the output table is the word embedding
  bool scale_embedding = false;     // word embeddings times the square root of hidden_size
  bool attention_bias = false, mlp_bias = false;
  bool frozen_positions = false;  // learned positions that training leaves alone
  int64_t bos_token_id = -1, decoder_start_token_id = -1, forced_bos_token_id = -1;
  std::vector<int64_t> eos_token_ids;
  HeadKind head = HeadKind::none;
  std::vector<std::string>
      labels;  // class names by index (classification); one entry for regression, usually
  std::vector<HeadSpec> more_heads;  // beside that one, on the same body
  // The embedding head: modes of nn/pooling.h with '+' between, the width of a projection behind
  // them (0 = none), and whether the embedding has length 1.
  std::string pooling = "mean";
  int64_t projection = 0;
  bool normalize = false;
  Json
      sentence;  // files of sentence-transformers by name, for a round trip; null = there were none
  std::vector<AttachmentSpec> attachments;  // in the order of their plugs
  Json raw;
  int64_t outputs() const { return static_cast<int64_t>(labels.size()); }
  bool encoder_decoder() const { return decoder_layers > 0; }
  // One of more_heads; null where there is none of that name.
  const HeadSpec* find_head(const std::string& name) const;
};
// The configuration in which one of `more_heads` is the model's own head, and there is no other;
// with "" the own head stays, and with mean_of_heads where several answer. Error{recipe} without a
// place that lists the names otherwise.
ModelConfig with_head(const ModelConfig& config, const std::string& name);
// The heads whose answers make that of `name` ("" is the model's own): that head alone, but for
// mean_of_heads the own head and all further ones that predict the same classes, or a score, of
// rows (CERBERUS, arXiv 2201.05767: the mean over heads). Errors as with_head().
std::vector<std::string> answering_heads(const ModelConfig& config, const std::string& name);

// A model as data: what surgery edits, checkpoints hold and families build from. Names are
// canonical.
struct ModelState {
  ModelConfig config;
  TensorMap tensors;                 // float32 unless a family says otherwise
  std::vector<std::string> history;  // edits in words: "drop_layers: kept 1, 3, 5 of 6"
  // How the layers of a file with int8 weights, which `tensors` has as int8 times scale, quantise
  // (constraint::Constraint::export_scheme()), and the scales by the weight's name. Null and empty
  // for other files.
  Json quantization;
  TensorMap weight_scales;
};

// Some of a stack's layers, by number: none, all, or those that are named.
class Layers {
 public:
  Layers() = default;
  Layers(bool all) : all_(all) {}  // NOLINT: true is all of them
  void add(int64_t layer) { named_.insert(layer); }
  bool has(int64_t layer) const { return all_ || named_.contains(layer); }
  explicit operator bool() const { return all_ || !named_.empty(); }
  // The layers below `count`, ascending.
  std::vector<int64_t> below(int64_t count) const;
  Layers operator|(const Layers& other) const;

 private:
  bool all_ = false;
  std::set<int64_t> named_;
};

// What to record during a forward pass; nothing else is kept. For an encoder-decoder, `hidden` and
// `attention` are the encoder's.
struct Capture {
  Layers hidden;     // of Outputs::hidden, 0 .. L
  Layers attention;  // of Outputs::attention, 0 .. L - 1
  bool pooled = false;
  std::set<std::string> heads;  // of ModelConfig::more_heads; the own head always computes
  Layers decoder_hidden, decoder_attention, cross_attention;
  Capture operator|(const Capture& other) const;
  bool any_attention() const { return attention || decoder_attention || cross_attention; }
};

// What is kept of a distribution over a vocabulary where keeping all of it would be too much: its
// most probable tokens and the mass of the others. Natural logarithms at temperature 1.
struct TopTokens {
  torch::Tensor ids;        // [M, k] int64, the most probable first
  torch::Tensor log_probs;  // [M, k] float32
  torch::Tensor tail;       // [M] float32: logarithm of the probability of all other tokens
};

// What one head says.
struct HeadOutputs {
  // [B, C] float32: classification, regression (C = 1), multiple choice (C = 1: rows are choices).
  torch::Tensor logits;
  // [M, C] float32, of each token: C = vocabulary for masked, causal and sequence-to-sequence LM,
  // else classes, 2 for span (first, last) and 1 for replaced_token. M are the positions with a
  // label, all where the batch has no token_labels.
  torch::Tensor token_logits;
  torch::Tensor token_index;  // [M] int64: packed positions of token_logits' rows
  TopTokens top_tokens;       // of the same positions, instead of token_logits: a teacher's cache
  torch::Tensor pooled;       // [B, H] float32: the pooler's output, or the pooled embedding
};

struct Outputs : HeadOutputs {
  std::map<std::string, HeadOutputs> more;  // of the further heads that were captured
  // L + 1 of [T, H]; 0 = embedding output; the last one has been through the final norm where a
  // family has one. Here and below, layers that were not captured are undefined.
  std::vector<torch::Tensor> hidden;
  std::vector<torch::Tensor>
      attention;  // L of [B, heads, longest, longest] float32, scaled, before mask and softmax
  // The same for a decoder behind an encoder, and its attention to the encoder's states [B, heads,
  // longest of the decoder, longest of the encoder].
  std::vector<torch::Tensor> decoder_hidden, decoder_attention, cross_attention;
  // A head by its name; "": the model's own. Error{internal} for one that was not captured.
  const HeadOutputs& of(const std::string& head) const;
};

// How a forward pass runs. The same `dropout_seed` gives the same dropout, so a step can be
// replayed.
struct Pass {
  bool training = false;
  uint64_t dropout_seed = 0;
  Precision precision = Precision::float32;
};

struct Decoding;  // decoding.h
class Plugs;      // plugs.h

class Model {
 public:
  explicit Model(ModelConfig config) : config_(std::move(config)) {}
  virtual ~Model() = default;
  // `params().refresh(pass.precision)` must have run since the last change of weights.
  virtual Outputs forward(const data::Batch& batch, const Capture& capture, const Pass& pass) = 0;

  // Text generation, of models with a causal stack; see decoding.h. Error{model} for others.
  //
  // Begins `copies` continuations of each row of `batch`, each of at most `capacity` tokens. An
  // encoder-decoder reads the batch; of a decoder its rows are only counted, the prompt comes with
  // the first decode().
  virtual Decoding begin_decoding(const data::Batch& batch, int64_t copies, int64_t capacity,
                                  const Pass& pass);
  // Reads tokens behind those that `decoding` holds, one row of `tokens` (one token or more) for
  // each of its rows, and returns the logits behind the last token of each: [rows, vocabulary]
  // float32. Positions are the decoding's: those of `tokens` do not count.
  virtual torch::Tensor decode(Decoding& decoding, const data::Batch& tokens, const Pass& pass);

  // What is plugged into the layers, several in the order of plugging; not owned. It outlives
  // forward() and backward(), or the model.
  void plug(Plugs* plugs) { plugs_.push_back(plugs); }
  void unplug(const Plugs* plugs) { std::erase(plugs_, plugs); }
  const std::vector<Plugs*>& plugs() const { return plugs_; }

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
  std::vector<Plugs*> plugs_;
};

// Builds the model of a state (a copy of its tensors).
std::unique_ptr<Model> build(const ModelState& state, uint64_t seed);
// Changes the head of a state: labels for classification and token classification, one output for
// regression. An existing head of the same kind stays where its classes are `labels` by name, in
// whatever order, or by number (data/classes.h): its rows then follow the labels. Otherwise its
// tensors are removed, to be initialised by build(). Returns what happened in words: "head drawn
// anew: classes a, b", "head kept, its rows reordered: classes b, a for a, b"; "" where nothing
// did.
//
// Further heads stay where the own head's kind does, else they are removed.
std::string set_head(ModelState& state, HeadKind head, std::vector<std::string> labels,
                     std::string pooling = "mean");
// Gives a state the further heads `specs` and no others. One that is there under its name with the
// same kind and number of layers stays, its rows following the labels; labels that are left out are
// those that it has. Tensors of other ones are made: layers of its own as copies of the body's last
// ones, output layers as copies of the own head's where both are of one kind with the same classes;
// else build() draws them. Error{recipe} without a place for a head that the family cannot have.
// Returns what happened, one sentence a head.
std::vector<std::string> set_more_heads(ModelState& state, std::vector<HeadSpec> specs);

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
