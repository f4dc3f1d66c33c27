// Random damage to a valid file: the reader throws Error or hands out views that lie inside the
// file.

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/random.h"
#include "compress/storage/safetensors.h"
#include "fuzz/storage/fuzz_tools.h"

namespace compress::storage {
namespace {

namespace fs = std::filesystem;

std::string valid_file(const fs::path& path) {
  std::vector<TensorInfo> tensors{{"embeddings.word", Dtype::f32, {7, 3}},
                                  {"norm.weight", Dtype::f16, {5}},
                                  {"mask", Dtype::boolean, {2, 2, 2}},
                                  {"scalar", Dtype::i64, {}},
                                  {"none", Dtype::bf16, {0, 4}}};
  SafetensorsWriter writer(path, tensors, {{"note", "\xC3\xA9 \" \\"}});
  for (const TensorInfo& tensor : tensors) {
    std::vector<std::byte> bytes(*byte_size(tensor.dtype, tensor.shape), std::byte{0x3C});
    writer.write(tensor.name, bytes);
  }
  writer.commit();
  return read_file(path);
}

// One to four edits, most of them in the header, where the decisions are.
std::string damaged_header(std::string bytes, Random& random) {
  const char tokens[] = "{}[]\",:0123456789-.eE\\ \0F";
  uint64_t edits = 1 + random.below(4);
  for (uint64_t i = 0; i < edits && !bytes.empty(); ++i) {
    uint64_t reach = random.below(8) == 0 ? bytes.size() : std::min<uint64_t>(bytes.size(), 480);
    size_t at = random.below(reach);
    switch (random.below(6)) {
      case 0:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << random.below(8)));
        break;
      case 1:
        bytes[at] = static_cast<char>(random.below(256));
        break;
      case 2:
        bytes[at] = tokens[random.below(sizeof tokens)];
        break;
      case 3:
        bytes.resize(random.below(bytes.size()));
        break;
      case 4:
        bytes.erase(at, 1 + random.below(6));
        break;
      default:
        bytes.insert(at, bytes.substr(random.below(reach), 1 + random.below(40)));
        break;
    }
  }
  // Insertions and deletions shift the header's end: mend the length now and then, so that parsing
  // goes on.
  size_t brace = bytes.find("}}");
  if (bytes.size() > 8 && brace != bytes.npos && random.below(2) == 0) {
    bytes[0] = static_cast<char>(brace - 6);
    bytes[1] = static_cast<char>((brace - 6) >> 8);
  }
  return bytes;
}

std::string valid_file() {
  fs::path path = fs::path(testing::TempDir()) / ("compress_fuzz_" + std::to_string(::getpid()));
  std::string bytes = valid_file(path);
  fs::remove(path);
  return bytes;
}

TEST(SafetensorsFuzz, DamageIsAnErrorOrStaysInBounds) {
  MemoryFile file;
  fs::path path = file.path();
  std::string original = valid_file();
  Random random(stream_seed(1, "safetensors fuzz"));
  int accepted = 0, refused = 0;
  uint64_t sum = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string bytes = damaged_header(original, random);
    file.set(bytes);
    try {
      SafetensorsReader reader(path);
      ++accepted;
      const char *low = nullptr, *high = nullptr;
      for (const TensorView& view : reader.tensors()) {
        auto* data = static_cast<const char*>(view.data);
        ASSERT_EQ(byte_size(view.dtype, view.shape), view.bytes);
        ASSERT_EQ(reader.find(view.name), &view);
        for (uint64_t i = 0; i < view.bytes; ++i) sum += static_cast<unsigned char>(data[i]);
        low = low == nullptr ? data : std::min(low, data);
        high = std::max(high, data + view.bytes);
      }
      ASSERT_LE(static_cast<uint64_t>(high - low) + 8, std::max<uint64_t>(bytes.size(), 8))
          << round;
    } catch (const Error& error) {
      ++refused;
      ASSERT_EQ(error.kind(), ErrorKind::model) << error.what();
      ASSERT_NE(error.where().find(path.string()), std::string::npos) << error.what();
    }
  }
  // Both ways out must have been taken, or the damage is too mild or too wild to test anything.
  EXPECT_GT(accepted, 300);
  EXPECT_GT(refused, 10000);
  EXPECT_GT(sum, 0u);
}

TEST(SafetensorsFuzz, EveryTruncationIsRefused) {
  MemoryFile file;
  fs::path path = file.path();
  std::string original = valid_file();
  for (size_t size = 0; size < original.size(); ++size) {
    file.set(std::string_view(original).substr(0, size));
    EXPECT_THROW(SafetensorsReader reader(path), Error) << size;
  }
}

}  // namespace
}  // namespace compress::storage
