#pragma once
// Finished stages that several runs share: what one of them trained, others of the same identity
// need not train again.

#include <filesystem>
#include <string>

namespace compress::pipeline {

class Shelf {
 public:
  // "" for none: then nothing is taken and nothing is left.
  explicit Shelf(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // Gives `stage_folder` the files of the stage of this identity, as hard links where the file
  // system can, else as copies; its record comes last. False where there is none. Whether the files
  // are whole is the reader's to check, as with any record. Error{disk}.
  bool take(const std::string& identity, const std::filesystem::path& stage_folder) const;
  // Says where the finished stage of this identity is. Error{disk}.
  void leave(const std::string& identity, const std::filesystem::path& stage_folder) const;

 private:
  std::filesystem::path folder_;
};

}  // namespace compress::pipeline
