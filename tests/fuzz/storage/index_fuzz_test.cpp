// Random damage to the indexes of sharded models: the reader throws Error or has every tensor that
// the index names.

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <span>

#include "compress/base/files.h"
#include "compress/storage/safetensors.h"
#include "fuzz/storage/fuzz_tools.h"
#include "unit/storage/torch_files.h"

namespace compress::storage {
namespace {

namespace fs = std::filesystem;

class IndexFuzz : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("compress_index_" + std::to_string(::getpid()));
    fs::remove_all(folder_);
    make_folder(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  // Damages `good`, the index of a good model, `rounds` times.
  void fuzz(const char* name, const std::string& good, int rounds) {
    write_file(folder_ / name, good);
    ASSERT_EQ(open_tensors(folder_)->tensors().size(), 2u);
    Random random(stream_seed(1, name));
    int accepted = 0, refused = 0;
    for (int round = 0; round < rounds; ++round) {
      // A plain stream: the flush of write_file would take most of the time.
      std::ofstream(folder_ / name) << damaged(good, random, "{}[]\",:0/\\.e ", round % 2 == 0);
      try {
        ASSERT_LE(open_tensors(folder_)->tensors().size(), 2u);
        ++accepted;
      } catch (const Error& error) {
        ++refused;
        ASSERT_EQ(error.kind(), ErrorKind::model) << error.what();
        ASSERT_NE(error.where().find(folder_.string()), std::string::npos) << error.what();
      }
    }
    EXPECT_GT(accepted, rounds / 100);
    EXPECT_GT(refused, rounds / 4);
  }

  fs::path folder_;
};

constexpr const char* rest =
    R"({"metadata": {"total_size": 8, "more": [null, {"deep": [-1, 2.5, true]}]},
 "weight_map": )";

TEST_F(IndexFuzz, Safetensors) {
  for (const char* name : {"a", "b"}) {
    SafetensorsWriter writer(folder_ / (std::string(name) + ".safetensors"),
                             {{name, Dtype::u8, {4}}});
    writer.write(name, std::as_bytes(std::span("four", 4)));
    writer.commit();
  }
  fuzz("model.safetensors.index.json",
       std::string(rest) + R"({"a": "a.safetensors", "b": "b.safetensors"}})", 5000);
}

TEST_F(IndexFuzz, Torch) {
  using namespace torch_files;
  for (const char* name : {"a", "b"})
    write_file(folder_ / (std::string(name) + ".bin"),
               zip_of(dict({text(name), tensor(storage("0", 1), 0, {1}, {1})}), "four"));
  fuzz("pytorch_model.bin.index.json", std::string(rest) + R"({"a": "a.bin", "b": "b.bin"}})",
       5000);
}

}  // namespace
}  // namespace compress::storage
