#include "run/shelf.h"

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/log.h"
#include "compress/checkpoint/checkpoint.h"
#include "report/result.h"

namespace compress::pipeline {

namespace fs = std::filesystem;

namespace {

constexpr const char* record_name = "stage.json";

void give(const fs::path& from, const fs::path& to) {
  make_folder(to.parent_path());
  std::error_code failed;
  fs::remove(to, failed);
  fs::create_hard_link(from, to, failed);
  if (failed) fs::copy_file(from, to, fs::copy_options::overwrite_existing, failed);
  if (failed)
    throw Error(ErrorKind::disk, "a file of a finished stage cannot be taken: " + failed.message(),
                from.string());
}

}  // namespace

bool Shelf::take(const std::string& identity, const fs::path& stage_folder) const {
  std::error_code ignored;
  if (folder_.empty() || !fs::is_regular_file(folder_ / identity, ignored)) return false;
  const fs::path source = read_file(folder_ / identity);
  if (!fs::is_regular_file(source / record_name, ignored) ||
      fs::equivalent(source, stage_folder, ignored))
    return false;
  StageResult result;
  try {
    result = stage_from_json(checkpoint::read_json(source / record_name));
  } catch (const nn::Json::exception&) {
    return false;
  }
  if (result.identity != identity) return false;  // it was run again with other inputs
  for (const FileRecord& file : result.files) {
    if (!fs::is_regular_file(source / file.path, ignored)) return false;
    give(source / file.path, stage_folder / file.path);
  }
  give(source / record_name, stage_folder / record_name);
  log::info(result.name + ": taken from " + source.string());
  return true;
}

void Shelf::leave(const std::string& identity, const fs::path& stage_folder) const {
  if (folder_.empty()) return;
  make_folder(folder_);
  write_file(folder_ / identity, fs::absolute(stage_folder).lexically_normal().string());
}

}  // namespace compress::pipeline
