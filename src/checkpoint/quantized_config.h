#pragma once
// What the block quantization_config says, once check_quantization() has accepted it.

#include <string>
#include <vector>

#include "folder.h"

namespace compress::checkpoint {

// Groups of a block: those of layers are alike, and so are those of embeddings; null where there is
// none.
struct Groups {
  const nn::Json* layers = nullptr;
  const nn::Json* embeddings = nullptr;
};
Groups groups_of(const ConfigFile& file);

// {"strategy": ...} of a group's weights; asserts nothing about other keys, which only observers
// read.
nn::Json weights_of(const nn::Json& group);
// {"strategy": ..., "dynamic": ...}, or null.
nn::Json activations_of(const nn::Json& group);
// {"num_bits": ..., "strategy": ..., "group_size": ...} of embeddings.
nn::Json rows_of(const nn::Json& group);
// The modules of the embeddings that a model's first layer reads.
std::vector<std::string> tables_of(const nn::ModelConfig& config);

}  // namespace compress::checkpoint
