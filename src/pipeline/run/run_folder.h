#pragma once
// Who works in a run folder, and what those left who did not end by themselves.

#include <filesystem>
#include <memory>

#include "compress/base/files.h"

namespace compress::pipeline {

// Error{disk} where `folder` is one that a run without --seeds works in: results of several seeds
// and of one would lie in one place.
void refuse_single_run(const std::filesystem::path& folder);

// A run folder that this process has for itself, for as long as the object lives or until the
// process ends, however it ends.
class RunFolder {
 public:
  // Makes the folder, locks its `run.lock` and removes what killed writers left. Error{disk} for a
  // folder that no run has made and that has a recipe, a result or a model of its own, for one
  // whose runs have seeds of their own (seed-<n>), and naming host, process and since when where
  // another process has it. On a file system without locks a warning says so, and nothing is
  // removed.
  explicit RunFolder(const std::filesystem::path& folder);
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

 private:
  std::unique_ptr<FileLock> lock_;
};

}  // namespace compress::pipeline
