#pragma once
// What the rows and columns of a model's tensors count: with that an edit of sizes is one loop over
// all tensors of any family.

#include <string>
#include <vector>

#include "compress/nn/architecture.h"

namespace compress::surgery {

enum class Axis {
  none,        // not of the model's sizes: classes, buckets, segments
  vocabulary,  // tokens
  positions,
  embedding,  // ModelConfig::embedding_size
  hidden,
  inner,    // of a feed-forward unit
  queries,  // heads * head width
  keys,     // heads of keys and values * head width
  joined,   // queries, keys and values, one block after the other
  heads,
  head,  // head width
};

struct Sized {
  std::string name;  // of the tensor, canonical; layers are numbered as in the model
  std::string
      role;  // what it is in any family: "word.weight", "self.query.bias", "inner.norm.bias"
  Axis rows = Axis::none, columns = Axis::none;
  bool decoder = false;  // whose stack's sizes count
  int64_t layer = -1;    // in its stack
};

// Every tensor that the model of this configuration may have.
std::vector<Sized> sized_tensors(const nn::ModelConfig& config);

// Lists of raw keys that have one entry a layer ("layer_types") with the entries of the kept ones.
void keep_entries(nn::ModelConfig& config, const std::vector<int64_t>& kept);

}  // namespace compress::surgery
