#pragma once
// What augments share that change tokens of a packed batch and label them.

#include <vector>

#include "compress/data/batch.h"
#include "compress/roles/scene.h"

namespace compress::augment {

// The tokens that may be put in place of others: those that the tokenizer and all embeddings have.
// Special ones stand where they are.
struct Vocabulary {
  int64_t tokens = 0;
  std::vector<bool> special;  // by id
  bool detected = false;      // a head of the student says of each token whether it was changed
  explicit Vocabulary(const roles::Scene& scene);
  Vocabulary() = default;
};

// A batch whose tokens are changed: copies in the kind of memory that the batch is in, so that it
// moves to a device without a wait.
class Changed {
 public:
  // `told`: whether the batch is to say which tokens were changed (data::Targets::changed).
  Changed(const data::Batch& batch, bool told);
  int64_t* id() { return ids_.mutable_data_ptr<int64_t>(); }
  int64_t* label() { return labels_.mutable_data_ptr<int64_t>(); }
  // Puts them into the batch, with the list of the tokens that have a label.
  void put(data::Batch& batch) const;
  // The same, but every token has its original as label, and those that were given one have the
  // mark `name`.
  void put_all(data::Batch& batch, const char* name) const;

 private:
  void list(data::Targets& targets) const;
  torch::TensorOptions options_;
  bool told_;
  torch::Tensor ids_, labels_;
};

}  // namespace compress::augment
