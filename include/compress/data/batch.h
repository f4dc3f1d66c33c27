#pragma once
// The packed batch: what every model, teacher, objective and evaluator receives. No padding enters
// a linear layer, a norm or a loss.

#include "compress/data/torch.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace compress::data {

// The mark of a target's tokens behind a language model's prompt.
inline constexpr const char* answer_mark = "answer";

// Some of the tokens with a label, under a name: those of an answer, say, beside all of a row.
struct TokenMark {
  std::string name;
  torch::Tensor among;  // [M] float32, in the order of token_index: 1 for the tokens it has, else 0
  int64_t update = 0;   // tokens that it has in the whole update
};

// What is to be predicted. A field is undefined where the task has none of it.
struct Targets {
  torch::Tensor distribution;  // [B, C] float32, rows sum to 1 (multi-label: 0..1); hard: one-hot
  torch::Tensor values;        // [B] float32, regression
  // [T] int64, -100 = not predicted (masked LM; causal LM: the next token; a class of each token).
  // T counts the decoder's tokens where there is a decoder.
  torch::Tensor token_labels;
  torch::Tensor changed;  // [T] int64: 1 where an augment put another token, else 0
  torch::Tensor spans;    // [B, 2] int64: first and last token of an answer, counted in the row
  // Packed positions of the tokens with a label, ascending: [M] int64, and on the host. Whoever
  // writes token_labels lists them, so that no one has to look for them on a device; undefined
  // and empty where nobody did.
  torch::Tensor token_index;
  std::vector<int64_t> labelled;
  std::vector<TokenMark> marks;
  // [examples] float32, not negative: what the losses of an example are multiplied by before the
  // mean over the update's units, which are counted, not weighed. A weight is so the example's own
  // affair: it means the same whatever else is in the batch, however the update is cut, and the
  // expected gradient is that of sum_i w_i loss_i / N. Undefined: 1.
  torch::Tensor weights;
  torch::Tensor groups;  // [examples] int64, the same for the rows of one query (Split::groups)

  const TokenMark* mark(const std::string& name) const;
};

// Where a batch lies in its update when it is not all of it: a micro-batch, the share of one of
// several processes, or both.
struct Part {
  int64_t first_row = 0, first_token = 0;  // of the batch, counted in the whole update
  int64_t rows = -1, tokens = -1;          // of the whole update; -1: the batch is all of it
  int64_t labelled = -1;  // tokens with a label in the whole update; -1: they were not counted
  bool counts = true;     // false: a row that stands in for a share without rows, of weight 0
};

// B rows of together T tokens, one after the other.
struct Batch {
  torch::Tensor token_ids;    // [T] int64
  torch::Tensor segment_ids;  // [T] int64, 0 or 1
  torch::Tensor positions;    // [T] int64, 0-based within the row
  torch::Tensor offsets;      // [B + 1] int64: row b is tokens offsets[b] .. offsets[b + 1]
  torch::Tensor slots;  // [T] int64: row * longest + position, the token's place in a padded [B,
                        // longest] grid
  torch::Tensor ends;   // [S + 1] int32, on CUDA only: `offsets` as variable-length attention reads
                        // them. In a padded batch the last sequence is its padding (S = B + 1).
  torch::Tensor present;  // [T, 1] float32, in a padded batch only: 0 where a token is padding
  std::vector<int64_t> row_offsets;  // host copy of offsets; a padded batch ends with its padding
  int64_t longest = 0;               // tokens of the longest row
  std::vector<int64_t> example_ids;  // [B] row numbers in the data set, stable over epochs and runs
  // Rows of one example, which lie next to each other (multiple choice); example_ids name it once
  // a row, and targets count examples.
  int64_t choices = 1;
  torch::Tensor sources;  // [examples] int64: which data set of a mixture; undefined without one
  Targets targets;
  Part part;
  // The rows that a sequence-to-sequence batch asks to be written, as many as rows(). The decoder
  // reads them shifted by one place, behind its start token. Null otherwise.
  std::shared_ptr<const Batch> decoder;

  // The tokens that token_labels are about.
  const Batch& predicted() const { return decoder != nullptr ? *decoder : *this; }
  int64_t rows() const { return static_cast<int64_t>(example_ids.size()); }
  int64_t tokens() const { return row_offsets.empty() ? 0 : row_offsets.back(); }
  int64_t examples() const { return rows() / choices; }
  // Numbers of the whole update.
  int64_t update_examples() const { return update_rows() / choices; }
  int64_t update_rows() const { return part.rows < 0 ? rows() : part.rows; }
  int64_t update_tokens() const { return part.tokens < 0 ? tokens() : part.tokens; }
  // Tokens with a label in it; -1 where they were not counted.
  int64_t update_labelled() const {
    if (part.rows >= 0) return part.labelled;
    return targets.token_index.defined() ? static_cast<int64_t>(targets.labelled.size()) : -1;
  }
  // The same batch on another device (asynchronously where the host memory is pinned).
  Batch to(torch::Device device) const;
};

// A batch on the host with `tokens` - batch.tokens() >= 0 tokens of padding behind its rows, so
// that batches of different lengths have one shape. `longest` replaces the batch's; at least that,
// and at least the padding. Padding is token 0 at position 0 in no row: offsets, targets and rows()
// are the batch's, `present` tells tokens from padding, and slots of padding are 0. For models that
// attend through `ends`.
Batch padded(const Batch& batch, int64_t tokens, int64_t longest);

// Rows begin .. end - 1 of a batch as a batch of its own, for gradient accumulation: the same as
// packing these rows. Views, but for `offsets` and `slots`, which are computed on the batch's
// device.
Batch slice(const Batch& batch, int64_t begin, int64_t end);

}  // namespace compress::data
