// Random damage to GGUF files: the reader throws Error or hands out tensors that can be
// dequantised. (The address sanitizer sees reads beyond the map.)

#include <gtest/gtest.h>

#include "compress/storage/gguf.h"
#include "fuzz/storage/fuzz_tools.h"
#include "unit/storage/gguf_files.h"

namespace compress::storage {
namespace {

using namespace gguf_files;

constexpr size_t data_size = 1924;  // where the last tensor ends

constexpr std::string_view tokens("\0\1\2\3\4\5\6\7\10\11\12\13\14\15\16\36\40\77\100\200", 20);

// Every kind of value and every type of tensor.
std::string good_file() {
  std::vector<std::string> values{word("general.architecture", "llama"),
                                  number("general.alignment", 4, uint32_t{32}),
                                  list("tokens", 8, 3, text("a") + text("") + text("word"))};
  constexpr std::pair<uint32_t, uint64_t> number_kinds[] = {
      {0, 1}, {1, 1}, {2, 2}, {3, 2}, {4, 4}, {5, 4}, {6, 4}, {7, 1}, {10, 8}, {11, 8}, {12, 8}};
  for (auto [kind, size] : number_kinds) {
    std::string zeros(2 * size, '\0'), name = std::to_string(kind);
    values.push_back(list(name, kind, 2, zeros));
    values.push_back(text("n" + name) + raw(kind) + zeros.substr(size));
  }
  constexpr std::pair<uint32_t, uint64_t> types[] = {
      {0, 4},   {1, 2},    {2, 18},   {3, 20},   {6, 22},   {7, 24}, {8, 34},
      {10, 84}, {11, 110}, {12, 144}, {13, 176}, {14, 210}, {30, 2}};
  std::vector<std::string> tensors;
  uint64_t at = 0;
  for (auto [type, bytes] : types) {
    uint64_t size = bytes <= 4 ? 1 : bytes <= 34 ? 32 : 256;
    tensors.push_back(tensor("t" + std::to_string(type), {size, 2}, type, at));
    at += (2 * bytes + 31) / 32 * 32;
  }
  return file(values, tensors, std::string(data_size, '\x3C'));
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
  size_t head = good.size() - data_size;
  for (int round = 0; round < 40000; ++round) {
    // The data decide nothing: damage the head.
    std::string bytes = damaged(good.substr(0, head), random, tokens, random.below(3) == 0);
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
