#pragma once
// Random damage, and files in memory to hold it.

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <string_view>

#include "compress/base/error.h"
#include "compress/base/random.h"

namespace compress::storage {

// A file in memory: thousands of real ones would be slow.
class MemoryFile {
 public:
  MemoryFile() : descriptor_(::memfd_create("storage", MFD_CLOEXEC)) {}
  ~MemoryFile() { ::close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  std::filesystem::path path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }
  void set(std::string_view bytes) const {
    ASSERT_EQ(::ftruncate(descriptor_, 0), 0);
    ASSERT_EQ(::pwrite(descriptor_, bytes.data(), bytes.size(), 0),
              static_cast<ssize_t>(bytes.size()));
  }

 private:
  int descriptor_;
};

// One to four edits: bits, bytes, `tokens` that mean something to the format, numbers at the edges
// of their range, and, with `resize`, pieces that are cut out, doubled or cut off.
inline std::string damaged(std::string bytes, Random& random, std::string_view tokens,
                           bool resize) {
  uint64_t edits = 1 + random.below(4);
  for (uint64_t i = 0; i < edits && bytes.size() > 8; ++i) {
    size_t at = random.below(bytes.size());
    switch (random.below(resize ? 7 : 4)) {
      case 0:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << random.below(8)));
        break;
      case 1:
        bytes[at] = static_cast<char>(random.below(256));
        break;
      case 2:
        bytes[at] = tokens[random.below(tokens.size())];
        break;
      case 3: {  // a little-endian number of all ones, all zeros, or a sign bit
        size_t width = std::min<size_t>(bytes.size() - at, size_t{1} << random.below(4));
        char fill = random.below(2) == 0 ? '\xff' : '\0';
        std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), width, fill);
        if (random.below(2) == 0) bytes[at + width - 1] ^= '\x80';
        break;
      }
      case 4:
        bytes.resize(random.below(bytes.size()));
        break;
      case 5:
        bytes.erase(at, 1 + random.below(12));
        break;
      default:
        bytes.insert(at, bytes.substr(random.below(bytes.size()), 1 + random.below(40)));
        break;
    }
  }
  return bytes;
}

// How the readings of damaged files ended.
struct Outcomes {
  int accepted = 0, refused = 0;
};

// Reads through `read`, which throws Error{model} naming the file or finishes.
template <class Read>
void try_reading(const MemoryFile& file, std::string_view bytes, Outcomes& outcomes, Read&& read) {
  file.set(bytes);
  try {
    read(file.path());
    ++outcomes.accepted;
  } catch (const Error& error) {
    ++outcomes.refused;
    ASSERT_EQ(error.kind(), ErrorKind::model) << error.what();
    ASSERT_NE(error.where().find(file.path().string()), std::string::npos) << error.what();
  }
}

}  // namespace compress::storage
