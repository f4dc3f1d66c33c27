#pragma once
// Small checkpoints: what a model has that another, its base, has not.
//
// A delta folder holds config.json as any model folder, delta.safetensors with the tensors whose
// values are not those of the base (canonical names, float32), and delta.json with the base's
// places and the SHA-256 of what is taken from it. Functions that read a model folder read a delta
// folder, too: they open its base and check the hash.

#include <filesystem>

#include "compress/nn/model.h"

namespace compress::checkpoint {

bool is_delta(const std::filesystem::path& folder);
// The folder of a delta's base. Error{model} where none of its places holds a model.
std::filesystem::path delta_base(const std::filesystem::path& folder);
// Where a model's tokenizer lies: the base's folder for a delta without one of its own.
std::filesystem::path tokenizer_home(const std::filesystem::path& folder);

// Error{recipe} without a place where no delta can be made on `base`: a GGUF file, int8 weights, a
// delta, another family than that of `config`.
void check_base(const std::filesystem::path& base, const nn::ModelConfig& config);

struct DeltaReport {
  int64_t kept = 0, taken = 0;  // tensors that lie in the delta, and in the base
};
// Writes the effective weights of `model`, which are computed in float32, as a delta on `base` into
// `folder`, which will lie at `place`. The same errors as check_base().
DeltaReport write_delta(const nn::Model& model, const std::filesystem::path& base,
                        const std::filesystem::path& folder, const std::filesystem::path& place);

}  // namespace compress::checkpoint
