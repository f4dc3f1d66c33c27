#pragma once
// GGUF files, made byte by byte, so that tests can make them wrong.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace compress::storage::gguf_files {

template <class T>
std::string raw(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}

inline std::string text(std::string_view value) {
  return raw(uint64_t{value.size()}) + std::string(value);
}

// A key and a value; `kind` is its number in the format.
template <class T>
std::string number(std::string_view key, uint32_t kind, T value) {
  return text(key) + raw(kind) + raw(value);
}
inline std::string word(std::string_view key, std::string_view value) {
  return text(key) + raw(uint32_t{8}) + text(value);
}
inline std::string list(std::string_view key, uint32_t kind, uint64_t size,
                        const std::string& items) {
  return text(key) + raw(uint32_t{9}) + raw(kind) + raw(size) + items;
}

// A line of the tensors' table; `sizes` in the file's order, the fastest first.
inline std::string tensor(std::string_view name, const std::vector<uint64_t>& sizes, uint32_t type,
                          uint64_t offset) {
  std::string line = text(name) + raw(static_cast<uint32_t>(sizes.size()));
  for (uint64_t size : sizes) line += raw(size);
  return line + raw(type) + raw(offset);
}

inline std::string file(const std::vector<std::string>& values,
                        const std::vector<std::string>& tensors, const std::string& data,
                        uint32_t version = 3, size_t alignment = 32) {
  std::string bytes =
      "GGUF" + raw(version) + raw(uint64_t{tensors.size()}) + raw(uint64_t{values.size()});
  for (const std::string& value : values) bytes += value;
  for (const std::string& line : tensors) bytes += line;
  bytes.resize((bytes.size() + alignment - 1) / alignment * alignment, '\0');
  return bytes + data;
}

}  // namespace compress::storage::gguf_files
