#pragma once
// Role `surgery`: what the model is made of. Edits of a model's state before it is built.

#include <functional>
#include <vector>

#include "compress/nn/model.h"
#include "compress/recipe/options.h"
#include "compress/surgery/workshop.h"

namespace compress::surgery {

// Edits `state` (config, tensors, history). Throws Error{recipe} at the component's mark.
using Edit = std::function<void(const recipe::Component&, nn::ModelState& state, Workshop&)>;
// merge, initialise, drop_layers, resize, trim_vocabulary, resize_vocabulary, projection,
// adapter, lora, prefix, phm_adapter
const recipe::RegistryOf<Edit>& edits();
void apply(const std::vector<recipe::Component>& components, nn::ModelState& state,
           Workshop& workshop);

// What an edit means for others; known before any edit is made. What it reads are references in
// its options (recipe/reference.h).
struct Traits {
  bool new_tokenizer = false;   // the tokenizer is another one afterwards
  bool new_vocabulary = false;  // the number of tokens is
  bool embedding_head = false;  // it edits what only an embedding head has
  bool new_layers = false;      // layers are others, or of other shapes
  bool without_layers = false;  // it knows models without layers (nn::Family::has_layers)
};
Traits traits(const recipe::Component& component);

// 0-based indices that a strategy keeps, ascending, out of `layers`. `keep` layers remain.
// Strategies (Sajjad et al., arXiv 2004.03844): top, bottom, symmetric, alternate (drops N, N - 2,
// ... counted from 1), alternate_odd (N - 1, N - 3, ...). Error{recipe} without a place for an
// unknown strategy or a count that it cannot reach.
std::vector<int64_t> kept_layers(const std::string& strategy, int64_t layers, int64_t keep);

}  // namespace compress::surgery
