#pragma once
// The files that a finished stage left, and whether they are still there as they were written.

#include <filesystem>
#include <string>
#include <vector>

#include "compress/pipeline/run.h"

namespace compress::pipeline {

// Of a stage's model or exports, with paths relative to the stage's folder, in order.
std::vector<FileRecord> record_files(const std::filesystem::path& stage_folder,
                                     const StageResult& result);

enum class Compare {
  sizes,   // and the content of small files
  hashes,  // the content of all
};
// What is missing or no longer as `result` has it, in words; "" where all is well. A result of a
// version that recorded no files is compared by the sizes that it has.
std::string damage(const std::filesystem::path& stage_folder, const StageResult& result,
                   Compare how);

// Hash of the recorded model of a training stage, "" where it is not known.
std::string model_hash(const StageResult& result);

}  // namespace compress::pipeline
