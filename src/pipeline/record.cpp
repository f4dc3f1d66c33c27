#include "record.h"

#include <algorithm>

#include "compress/base/hash.h"
#include "compress/base/strings.h"
#include "stages.h"

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
    return compress::str(path.string(), " has ", with_commas(static_cast<int64_t>(bytes)),
                         " bytes, and ", with_commas(static_cast<int64_t>(file.bytes)),
                         " were written");
  if ((how == Compare::hashes || bytes <= small) && sha256_file(path) != file.sha256)
    return path.string() + " is not the file that was written";
  return {};
}

// Of results without records: the sizes in sum.
std::string damage_in_sum(const fs::path& folder, const StageResult& result) {
  auto differs = [](const fs::path& part, int64_t bytes) -> std::string {
    std::error_code failed;
    if (!fs::is_directory(part, failed)) return part.string() + " is gone";
    if (static_cast<int64_t>(weight_bytes(part)) == bytes) return {};
    return "the weights in " + part.string() + " are not those that were written";
  };
  if (result.kind == "train") return differs(folder / "model", result.bytes);
  for (const exports::Report& report : result.exports)
    if (std::string what = differs(folder / report.format, report.weight_bytes); !what.empty())
      return what;
  return {};
}

}  // namespace

std::vector<FileRecord> record_files(const fs::path& stage_folder, const StageResult& result) {
  std::vector<fs::path> parts;
  if (result.kind == "train") parts.push_back(stage_folder / "model");
  for (const exports::Report& report : result.exports)
    parts.push_back(stage_folder / report.format);
  std::vector<FileRecord> files;
  for (const fs::path& part : parts)
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(part))
      if (entry.is_regular_file())
        files.push_back({entry.path().lexically_relative(stage_folder).string(), entry.file_size(),
                         sha256_file(entry.path())});
  std::sort(files.begin(), files.end(),
            [](const FileRecord& a, const FileRecord& b) { return a.path < b.path; });
  return files;
}

std::string damage(const fs::path& stage_folder, const StageResult& result, Compare how) {
  if (result.files.empty()) return damage_in_sum(stage_folder, result);
  for (const FileRecord& file : result.files)
    if (std::string what = damage(stage_folder, file, how); !what.empty()) return what;
  return {};
}

std::string model_hash(const StageResult& result) {
  if (result.kind != "train" || result.files.empty()) return {};
  Sha256 hash;
  for (const FileRecord& file : result.files) hash.update(file.path + " " + file.sha256 + "\n");
  return hash.hex();
}

}  // namespace compress::pipeline
