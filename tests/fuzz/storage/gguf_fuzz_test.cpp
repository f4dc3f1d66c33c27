// Random damage to GGUF files: the reader throws Error or hands out tensors that can be
// dequantised. (The address sanitizer sees reads beyond the map.)

#include <gtest/gtest.h>

#include "compress/storage/gguf.h"
#include "fuzz/storage/fuzz_tools.h"
#include "unit/storage/gguf_files.h"

namespace compress::storage {
namespace {

using namespace gguf_files;

constexpr std::string_view kTokens("\0\1\2\3\4\5\6\7\10\11\12\13\14\15\16\36\40\77\100\200", 20);

std::string good_file() {
  return file(
      {word("general.architecture", "llama"), number("general.alignment", 4, uint32_t{32}),
       number("u64", 10, uint64_t{3}), list("tokens", 8, 3, text("a") + text("") + text("word")),
       list("scores", 6, 2, raw(0.5f) + raw(1.0f)), list("flags", 7, 2, std::string("\0\1", 2))},
      {tensor("q4", {64, 2}, 2, 0), tensor("k6", {256}, 14, 96), tensor("f", {3}, 0, 320),
       tensor("h", {2, 3, 4}, 1, 352)},
      std::string(400, '\x3C'));
}

void read_all(const std::filesystem::path& path) {
  GgufReader reader(path);
  double sum = 0;
  for (const GgufTensor& tensor : reader.tensors()) {
    ASSERT_EQ(reader.find(tensor.name), &tensor);
    std::vector<float> row(tensor.row_elements());
    for (uint64_t i = 0; i < tensor.rows(); ++i) {
      dequantize(tensor, row, i);
      sum += row.back();
    }
  }
  for (const auto& [key, value] : reader.metadata()) {
    if (auto* texts = std::get_if<std::vector<std::string_view>>(&value))
      for (std::string_view text : *texts) sum += static_cast<double>(text.size());
    if (auto* numbers = std::get_if<GgufNumbers>(&value))
      sum += static_cast<double>(numbers->reals().size());
    if (auto* text = std::get_if<std::string_view>(&value))
      for (char c : *text) sum += c;
  }
  volatile double kept = sum;  // so that the reads are made
  static_cast<void>(kept);
}

TEST(GgufFuzz, DamageIsAnErrorOrHarmless) {
  MemoryFile file;
  Random random(stream_seed(1, "gguf fuzz"));
  Outcomes outcomes;
  std::string good = good_file();
  size_t head = good.size() - 400;
  for (int round = 0; round < 40000; ++round) {
    // The data decide nothing: damage the head.
    std::string bytes = damaged(good.substr(0, head), random, kTokens, random.below(3) == 0);
    ASSERT_NO_FATAL_FAILURE(try_reading(file, bytes + good.substr(head), outcomes, read_all))
        << round;
  }
  // Both ways out must have been taken, or the damage is too mild or too wild to test anything.
  EXPECT_GT(outcomes.accepted, 2000);
  EXPECT_GT(outcomes.refused, 10000);
}

TEST(GgufFuzz, EveryTruncationIsRefused) {
  MemoryFile file;
  std::string good = good_file();
  file.set(good);
  EXPECT_NO_THROW(GgufReader reader(file.path()));
  for (size_t size = 0; size < good.size(); ++size) {
    file.set(std::string_view(good).substr(0, size));
    EXPECT_THROW(GgufReader reader(file.path()), Error) << size;
  }
}

}  // namespace
}  // namespace compress::storage
