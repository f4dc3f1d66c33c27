#pragma once
// Content hashes (SHA-256 for identity, a 64-bit mix for random streams).

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace compress {

// Incremental SHA-256; hex() may be called once.
class Sha256 {
 public:
  Sha256();
  void update(const void* data, size_t size);
  void update(std::string_view text) { update(text.data(), text.size()); }
  // One of several texts, its length in front, so that they cannot run into each other.
  void part(std::string_view text);
  std::string hex();

 private:
  void block(const uint8_t* data);
  uint32_t state_[8];
  uint8_t buffer_[64];
  uint64_t length_ = 0;
};

std::string sha256(std::string_view bytes);
// Hash of a file's content. Throws Error{disk}.
std::string sha256_file(const std::filesystem::path& path);

// Well-mixed 64-bit value of `x` (splitmix64's finaliser).
constexpr uint64_t mix64(uint64_t x) {
  x += 0x9E3779B97F4A7C15ull;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

}  // namespace compress
