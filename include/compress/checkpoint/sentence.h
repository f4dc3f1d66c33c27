#pragma once
// The layout of sentence-transformers beside Hugging Face's: modules.json, 1_Pooling, 2_Dense
// (https://sbert.net, read against version 5).

#include <filesystem>
#include <string_view>

#include "compress/nn/model.h"

namespace compress::checkpoint {

// Whether a parameter lies in 2_Dense instead of the model's own file, where transformers would not
// expect it.
bool is_projection(std::string_view canonical);

// Whether the folder of a base model said how its states are pooled to an embedding.
bool pools_states(const nn::ModelConfig& config);

// For a model with the embedding head, and for base and language models whose folder had them:
// modules.json, 1_Pooling/config.json and, with a projection, 2_Dense with `effective` or latent
// weights, in the spelling of the folder that the model came from. For other heads takes an older
// modules.json away.
void write_sentence_modules(const nn::Model& model, const std::filesystem::path& folder,
                            bool effective = false);

}  // namespace compress::checkpoint
