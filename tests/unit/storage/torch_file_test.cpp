#include "compress/storage/torch_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/storage/safetensors.h"
#include "unit/storage/torch_files.h"

namespace compress::storage {
namespace {

namespace fs = std::filesystem;
using namespace torch_files;
using testing::ElementsAre;
using testing::HasSubstr;

class TorchFile : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) /
              (std::string("compress_torch_") + std::to_string(::getpid()) + "_" +
               testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    make_folder(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path write(const char* name, const std::string& bytes) {
    write_file(folder_ / name, bytes);
    return folder_ / name;
  }
  fs::path folder_;
};

std::string floats(const std::vector<float>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * 4);
}

std::vector<float> values_of(const TensorView& view) {
  std::vector<float> values(view.bytes / 4);
  std::memcpy(values.data(), view.data, view.bytes);
  return values;
}

const std::string six = floats({0, 1, 2, 3, 4, 5});

TEST_F(TorchFile, ReadsBothFormats) {
  std::string body = dict({text("w"), tensor(storage("0", 6), 0, {2, 3}, {3, 1})});
  for (const fs::path& path :
       {write("z.bin", zip_of(body, six)), write("l.bin", legacy_of(body, 6, six))}) {
    TorchReader reader(path);
    ASSERT_EQ(reader.tensors().size(), 1u);
    EXPECT_EQ(reader.at("w").dtype, Dtype::f32);
    EXPECT_THAT(reader.at("w").shape, ElementsAre(2, 3));
    EXPECT_THAT(values_of(reader.at("w")), ElementsAre(0, 1, 2, 3, 4, 5));
    EXPECT_THAT(reader.files(), ElementsAre(path));
    EXPECT_EQ(reader.total_bytes(), 24u);
  }
}

TEST_F(TorchFile, SharesContiguousMemoryAndCopiesTheRest) {
  std::string of = storage("0", 6) + "q\x01", again = "h\x01";
  TorchReader reader(write(
      "m.bin",
      zip_of(
          dict({text("whole"), tensor(of, 0, {6}, {1}), text("tied"),
                tensor(again, 0, {2, 3}, {3, 1}), text("tail"), tensor(again, 4, {2}, {1}),
                text("turned"), tensor(again, 0, {3, 2}, {1, 3}), text("odd"),
                tensor(again, 1, {3}, {2}), text("cube"), tensor(again, 0, {2, 1, 3}, {1, 99, 2}),
                text("same"), tensor(again, 5, {3}, {0}), text("none"),
                tensor(again, 6, {0, 4}, {7, 9}), text("one"), tensor(again, 3, {}, {})}),
          six)));
  auto* start = static_cast<const char*>(reader.at("whole").data);
  EXPECT_EQ(reader.at("tied").data, start);
  EXPECT_EQ(reader.at("tail").data, start + 16);
  EXPECT_EQ(reader.at("one").data, start + 12);
  EXPECT_THAT(values_of(reader.at("turned")), ElementsAre(0, 3, 1, 4, 2, 5));
  EXPECT_THAT(values_of(reader.at("odd")), ElementsAre(1, 3, 5));
  EXPECT_THAT(values_of(reader.at("cube")), ElementsAre(0, 2, 4, 1, 3, 5));
  EXPECT_THAT(values_of(reader.at("same")), ElementsAre(5, 5, 5));
  EXPECT_EQ(reader.at("none").bytes, 0u);
}

TEST_F(TorchFile, UnderstandsParametersSizesAndOldDictionaries) {
  std::string plain = tensor(storage("0", 6), 0, {6}, {1});
  std::string parameter =
      call(global("torch._utils", "_rebuild_parameter"), {plain, "\x88", ordered_dict()});
  std::string size = call(global("torch", "Size"), {numbers({3})});
  std::string first = call(global("torch._utils", "_rebuild_tensor"),
                           {storage("0", 6), integer(3), size, numbers({1})});
  // Python 2: OrderedDict([["p", parameter], ["f", first]]) and byte strings.
  std::string pairs = "](](U\x01p" + parameter + "e](U\x01" + "f" + first + "ee";
  std::string with_state = call(global("collections", "OrderedDict"), {pairs}) +
                           dict({text("_metadata"), ordered_dict()}) + "b";
  TorchReader reader(write("m.bin", zip_of(with_state, six)));
  EXPECT_THAT(values_of(reader.at("p")), ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_THAT(values_of(reader.at("f")), ElementsAre(3, 4, 5));
}

TEST_F(TorchFile, ReadsUntypedStorages) {
  std::string untyped = tuple({text("storage"), global("torch.storage", "UntypedStorage"),
                               text("0"), text("cpu"), integer(24)}) +
                        "Q";
  auto rebuilt = [&](const char* dtype, const char* flags) {
    return call(global("torch._utils", "_rebuild_tensor_v3"),
                {untyped, integer(4), numbers({2}), numbers({1}), "\x89", ordered_dict(),
                 global("torch", dtype), flags});
  };
  TorchReader reader(write("m.bin", zip_of(dict({text("f"), rebuilt("float32", ""), text("e"),
                                                 rebuilt("float8_e5m2", "}")}),
                                           six)));
  EXPECT_THAT(values_of(reader.at("f")), ElementsAre(4, 5));
  EXPECT_EQ(reader.at("e").dtype, Dtype::f8_e5m2);
  EXPECT_EQ(reader.at("e").bytes, 2u);
}

TEST_F(TorchFile, ReadsWideArchives) {
  std::string body = dict({text("w"), tensor(storage("0", 6), 0, {6}, {1})});
  TorchReader reader(write("m.bin", zip({{"m/data.pkl", pickle(body)}, {"m/data/0", six}}, true)));
  EXPECT_THAT(values_of(reader.at("w")), ElementsAre(0, 1, 2, 3, 4, 5));
}

TEST_F(TorchFile, ReadsShards) {
  auto shard = [](const char* name) {
    return zip_of(dict({text(name), tensor(storage("0", 6), 0, {6}, {1})}), six);
  };
  write("a-1.bin", shard("x"));
  write("a-2.bin", shard("y"));
  write("pytorch_model.bin.index.json", R"({"weight_map":{"x":"a-1.bin","y":"a-2.bin"}})");
  EXPECT_EQ(open_tensors(folder_)->tensors().size(), 2u);
  EXPECT_EQ(TorchReader(folder_).files().size(), 2u);
  write("pytorch_model.bin.index.json", R"({"weight_map":{"x":"a-2.bin","y":"a-2.bin"}})");
  EXPECT_THROW(open_tensors(folder_), Error);
  write("pytorch_model.bin.index.json", R"({"weight_map":{"x":"a-1.safetensors"}})");
  EXPECT_THROW(open_tensors(folder_), Error);
}

TEST_F(TorchFile, OpenTensorsChoosesByFolderAndContent) {
  EXPECT_THROW(open_tensors(folder_), Error);
  std::string body = dict({text("torch"), tensor(storage("0", 6), 0, {6}, {1})});
  write("pytorch_model.bin", zip_of(body, six));
  write("misnamed.safetensors", legacy_of(body, 6, six));
  EXPECT_NE(open_tensors(folder_)->find("torch"), nullptr);
  EXPECT_NE(open_tensors(folder_ / "misnamed.safetensors")->find("torch"), nullptr);
  SafetensorsWriter writer(folder_ / "model.safetensors", {{"safe", Dtype::u8, {0}}});
  writer.commit();
  EXPECT_NE(open_tensors(folder_)->find("safe"), nullptr);
  EXPECT_NE(open_tensors(folder_ / "model.safetensors")->find("safe"), nullptr);
}

}  // namespace
}  // namespace compress::storage
