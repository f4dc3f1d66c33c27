#pragma once
// How a delta folder is opened.

#include <filesystem>
#include <set>
#include <string>

#include "compress/checkpoint/delta.h"
#include "folder.h"

namespace compress::checkpoint {

// The weights of a base under those of a delta.
class Overlay {
 public:
  // Fills the folder's weights: `folder.config` is the delta's. Error{model}.
  Overlay(const std::filesystem::path& path, Folder& folder, Findings& findings);
  // Error{model} where the weights that were taken from the base are not those of the record. To be
  // called when `folder.weights` are exactly the model's.
  void check(const Folder& folder) const;

 private:
  std::filesystem::path path_, base_;
  std::set<std::string> taken_;  // names that the delta does not have
};

}  // namespace compress::checkpoint
