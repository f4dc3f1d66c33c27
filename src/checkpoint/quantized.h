#pragma once
// Reading of compressed-tensors folders in the format `int-quantized`: I8 weights with a scale for
// each row or each tensor. (What constraint::from_scheme reads is written here, so that both
// layouts of a model end in one description.)

#include <string>
#include <utility>
#include <vector>

#include "folder.h"

namespace compress::checkpoint {

// Error{model} for a quantization_config that is not null and that this program cannot read.
void check_quantization(const nn::Json& block, const std::filesystem::path& place);
// Scales and zero points: tensors of the file that are no weights of the model.
bool is_quantization_extra(const std::string& canonical);
// Hands scales to their weights.
void attach_extras(Folder& folder,
                   const std::vector<std::pair<std::string, const storage::TensorView*>>& extras,
                   Findings& findings);
// The scheme of a folder as constraint::Constraint::export_scheme() would give it; null for an
// ordinary one.
nn::Json scheme_of(const Folder& folder);

}  // namespace compress::checkpoint
