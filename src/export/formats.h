#pragma once
// The layouts of finished models, one function each.

#include <filesystem>
#include <set>
#include <string>

#include "compress/checkpoint/checkpoint.h"
#include "compress/export/export.h"
#include "compress/export/tables.h"

namespace compress::exports {

// Where a model is written.
struct Target {
  std::filesystem::path folder;              // while it is written
  std::filesystem::path place;               // afterwards
  std::filesystem::path base;                // of formats that need one
  torch::ScalarType rest = torch::kFloat32;  // of tensors that are not integers
};
// All expect `source`'s effective weights to be computed in float32.
void write_huggingface(const LoadedModel& source, const Target& target);
void write_compressed_tensors(const LoadedModel& source, const Target& target);
void write_packed(const LoadedModel& source, const Target& target);
// Whether it stores the model's integers, and has a place for its quantised activations.
bool packed_keeps_integers(const LoadedModel& source);
bool packed_keeps_activations(const LoadedModel& source);
void write_delta(const LoadedModel& source, const Target& target);
// The layout of compressed-tensors for whatever is quantised, also where its readers know no such
// scheme. Error{recipe} as of write_compressed_tensors but for that.
void write_integers(const LoadedModel& source, const Target& target);
void write_onnx(const LoadedModel& source, const Target& target);
// The graph in `folder` as a model on the CPU, once its weights were found to be `source`'s to the
// bit. Without `rounding` its inputs of int8 products are not rounded (onnx/run.h).
std::unique_ptr<nn::Model> read_onnx(const LoadedModel& source, const std::filesystem::path& folder,
                                     bool rounding);
// Error{recipe} for models that the layout cannot hold.
void check_onnx(const nn::ModelConfig& config);
void check_onnx_integers(Quantised quantised);
void check_compressed_tensors(Quantised quantised);

// Name of a parameter in the files of `model`.
std::string file_name(const nn::Model& model, const std::string& canonical);
// A parameter's effective value as it lies on disk, in `type`.
checkpoint::Planned dense(const nn::Model& model, const nn::Parameter& parameter,
                          torch::ScalarType type = torch::kFloat32);
// A scheme's entry of embeddings, or null.
const nn::Json* embeddings_of(const nn::Json& scheme);
// The tables and layers that it holds, by the weight's name.
std::set<std::string> held_in(const nn::Json& scheme);
// Of a model whose effective weights are computed. `integers`: they are stored as such; `coded`:
// zeros cost a bit where that is less.
Savings savings(const LoadedModel& source, torch::ScalarType rest, bool integers, bool coded);
// Why transformers cannot compute with the model's embeddings out of compressed-tensors' layout;
// empty where it can.
std::string unread_embeddings(const LoadedModel& source);
// config.json. Where tensors have fewer bits than float32 it says that readers compute in float32.
nn::Json config_of(const LoadedModel& source, const Target& target);

}  // namespace compress::exports
