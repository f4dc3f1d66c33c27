#pragma once
// A model that writes the rows of one batch.

#include "compress/data/torch.h"

#include <vector>

#include "compress/generate/generate.h"
#include "compress/nn/decoding.h"

namespace compress::generate {

class Continuations {
 public:
  // Reads the prompts: an encoder-decoder its encoder's, and the start token; a decoder alone all.
  Continuations(nn::Model& model, const std::vector<Tokens>& prompts, const Options& options);
  // Scores of each row's next token, [rows, vocabulary] float32 on the CPU, the caller's to change.
  torch::Tensor first() { return std::move(first_); }
  // The scores behind one further token of each row.
  torch::Tensor read(const Tokens& tokens);
  // Row i goes on where row parents[i] is.
  void select(const std::vector<int64_t>& parents);

 private:
  torch::Tensor decode(const std::vector<Tokens>& rows);
  nn::Model& model_;
  nn::Pass pass_;
  int64_t most_ = 0;  // tokens of a row at most that are read
  nn::Decoding decoding_;
  torch::Tensor first_;
};

}  // namespace compress::generate
