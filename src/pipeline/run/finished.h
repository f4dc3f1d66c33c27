#pragma once
// Runs that have ended, read from their folders.

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "compress/pipeline/run.h"

namespace compress::pipeline {

// What a finished run left.
struct Finished {
  std::filesystem::path folder;
  std::vector<StageResult> stages;

  // Null where there is none of that name.
  const StageResult* find(const std::string& name) const;
  // Error{recipe} that lists the names.
  const StageResult& stage(const std::string& name) const;
};

// The runs of a folder by their seeds: those in its seed-<n>, else the folder's own. Error{recipe}
// for what is no folder of a finished run, Error{data} for a damaged result.
std::map<int64_t, Finished> finished_runs(const std::filesystem::path& folder);

}  // namespace compress::pipeline
