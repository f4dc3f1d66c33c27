#pragma once
// Parameters: named, with a role, and with the chain of transforms that turns the trained (latent)
// weight into the one that a layer multiplies with.

#include "compress/data/torch.h"

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace compress::nn {

enum class Precision { float32, bf16, fp16 };
torch::ScalarType dtype(Precision precision);
// "float32", "bf16", "fp16"
const char* precision_name(Precision precision);

// What a parameter is for. Selections in recipes name roles ("attention", "ffn", "encoder" are
// groups of them).
enum class Role {
  embedding,
  norm,
  bias,
  query,
  key,
  value,
  joined,  // query, key and value in one matrix
  attention_output,
  ffn_in,
  ffn_out,
  pooler,
  head,
  attachment,  // of what was added to a finished model (attachment.h)
  other
};
const char* role_name(Role role);

struct Parameter;

// One step of the chain latent -> effective weight (mask, fake quantisation). Runs once per update
// and weight; of a table with row gradients on the rows that a batch reads, when it reads them.
// There it makes of a row what it makes of it in the whole table, and passes the gradient.
class WeightTransform {
 public:
  virtual ~WeightTransform() = default;
  // Changes `weight` (float32, scratch memory of the latent's shape) in place. What rounds it to
  // int8 multiples of a step says so in `parameter.steps`.
  virtual void forward(Parameter& parameter, torch::Tensor& weight) = 0;
  // Turns the gradient at the transform's output into the one at its input, in place
  // (straight-through where the transform rounds).
  virtual void backward(const Parameter& parameter, torch::Tensor& gradient) = 0;
};

// What the rows of a layer's input are.
struct RowInfo {
  bool training = false;
  int64_t count = -1;  // those that mean something, at the beginning; -1: all
  // What is drawn for these rows is a function of the pass's seed and of their place in the whole
  // update: `first` is the number of the first one.
  uint64_t seed = 0;
  int64_t first = 0;
  torch::Tensor of(const torch::Tensor& x) const {
    return count < 0 || count == x.size(0) ? x : x.narrow(0, 0, count);
  }
};

// Rounds rows to int8. Called from several threads at once.
class IntegerRows {
 public:
  virtual ~IntegerRows() = default;
  // Rounds `rows` rows of x, `width` values each: x is about (values - zero()) * scales. The rows
  // of `values` are `stride` bytes apart. A row with a value that is not finite gets a scale that
  // is not.
  virtual void round(const float* x, int64_t rows, int64_t width, int8_t* values, int64_t stride,
                     float* scales) const = 0;
  // The value that stands for 0, -128 .. 127.
  virtual int32_t zero() const { return 0; }
};

// Changes what a linear layer reads (fake quantisation of activations). `input` is [rows, in].
class InputTransform {
 public:
  virtual ~InputTransform() = default;
  virtual torch::Tensor apply(const torch::Tensor& input, const RowInfo& rows) = 0;
  // Stateless: all shareable transforms compute the same, so that layers with one input (query,
  // key, value) may apply one of them for all.
  virtual bool shareable() const { return false; }
  // What apply() does outside of training, as integers: (values - zero()) * scales are its result
  // to the bit. Null when that is not what it does (now).
  virtual const IntegerRows* integers() const { return nullptr; }
};

// Changes what a linear layer says, its bias and its branches included, before an activation or
// anyone else reads it (requantisation). `output` is [rows, out], and may be changed in place.
class OutputTransform {
 public:
  virtual ~OutputTransform() = default;
  virtual torch::Tensor apply(const torch::Tensor& output, const RowInfo& rows) = 0;
};

// What is added to a linear layer's output beside its product: a function of what the layer reads.
class LinearBranch {
 public:
  virtual ~LinearBranch() = default;
  // [rows, in] -> [rows, out]; `input` as it was before any InputTransform.
  virtual torch::Tensor apply(const torch::Tensor& input, const RowInfo& rows) = 0;
};

class PackedWeight;  // packed.h

// Rows of an embedding that wait for updates until they are read.
class RowUpdates {
 public:
  virtual ~RowUpdates() = default;
  // Brings the rows `ids` (int64, on the CPU, repetitions allowed) up to date; call before reading
  // them.
  virtual void settle(const torch::Tensor& ids) = 0;
  virtual void settle() = 0;  // all rows
};

struct Parameter {
  std::string name;  // canonical: the Hugging Face name without the model prefix,
                     // "encoder.layer.0....weight"
  Role role = Role::other;
  int layer = -1;  // -1: not in a layer
  torch::Tensor
      latent;  // float32 leaf; its grad() is float32 and, between backward and step, complete
  torch::Tensor effective;  // what layers use: the latent itself, or a leaf in compute precision
  std::vector<WeightTransform*> transforms;  // in order; not owned
  InputTransform* input = nullptr;           // of the linear layer whose weight this is; not owned
  OutputTransform* output = nullptr;         // of that layer; not owned
  std::vector<LinearBranch*> branches;       // beside that layer; not owned
  bool trainable = true;
  bool castable = false;  // the effective weight is kept in compute precision when that is lower
  bool row_gradient = false;  // an embedding: gradients exist in touched rows only
  std::vector<torch::Tensor>
      touched;  // ids whose rows of latent.grad() are not zero (row_gradient)

  RowUpdates* late = nullptr;  // who owes rows their updates; not owned

  torch::Tensor
      steps;  // float32 [out, 1] or [1]: when the effective weight was last computed or read,
              // its rows were int8 multiples of these; undefined where nobody said so
  std::shared_ptr<const PackedWeight> packed;  // while PackedWeights live

  torch::Tensor gradient_buffer;  // float32 memory that latent.grad() uses again each step
  torch::Tensor scratch;          // float32 memory for transforms
  struct Fused* fused = nullptr;  // the group whose memory holds `effective` as rows
  int64_t fused_row = 0;

  int64_t numel() const { return latent.numel(); }
  // The weight of a linear layer: [out, in], inside the model's matrix products.
  bool is_matrix() const {
    return latent.dim() == 2 && role != Role::embedding && role != Role::norm;
  }
};

// Weights (or biases) of layers that read the same input, side by side in memory so that one
// product serves all.
struct Fused {
  std::vector<Parameter*> members;
  torch::Tensor effective;                     // leaf: the members' rows, one after the other
  std::shared_ptr<const PackedWeight> packed;  // while PackedWeights live
  // Whether one input transform serves all members.
  bool one_input() const;
};

// Letters, digits, '_' and '-', at most 64 of them: what a recipe may name that becomes a part of
// tensors' names.
bool is_name_part(const std::string& name);

// The parameters of a model in a stable order (addresses do not change).
class ParamTable {
 public:
  Parameter& add(std::string name, Role role, int layer, torch::Tensor initial);
  Parameter* find(std::string_view name);
  const Parameter* find(std::string_view name) const;
  // Puts the effective weights of `members` into one tensor (see Fused). Call before the first
  // refresh.
  Fused& fuse(std::vector<Parameter*> members);
  std::deque<Fused>& fused() { return fused_; }
  std::deque<Parameter>& list() { return list_; }
  const std::deque<Parameter>& list() const { return list_; }
  int64_t numel() const;

  // Parameters that one of the selectors names: a role ("query"), a group of roles ("attention" =
  // query key value attention_output, "ffn" = ffn_in ffn_out, "encoder" = both, "linear" = every
  // matrix, "all"), or a glob over names ("encoder.layer.0.*"). Only matrices unless `any_shape`;
  // with it a role names the biases of its matrices, too. What is attached to the model is named by
  // its role or by a glob that begins with "attachments", and by "all" where `any_shape`. A
  // selector that matches nothing is reported in `unmatched`.
  std::vector<Parameter*> select(const std::vector<std::string>& selectors,
                                 std::vector<std::string>* unmatched, bool any_shape = false);

  // Freezes what no selector names: it gets no gradient. Selectors that match nothing are returned.
  // To be called before the first refresh, or when all gradients were cleared.
  std::vector<std::string> train_only(const std::vector<std::string>& selectors);

  // Computes every effective weight from its latent: transforms, then the cast to compute
  // precision. Call after the latents, masks or scales changed; layers read the result until the
  // next call. In float32 without transforms the effective weight is the latent itself (no copy),
  // and so is that of a table with row gradients.
  void refresh(Precision precision);
  // Lets go of latents that no longer differ from their effective weights in anything but precision
  // or place: for a model that is only read, in the precision of the last refresh. What a later
  // refresh computes has no more digits than that one.
  void release_latents();
  // Moves gradients from effective weights back to latents (adding when `accumulate`), through the
  // transforms. Call after each backward.
  void collect_gradients(bool accumulate);
  // Forgets gradients: embedding rows that were touched are zeroed, other gradients are dropped.
  void clear_gradients();
  std::vector<Parameter*> trainable();
  // The tensors whose gradients autograd accumulates, in the order of the table: effective weights,
  // groups of them once, without embeddings with row gradients. After the first refresh; the same
  // tensors until the precision or device changes.
  std::vector<torch::Tensor> leaves();
  void to(torch::Device device);

 private:
  std::deque<Parameter> list_;
  std::deque<Fused> fused_;
  std::map<std::string, Parameter*, std::less<>> by_name_;
};

using TensorMap = std::map<std::string, torch::Tensor>;

}  // namespace compress::nn
