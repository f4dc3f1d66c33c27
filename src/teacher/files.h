#pragma once
// The files of one cache entry.

#include <filesystem>
#include <memory>
#include <string>

#include "compress/storage/safetensors.h"

namespace compress::teacher::files {

// Names of files without their ending; those of one tensor name it, too.
inline constexpr const char* logits = "logits";
inline constexpr const char* pooled = "pooled";
inline constexpr const char* top_tokens = "top_tokens";
std::string hidden(int64_t layer);

inline constexpr const char* key_name = "teacher_cache_key";  // in the metadata

std::filesystem::path path(const std::filesystem::path& entry, const std::string& file);
// Refuses a file with another key.
std::unique_ptr<storage::SafetensorsReader> open(const std::filesystem::path& entry,
                                                 const std::string& file, const std::string& key);
// "the teacher cache holds " + what. `entry` is empty for answers in memory.
[[noreturn]] void refuse(const std::filesystem::path& entry, const std::string& file,
                         const std::string& what);

}  // namespace compress::teacher::files
