#pragma once
// The files that a finished stage left, and whether they are still there as they were written.

#include <filesystem>
#include <string>
#include <vector>

#include "compress/pipeline/run.h"
#include "stage.h"

namespace compress::pipeline {

// The files of what a stage made, with paths relative to the stage's folder, in order.
std::vector<FileRecord> record_files(const std::filesystem::path& stage_folder,
                                     const StageResult& result);

enum class Compare {
  sizes,   // and the content of small files
  hashes,  // the content of all
};
// What is missing or no longer as `result` has it, in words; "" where all is well. A result of a
// version that recorded no files is compared by the sizes that it has; `leaves`: what its kind
// does.
std::string damage(const std::filesystem::path& stage_folder, const StageResult& result,
                   const Leaves& leaves, Compare how);

// Hash of the recorded files of a stage, "" where none are known.
std::string artefact_hash(const StageResult& result);

// Of the weight files in a folder.
uint64_t weight_bytes(const std::filesystem::path& folder);

}  // namespace compress::pipeline
