#pragma once
// What a family of models is: two tables (keys of config.json, names of tensors) and the options of
// the shared layers that its models are composed of. nn/transformer.h builds and runs any of them,
// but for families that build models of their own (Family::build).

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "compress/nn/model.h"

namespace compress::nn {

// --- keys of config.json

// A key and the field that it fills. Numbers are checked to be finite, sizes to be positive.
struct ConfigKey {
  using Field = std::variant<int64_t ModelConfig::*, double ModelConfig::*, bool ModelConfig::*,
                             std::string ModelConfig::*>;
  const char* name;
  Field field;
  // What holds where the key is missing or null. A size without one must be there.
  std::variant<std::monostate, int64_t, double, bool, const char*> fallback{};
};

// Another name that transformers takes for a key. It is read where the key is missing, must say the
// same where both are there, and is written where the file has it.
struct ConfigAlias {
  const char* name;
  const char* key;
};

// --- names of tensors; an empty name is a tensor that the family does not have

enum class NormKind { layer, rms };  // rms: no mean, no bias
enum class Positions { none, learned, rotary, relative };

// Modules of one attention sub-layer behind the layer's prefix: "attention.self.query".
struct AttentionNames {
  std::string query, key, value, output, norm;
  std::string joined;                // query, key and value in one matrix, instead of three
  std::string query_norm, key_norm;  // norms of each head's query and key (Qwen3)
};
struct FeedForwardNames {
  std::string gate, in, out, norm;
};

// One stack of layers: an encoder, or a decoder.
struct Stack {
  int64_t layers = 0, heads = 0, kv_heads = 0, intermediate = 0;
  int64_t head_width = 0;  // 0: the config's
  bool causal = false;
  bool cross = false;        // attends to the encoder's states
  std::string layer_prefix;  // "encoder.layer." before the number
  AttentionNames self, across;
  FeedForwardNames feed_forward;
  // Embeddings. Word tables of one name are one parameter (an encoder's and a decoder's).
  std::string word, position, segment, embedding_norm;
  std::string projection;  // from embedding_size to hidden_size
  std::string final_norm;
  std::string relative_bias;  // [buckets, heads]; layer 0's, used by all layers of the stack
};

// From the states of a stack to the head's outputs, in this order; what has no name is not there.
struct HeadPlan {
  // Which states: of every token, or of one a row. last_word: the last one that is no padding
  // token, as a row may end with tokens that the config calls so.
  enum class From { tokens, first, last, last_word } from = From::tokens;
  std::string pooler;  // linear and tanh, kept as Outputs::pooled
  double first_dropout = 0;
  std::string dense, dense_activation, dense_norm;  // with a bias
  int64_t dense_size = 0;                           // 0: hidden_size
  double dropout = 0;
  std::string out;  // linear layer of `outputs` rows
  int64_t outputs = 0;
  bool out_bias = true;
  bool out_tied = false;        // `out` is the word embedding: the module's name, not a parameter's
  std::string out_bias_name;    // of a bias that is not `out`.bias
  bool bias_is_buffer = false;  // trained by nobody, [1, outputs] on disk
  double scale = 1;             // of the states before `out`
};

struct Architecture {
  NormKind norm = NormKind::layer;
  bool pre_norm = false;  // norm before a sub-layer instead of behind its residual
  Positions positions = Positions::learned;
  int64_t position_rows = 0;    // of the table of learned positions
  int64_t position_offset = 0;  // row of the table for a row's first token
  bool linear_bias = true;      // of the layers' matrices ...
  bool query_bias = true;       // ... and of query, key, value (each only where its names say so)
  bool output_bias = true;      // ... and of the attention's output
  double attention_scale = 0;   // 0: 1 / sqrt(head width)
  double embedding_scale = 1;
  double embedding_dropout = 0;
  bool final_dropout = false;  // dropout behind the final norm (T5)
  Stack encoder;               // layers = 0: none
  Stack decoder;               // of decoder-only families, too
  HeadPlan head;
};

// --- families

struct HeadClass {
  HeadKind head;
  std::string name;              // "BertForMaskedLM"; the first of a kind is written, all are read
  const char* prefix = nullptr;  // instead of the family's
  std::vector<HeadSpec> also = {};  // heads that models of the class have besides
};

// A tensor of a model and its shape.
struct NamedShape {
  std::string name;
  std::vector<int64_t> shape;
};

struct Family {
  std::string model_type;
  std::string prefix;                      // of the base model's tensors inside a model with a head
  std::vector<std::string> also_prefixes;  // accepted as well when reading
  std::vector<std::string> head_tensors;   // prefixes of names outside the base model: "cls."
  std::vector<std::string> optional_tensors;  // inside it, but not needed by every head: "pooler."
  std::vector<HeadClass> classes;
  std::vector<ConfigKey> keys;
  std::vector<ConfigAlias> aliases;
  std::vector<std::string> also_read;   // other keys that `finish` and `architecture` look at
  std::vector<std::string> ignored;     // globs of buffers in files that are no parameters
  std::vector<std::string> transposed;  // globs of matrices that lie on disk as [in, out]
  // What the keys do not say: checks, derived fields. Error{model}.
  void (*finish)(ModelConfig& config, const Json& json) = nullptr;
  // The reverse, for keys that are not in the table.
  void (*write)(const ModelConfig& config, Json& json) = nullptr;
  Architecture (*architecture)(const ModelConfig&) = nullptr;
  // Null: a Transformer of that architecture. Otherwise the model is the family's own: its
  // architecture has stacks without layers, of which `encoder.word` names the table of words and
  // `head` the head, and `body` lists all tensors but the head's. `config` is the state's,
  // completed. Folders of such a family may lack weights until `initialise` draws them.
  std::unique_ptr<Model> (*build)(const ModelState& state, const ModelConfig& config,
                                  uint64_t seed) = nullptr;
  std::vector<NamedShape> (*body)(const ModelConfig&) = nullptr;
  bool has_layers() const { return build == nullptr; }

  // From config.json; Error{model} for what is missing or unsupported.
  ModelConfig read_config(const Json& json) const;
  // What a reader of config.json should know of keys that read_config() does not follow: a
  // sentence's end each ("names the class X, ...").
  std::vector<std::string> remarks(const Json& json) const;
  // To config.json: raw keys updated, the class fitting the head. What read_config() makes of the
  // other keys stays unsaid where the file did not say it.
  Json write_config(const ModelConfig& config) const;
  // Canonical name -> name on disk.
  std::string file_name(const std::string& canonical, HeadKind head) const;
  // Name on disk -> canonical name.
  std::string canonical_name(std::string name) const;
  bool is_ignored(const std::string& canonical) const;
  // Part of a head, this one or another, that a model may do without.
  bool is_head(const std::string& canonical) const;
  bool is_transposed(const std::string& canonical) const;
  // The heads that there are classes for.
  std::vector<HeadKind> heads() const;
};
const Family& family(const std::string& model_type);  // Error{model} naming the supported ones
const std::vector<Family>& families();
// Fills what follows from other fields where it is 0: heads of keys and values, a head's width, the
// width of embeddings. Error{model} where heads do not divide.
void complete(ModelConfig& config);
// The architecture of a configuration's family.
Architecture architecture(const ModelConfig& config);
// A further head's way from states to outputs, under the names that its tensors have.
HeadPlan head_plan(const ModelConfig& config, const HeadSpec& head);
// The stack whose states heads read, with the layers of a head that has its own: "heads.x.layer.".
Stack head_stack(const Architecture& plan, const HeadSpec& head);
// Places that learned positions have; none where positions are computed.
std::optional<int64_t> learned_places(const ModelConfig& config);
// The most tokens that a row should have: learned places, else what the model was made for.
int64_t longest_row(const ModelConfig& config);

}  // namespace compress::nn
