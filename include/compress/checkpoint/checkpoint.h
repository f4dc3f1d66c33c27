#pragma once
// Model folders in Hugging Face's layout, GGUF files, and the state of an unfinished stage.

#include "compress/data/torch.h"

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "compress/nn/model.h"
#include "compress/storage/safetensors.h"
#include "compress/text/tokenizer.h"

namespace compress::checkpoint {

// Reads config.json and model.safetensors or, where there is none, pytorch_model.bin (or the shards
// of either): names with or without the family's prefix, LayerNorm gamma/beta, tied weights, label
// maps. All tensors become float32. Dequantises an int-quantized compressed-tensors folder (weight
// * scale) and leaves what it says of quantisation in the state. Every problem of a folder (missing
// and wrongly shaped tensors, further tensors of a layer that the model has) is in one
// Error{model}. Tensors that are no part of the model are left out with one line of the log, as are
// keys of config.json that are not followed; `module.`, `_orig_mod.` and `model.` before all names,
// too.
//
// A GGUF file, or a folder with one and without config.json, is a model, too: its metadata becomes
// the family's configuration and its tensors are dequantised. Architectures: llama, mistral, qwen2,
// qwen3, gpt2, and bert with WordPiece.
nn::ModelState load_model(const std::filesystem::path& model);
// Whether a folder has weight files under any of their names; true of a GGUF file.
bool has_weights(const std::filesystem::path& model);
// The config alone, for plans (reads no weights).
nn::ModelConfig load_config(const std::filesystem::path& model);
// Canonical names and shapes of the tensors that load_model() would return, without their data (for
// `plan` and `inspect`). The same errors.
std::map<std::string, std::vector<int64_t>> tensor_shapes(const std::filesystem::path& model);
// The GGUF file that `path` names: itself, or the only one of a folder without config.json; empty
// where it names none. Error{model} for a folder with several.
std::filesystem::path gguf_file(const std::filesystem::path& path);
// The tokenizer of a model: text::load_tokenizer() of a folder, or what its GGUF file says.
std::unique_ptr<text::Tokenizer> load_tokenizer(const std::filesystem::path& model);

// Writes config.json and model.safetensors into `folder` (made if need be), tensor by tensor.
// Negative zeros become zeros. Tokenizer files are copied byte for byte from `tokenizer_source`
// where given. What config.json of Hugging Face has no key for (the embedding head, the history of
// edits) is kept under the key "compress".
void save_model(const nn::Model& model, const std::filesystem::path& folder,
                const std::filesystem::path& tokenizer_source = {},
                int64_t max_shard_bytes = 5'000'000'000);
// Files that make up a tokenizer, of those that `folder` has.
std::vector<std::filesystem::path> tokenizer_files(const std::filesystem::path& folder);
// Copies them and generation_config.json; a GGUF file's tokenizer is written as two JSON files.
void copy_tokenizer(const std::filesystem::path& from, const std::filesystem::path& to);

// The two parts of save_model, for writers of other layouts.
// config.json of a model.
nn::Json config_json(const nn::Model& model);
// A tensor of a weight file: its layout is known before its values are computed. `value` returns a
// tensor of this type and shape on any device; it is called once, when its turn comes.
struct Planned {
  std::string name;
  torch::ScalarType type = torch::kFloat32;
  std::vector<int64_t> shape;
  std::function<torch::Tensor()> value;
};
// Writes weights and config.json; each file is whole or absent.
void write_folder(const std::vector<Planned>& tensors, const nn::Json& config,
                  const std::filesystem::path& folder, int64_t max_shard_bytes = 5'000'000'000);
// Reads a JSON file of at most `limit` bytes. Error{model} naming line and column where it is
// malformed.
nn::Json read_json(const std::filesystem::path& file, uint64_t limit = 64'000'000);

// Named tensors and texts in one atomic safetensors file: run state, masks, moments, averages.
struct RunState {
  nn::TensorMap tensors;
  std::map<std::string, std::string> texts;
};
// Tensors of any type that safetensors has, on any device. Texts are UTF-8.
void save_state(const RunState& state, const std::filesystem::path& file);
// Tensors on the CPU, in memory of their own. Error{model} for a damaged file or one that
// save_state did not write.
RunState load_state(const std::filesystem::path& file);
// Its texts alone. The same errors.
std::map<std::string, std::string> load_state_texts(const std::filesystem::path& file);

// A tensor that views the memory of a stored one (a copy where that memory is not aligned); copy it
// before the reader closes.
torch::Tensor view(const storage::TensorView& stored);
// Error{internal} for a type that safetensors does not have.
storage::Dtype stored_dtype(torch::ScalarType type);

}  // namespace compress::checkpoint
