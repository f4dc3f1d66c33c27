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
  // From here on row r of what is drawn for is the batch's token tokens[r] ([rows] int64): it draws
  // what it would among all tokens. residual_norm() knows of it; dropout() does not.
  void narrow(torch::Tensor tokens) { tokens_ = std::move(tokens); }
  const torch::Tensor& tokens() const { return tokens_; }  // undefined: all of them
  // Draws of a part by itself, which do not depend on what else draws.
  DropoutSeeds apart(const std::string& name) const;

 private:
  uint64_t seed_;
  uint64_t site_ = 0;
  int64_t first_token_, first_row_;
  torch::Tensor tokens_;
  bool training_;
};

// begin_draws() (nn/device.h) for a batch of an update; parts of one draw for themselves there.
void begin_draws(torch::Device device, uint64_t seed, const data::Part& part);

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
  torch::Tensor operator()(const torch::Tensor& x, const RowInfo& rows) const;
  // activation((*this)(x, rows), name), in one pass where a packed weight can.
  torch::Tensor activated(const torch::Tensor& x, const RowInfo& rows,
                          const std::string& name) const;
};

// Linear layers with a common input as one product; falls back to single ones where their input
// transforms differ.
struct FusedLinear {
  std::vector<Linear> parts;
  Fused* weight = nullptr;
  Fused* bias = nullptr;
  torch::Tensor operator()(const torch::Tensor& x,
                           const RowInfo& rows) const;  // [rows, sum of outs]
};

// LayerNorm, or without a bias and with `rms` the root mean square norm (Zhang and Sennrich 2019,
// arXiv 1910.07467): x / sqrt(mean(x^2) + eps) * weight.
struct Norm {
  Parameter* weight = nullptr;
  Parameter* bias = nullptr;
  double eps = 1e-12;
  bool rms = false;
  torch::Tensor operator()(const torch::Tensor& x) const;
};

// norm(residual + dropout(x, p)); dropout acts in training and takes the next site's seed. One pass
// over memory on the CPU; there the sum is rounded to the type of `x` once.
torch::Tensor residual_norm(const torch::Tensor& x, const torch::Tensor& residual, const Norm& norm,
                            double p, DropoutSeeds& seeds);

// The same, and the sum itself, which goes on to the next residual where norms come first.
struct SumAndNorm {
  torch::Tensor sum, normed;
};
SumAndNorm residual_sum_norm(const torch::Tensor& x, const torch::Tensor& residual,
                             const Norm& norm, double p, DropoutSeeds& seeds);

// Sum of word, position and segment embeddings, [rows, H] float32; tables that are null are left
// out, rows after the last token are 0. Gradients go to touched rows only.
struct Embeddings {
  Parameter* word = nullptr;
  Parameter* position = nullptr;
  Parameter* segment = nullptr;
  int64_t position_offset = 0;  // row of the position table for position 0
  double scale = 1;             // of the word embeddings
  torch::Tensor operator()(const data::Batch& batch, int64_t rows) const;
};

// activation(gate) * up of x [rows, 2 F] = (gate, up): [rows, F].
torch::Tensor gated(const torch::Tensor& x, const std::string& activation);

torch::Tensor activation(const torch::Tensor& x, const std::string& name);
bool is_activation(const std::string& name);

// Rows of tokens inside a tensor of tokens: row r is tokens begin[r] .. begin[r] + length[r].
struct TokenRows {
  std::vector<int64_t> begin, length;
  int64_t longest = 0;
  int64_t rows() const { return static_cast<int64_t>(begin.size()); }
  static TokenRows of(const data::Batch& batch);
};

struct AttentionShape {
  int64_t heads = 0;
  int64_t width = 0;  // of one head
  double scale = 1;
  double dropout = 0;
  int64_t kv_heads =
      0;                // of keys and values, shared in order by heads / kv_heads queries; 0: heads
  bool causal = false;  // query i of n sees keys 0 .. (keys - n) + i of its row
  int64_t window = 0;   // and of those the last `window` only; 0 = all
  int64_t keys() const { return kv_heads == 0 ? heads : kv_heads; }
};

// What attends to what. Row r of the queries attends to row r of the keys.
struct AttentionInput {
  // [Tq, >= heads * width]: queries begin at column 0. Without `pairs` keys and values follow them
  // (kv_heads * width columns each).
  torch::Tensor queries;
  torch::Tensor pairs;                    // [Tk, 2 * kv_heads * width]: keys, then values
  const TokenRows* query_rows = nullptr;  // not owned
  const TokenRows* key_rows = nullptr;    // null: query_rows
  // Added to the scores: [heads, 2 reach + 1] float32, differentiable; column reach + d is for keys
  // that lie d behind (negative: before) the query, where the last query lies at the last key.
  torch::Tensor distance_bias;
  // For dropout: the number of the batch's first token in the update, and the rows of tokens that
  // begin where the queries' rows do (null: query_rows).
  int64_t first_token = 0;
  const TokenRows* drawn_rows = nullptr;
};

// Multi-head attention over packed rows: [Tq, heads * width]. Tokens in no row give 0. Dropout acts
// on the attention weights. `scores`, when given, receives [B, heads, longest query row, longest
// key row] float32: scaled and biased, before mask and softmax, differentiable.
torch::Tensor attention(const AttentionInput& input, const AttentionShape& shape,
                        DropoutSeeds& seeds, torch::Tensor* scores = nullptr);
// The same through padded batched products, on any device; the reference that tests compare with.
torch::Tensor padded_attention(const AttentionInput& input, const AttentionShape& shape,
                               DropoutSeeds& seeds, torch::Tensor* scores = nullptr);

// Self-attention of a batch's rows without a mask: `qkv` [T, 3 * heads * width] holds query, key
// and value side by side. Variable-length kernels on CUDA.
torch::Tensor attention(const torch::Tensor& qkv, const data::Batch& batch,
                        const AttentionShape& shape, DropoutSeeds& seeds,
                        torch::Tensor* scores = nullptr);
torch::Tensor padded_attention(const torch::Tensor& qkv, const data::Batch& batch,
                               const AttentionShape& shape, DropoutSeeds& seeds,
                               torch::Tensor* scores = nullptr);

// Rotary positions (Su et al. 2021, arXiv 2104.09864), the second half of a head rotated against
// the first.
struct Rotary {
  torch::Tensor cos, sin;  // [positions, width / 2] float32
  // The first `heads` heads of x [T, >= heads * width] turned by their positions ([T] int64); other
  // columns as they are. Rows after the last position are copied. Not in place.
  torch::Tensor operator()(const torch::Tensor& x, const torch::Tensor& positions, int64_t heads,
                           int64_t width) const;
};

}  // namespace compress::nn
