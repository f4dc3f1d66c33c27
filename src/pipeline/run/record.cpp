#include "run/record.h"

#include <algorithm>

#include "compress/base/hash.h"
#include "compress/base/strings.h"

namespace compress::pipeline {

namespace fs = std::filesystem;

namespace {

constexpr uint64_t small = 1 << 20;  // bytes; hashing so few costs nothing worth mentioning

std::string damage(const fs::path& folder, const FileRecord& file, Compare how) {
  const fs::path path = folder / file.path;
  std::error_code failed;
  if (!fs::is_regular_file(path, failed)) return path.string() + " is gone";
  const uint64_t bytes = fs::file_size(path, failed);
  if (failed || bytes != file.bytes)
    return str(path.string(), " has ", with_commas(static_cast<int64_t>(bytes)), " bytes, and ",
               with_commas(static_cast<int64_t>(file.bytes)), " were written");
  if ((how == Compare::hashes || bytes <= small) && sha256_file(path) != file.sha256)
    return path.string() + " is not the file that was written";
  return {};
}

// Results without records are compared with the sizes in sum that they have.
std::string damage_in_sum(const fs::path& folder, const StageResult& result, bool model) {
  auto differs = [](const fs::path& part, int64_t bytes) -> std::string {
    std::error_code failed;
    if (!fs::is_directory(part, failed)) return part.string() + " is gone";
    if (static_cast<int64_t>(weight_bytes(part)) == bytes) return {};
    return "the weights in " + part.string() + " are not those that were written";
  };
  if (model) return differs(folder / model_name, result.bytes);
  for (const exports::Report& report : result.exports)
    if (std::string what = differs(folder / report.format, report.weight_bytes); !what.empty())
      return what;
  return {};
}

}  // namespace

uint64_t weight_bytes(const fs::path& folder) {
  uint64_t total = 0;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.is_regular_file() && entry.path().extension() == ".safetensors")
      total += entry.file_size();
  return total;
}

std::vector<FileRecord> record_files(const fs::path& stage_folder, const StageResult& result) {
  std::vector<FileRecord> files;
  auto add = [&](const fs::path& file) {
    files.push_back(
        {file.lexically_relative(stage_folder).string(), fs::file_size(file), sha256_file(file)});
  };
  for (const std::string& name : result.made) {
    const fs::path path = stage_folder / name;
    if (fs::is_regular_file(path)) {
      add(path);
      continue;
    }
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(path))
      if (entry.is_regular_file()) add(entry.path());
  }
  std::sort(files.begin(), files.end(),
            [](const FileRecord& a, const FileRecord& b) { return a.path < b.path; });
  return files;
}

std::string damage(const fs::path& stage_folder, const StageResult& result, const Leaves& leaves,
                   Compare how) {
  if (result.files.empty()) return damage_in_sum(stage_folder, result, leaves.model);
  for (const FileRecord& file : result.files)
    if (std::string what = damage(stage_folder, file, how); !what.empty()) return what;
  return {};
}

std::string artefact_hash(const StageResult& result) {
  if (result.files.empty()) return {};
  Sha256 hash;
  for (const FileRecord& file : result.files) hash.update(file.path + " " + file.sha256 + "\n");
  return hash.hex();
}

}  // namespace compress::pipeline
