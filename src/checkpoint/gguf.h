#pragma once
// GGUF files as models: what converters to GGUF did to names, shapes and rows is undone here.

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "compress/nn/model.h"
#include "compress/storage/gguf.h"

namespace compress::checkpoint {

// config.json of the model in the file, in its family's keys. Error{model} for an architecture or a
// detail of it that is not supported.
nn::Json gguf_config(const storage::GgufReader& reader, const std::string& place);

// A weight of the model as a part of a tensor in the file.
struct GgufPart {
  const storage::GgufTensor* tensor = nullptr;  // null: zeros
  int64_t first_row = 0;
  std::vector<int64_t> shape;
  // Rows of each head lie in the file as (even, odd) pairs of rotary dimensions instead of halves:
  // how many heads, 0 = they do not.
  int64_t paired_heads = 0;

  torch::Tensor read() const;  // float32, memory of its own
};

struct GgufWeights {
  std::map<std::string, GgufPart> parts;  // by canonical name
  std::vector<std::string> problems;      // tensors that no part of the model is known for
};
// By the names of the file. Shapes are the file's: they are compared with the model's later.
GgufWeights gguf_weights(const storage::GgufReader& reader, const nn::ModelConfig& config);

// tokenizer.json, tokenizer_config.json and the chat template of the file.
void write_gguf_tokenizer(const std::filesystem::path& file, const std::filesystem::path& to);

}  // namespace compress::checkpoint
