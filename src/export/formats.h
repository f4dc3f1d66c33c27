#pragma once
// The layouts of finished models, one function each.

#include <filesystem>
#include <set>
#include <string>

#include "compress/checkpoint/checkpoint.h"
#include "compress/export/export.h"

namespace compress::exports {

// Where a model is written.
struct Target {
  std::filesystem::path folder;  // while it is written
  std::filesystem::path place;   // afterwards
  std::filesystem::path base;    // of formats that need one
};
// All expect `source`'s effective weights to be computed in float32.
void write_huggingface(const LoadedModel& source, const Target& target);
void write_compressed_tensors(const LoadedModel& source, const Target& target);
void write_delta(const LoadedModel& source, const Target& target);
// Error{recipe} for models that the layout cannot hold.
void check_compressed_tensors(Quantised quantised);

// Name of a parameter in the files of `model`.
std::string file_name(const nn::Model& model, const std::string& canonical);
// A parameter's effective value as it lies on disk.
checkpoint::Planned dense(const nn::Model& model, const nn::Parameter& parameter);

}  // namespace compress::exports
