#pragma once
// Reading of compressed-tensors folders in the format `int-quantized`: I8 weights with a scale for
// each row or each tensor; embeddings with a scale a row, or in the format `pack-quantized` with
// four bits a value and a scale for each group of a row. (What constraint::from_scheme reads is
// written here, so that both layouts of a model end in one description.)

#include <string>
#include <utility>
#include <vector>

#include "folder.h"

namespace compress::checkpoint {

// Error{model} for a quantization_config that is not null and that this program cannot read.
void check_quantization(const ConfigFile& file, const std::filesystem::path& place);
// Scales, zero points and words of packed integers: tensors of the file that are no weights of the
// model under their own names.
bool is_quantization_extra(const std::string& canonical);
// Hands scales to their weights, which for packed integers it makes.
void attach_extras(Folder& folder,
                   const std::vector<std::pair<std::string, const storage::TensorView*>>& extras,
                   Findings& findings);
// The scheme of a folder as constraint::Constraint::export_scheme() would give it; null for an
// ordinary one.
nn::Json scheme_of(const Folder& folder);

}  // namespace compress::checkpoint
