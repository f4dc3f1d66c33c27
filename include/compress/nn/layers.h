#pragma once
// Layers that families are composed of. They hold pointers into a ParamTable and compute on packed
// tokens.

#include "compress/data/torch.h"

#include <string>
#include <vector>

#include "compress/data/batch.h"
#include "compress/nn/parameter.h"

namespace compress::nn {

// Seeds of the dropout sites of one forward pass: each call gives the next site's seed. Draws are
// functions of the seed and of an element's place in the whole update, so that the parts of an
// update (data::Part) draw what the update as one batch would.
class DropoutSeeds {
 public:
  DropoutSeeds(uint64_t seed, bool training, const data::Part& part = {})
      : seed_(seed),
        first_token_(part.first_token),
        first_row_(part.first_row),
        training_(training) {}
  bool training() const { return training_; }
  uint64_t next() { return seed_ + 0x9E3779B97F4A7C15ull * ++site_; }
  // The batch's first token and row in the update.
  int64_t first_token() const { return first_token_; }
  int64_t first_row() const { return first_row_; }

 private:
  uint64_t seed_;
  uint64_t site_ = 0;
  int64_t first_token_, first_row_;
  bool training_;
};

// How many rows a forward pass computes for `tokens` tokens. Matrix products in bf16 on the CPU are
// compiled for each number of rows, so there it is rounded up to one of few: up to 31 rows of zeros
// follow the last token, take part in no attention, loss or observation, and are cut off what is
// captured.
int64_t computed_rows(int64_t tokens, Precision precision, torch::Device device);

// y = x with each element zeroed with probability `p` (in steps of 1/65536) and the rest scaled by
// 1/(1-p). On the CPU the choice is a function of (seed, element index), so backward draws it again
// instead of keeping it; `first` is the index of x's first element, so that a part of a larger
// tensor draws what the larger one would (where `first` is a multiple of 4; else draws of its own).
// On CUDA it is the next draws of the pass (nn/device.h), and is kept.
torch::Tensor dropout(const torch::Tensor& x, double p, uint64_t seed, int64_t first = 0);

// Y = X W^T + b. Applies the weight's input transform.
struct Linear {
  Parameter* weight = nullptr;  // [out, in]
  Parameter* bias = nullptr;    // [out] or null
  torch::Tensor operator()(const torch::Tensor& x, const Rows& rows) const;
  // activation((*this)(x, rows), name), in one pass where a packed weight can.
  torch::Tensor activated(const torch::Tensor& x, const Rows& rows, const std::string& name) const;
};

// Linear layers with a common input as one product; falls back to single ones where their input
// transforms differ.
struct FusedLinear {
  std::vector<Linear> parts;
  Fused* weight = nullptr;
  Fused* bias = nullptr;
  torch::Tensor operator()(const torch::Tensor& x, const Rows& rows) const;  // [rows, sum of outs]
};

struct LayerNorm {
  Parameter* weight = nullptr;
  Parameter* bias = nullptr;
  double eps = 1e-12;
  torch::Tensor operator()(const torch::Tensor& x) const;
};

// norm(residual + dropout(x, p)); dropout acts in training and takes the next site's seed. One pass
// over memory on the CPU; there the sum is rounded to the type of `x` once.
torch::Tensor residual_norm(const torch::Tensor& x, const torch::Tensor& residual,
                            const LayerNorm& norm, double p, DropoutSeeds& seeds);

// Sum of word, position and (optional) segment embeddings, [rows, H] float32; rows after the last
// token are 0. Gradients go to touched rows only.
struct Embeddings {
  Parameter* word = nullptr;
  Parameter* position = nullptr;
  Parameter* segment = nullptr;
  torch::Tensor operator()(const data::Batch& batch, int64_t rows) const;
};

torch::Tensor activation(const torch::Tensor& x, const std::string& name);

// Multi-head self-attention over packed rows. `qkv` [T, 3 * heads * width] holds query, key, value
// side by side; each row of the batch attends to itself. Returns [T, heads * width]. Rows after the
// last token give 0. Dropout acts
// on the attention weights. `scores`, when given, receives [B, heads, longest, longest] float32:
// scaled, before mask and softmax, differentiable.
struct AttentionShape {
  int64_t heads = 0;
  int64_t width = 0;  // of one head
  double scale = 1;
  double dropout = 0;
};
torch::Tensor attention(const torch::Tensor& qkv, const data::Batch& batch,
                        const AttentionShape& shape, DropoutSeeds& seeds,
                        torch::Tensor* scores = nullptr);
// The same through padded batched products, on any device; the reference that tests compare with.
torch::Tensor padded_attention(const torch::Tensor& qkv, const data::Batch& batch,
                               const AttentionShape& shape, DropoutSeeds& seeds,
                               torch::Tensor* scores = nullptr);

}  // namespace compress::nn
