// Random damage to files of torch.save: the reader throws Error or hands out tensors whose bytes
// can all be read. (The address sanitizer sees reads beyond the map or the copies.)

#include <gtest/gtest.h>

#include "compress/storage/torch_file.h"
#include "fuzz/storage/fuzz_tools.h"
#include "unit/storage/torch_files.h"

namespace compress::storage {
namespace {

using namespace torch_files;

constexpr std::string_view all_opcodes(
    "(.0GJKMNQRTUXabcehjqrstu)]}\x80\x85\x86\x87\x88\x89\x8a\x8c"
    "\x93\x94\x95");

// One of everything that the machine knows.
std::string body() {
  std::string of = storage("0", 12) + "q\x01", again = "h\x01";
  std::string parameter = call(global("torch._utils", "_rebuild_parameter"),
                               {tensor(again, 0, {3, 4}, {1, 3}), "\x88", ordered_dict()});
  std::string size = call(global("torch", "Size"), {numbers({3})});
  std::string first =
      call(global("torch._utils", "_rebuild_tensor"), {again, "K\x03", size, "K\x01\x85"});
  std::string pairs =
      "](](U\x01"
      "f" +
      first +
      "e\x8c\x01"
      "o" +
      tensor(again, 5, {}, {}) +
      "\x86"
      "e";
  std::string third = call(global("torch._utils", "_rebuild_tensor_v3"),
                           {again, integer(1), numbers({2}), numbers({1}), "\x89", ordered_dict(),
                            "\x8c\x05torch\x8c\x08"
                            "bfloat16\x93",
                            "}"});
  return of + "0" + call(global("collections", "OrderedDict"), {pairs}) + "(" + text("w") +
         tensor(again, 0, {3, 4}, {4, 1}) + text("p") + parameter + text("t") +
         tensor(again, 2, {2, 2, 1}, {3, 4, 99}) + text("e") + tensor(again, 0, {0}, {1}) + "u" +
         text("v") + third + "s" + dict({text("_metadata"), ordered_dict()}) + "b";
}

const std::string tensor_data(48, '<');

std::string zip_file(const std::string& content, bool wide) {
  return zip({{"m/data.pkl", content}, {"m/byteorder", "little"}, {"m/data/0", tensor_data}}, wide);
}

std::string legacy_file(const std::string& content) {
  return legacy_start() + content + pickle("](" + text("0") + "e") + raw(uint64_t{12}) +
         tensor_data;
}

void read_all(const std::filesystem::path& path) {
  TorchReader reader(path);
  uint64_t sum = 0;
  for (const TensorView& view : reader.tensors()) {
    ASSERT_EQ(byte_size(view.dtype, view.shape), view.bytes);
    ASSERT_EQ(reader.find(view.name), &view);
    auto* data = static_cast<const unsigned char*>(view.data);
    for (uint64_t i = 0; i < view.bytes; ++i) sum += data[i];
  }
  volatile uint64_t kept = sum;  // so that the reads are made
  static_cast<void>(kept);
}

// `make` damages a good file in its own way.
template <class Make>
void fuzz(const char* stream, int rounds, Make&& make) {
  MemoryFile file;
  Random random(stream_seed(1, stream));
  Outcomes outcomes;
  for (int round = 0; round < rounds; ++round)
    ASSERT_NO_FATAL_FAILURE(try_reading(file, make(random), outcomes, read_all)) << round;
  // Both ways out must have been taken, or the damage is too mild or too wild to test anything.
  EXPECT_GT(outcomes.accepted, rounds / 250);
  EXPECT_GT(outcomes.refused, rounds / 4);
}

TEST(TorchFuzz, ArchivesWithDamage) {
  for (bool wide : {false, true})
    fuzz("torch zip", 10000, [good = zip_file(pickle(body()), wide)](Random& random) {
      return damaged(good, random, all_opcodes, random.below(4) == 0);
    });
}

// The archive stays whole, so that the pickle's damage is always reached.
TEST(TorchFuzz, PicklesWithDamage) {
  fuzz("torch pickle", 20000, [good = pickle(body())](Random& random) {
    return zip_file(damaged(good, random, all_opcodes, random.below(2) == 0), false);
  });
}

TEST(TorchFuzz, LegacyFilesWithDamage) {
  fuzz("torch legacy", 20000, [good = legacy_file(pickle(body()))](Random& random) {
    return damaged(good, random, all_opcodes, random.below(2) == 0);
  });
}

// Opcodes without any sense.
TEST(TorchFuzz, RandomPickles) {
  MemoryFile file;
  Random random(stream_seed(1, "random pickles"));
  Outcomes outcomes;
  for (int round = 0; round < 20000; ++round) {
    std::string opcodes;
    for (uint64_t i = 1 + random.below(60); i > 0; --i)
      opcodes += all_opcodes[random.below(all_opcodes.size())];
    ASSERT_NO_FATAL_FAILURE(
        try_reading(file, zip_file(pickle(opcodes), false), outcomes, read_all));
  }
  EXPECT_GT(outcomes.refused, 19000);
}

TEST(TorchFuzz, EveryTruncationIsRefused) {
  MemoryFile file;
  for (const std::string& good : {zip_file(pickle(body()), false), zip_file(pickle(body()), true),
                                  legacy_file(pickle(body()))}) {
    file.set(good);
    EXPECT_NO_THROW(TorchReader reader(file.path()));
    for (size_t size = 0; size < good.size(); ++size) {
      file.set(std::string_view(good).substr(0, size));
      EXPECT_THROW(TorchReader reader(file.path()), Error) << size;
    }
  }
}

}  // namespace
}  // namespace compress::storage
