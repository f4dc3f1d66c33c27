#pragma once
// Weights of one model as first weights of another, of whichever family.

#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "places.h"

namespace compress::surgery {

// The layer of the source for each new layer, from 0; empty: spread evenly.
struct LayerMaps {
  std::vector<int64_t> first, decoder;  // `decoder`: behind an encoder
};

// Error{recipe} without a place where layers of the two models compute different things.
void check_same_layers(const nn::ModelConfig& source, const nn::ModelConfig& next);

class Mapped {
 public:
  // Error{recipe} without a place where layers of the two models compute different things, a size
  // of `next` is larger than the source's, or a map does not fit. `next` must outlive this.
  Mapped(nn::ModelState source, const nn::ModelConfig& next, LayerMaps maps, bool same_tokenizer);

  // Overwrites `value`, the new model's `tensor`, with what the source has of it: leading rows and
  // columns, tokens and positions that both have. False where it has nothing.
  bool fill(const Sized& tensor, torch::Tensor& value) const;
  // "bert, layers 0, 2 of 4".
  std::string words() const;

 private:
  using Key = std::tuple<bool, int64_t, std::string>;  // decoder, layer, role

  void check_sizes() const;
  void complete_map(std::vector<int64_t>& map, const char* name, int64_t layers, int64_t known);

  nn::ModelState source_;
  const nn::ModelConfig& next_;
  nn::Architecture old_plan_, plan_;
  LayerMaps maps_;
  bool same_tokenizer_;
  Places places_;
  std::map<Key, Sized> tensors_;  // the source's
};

}  // namespace compress::surgery
