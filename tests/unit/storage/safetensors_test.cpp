#include "compress/storage/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>

#include "compress/base/error.h"
#include "compress/base/files.h"

namespace compress::storage {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Safetensors : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) /
              (std::string("compress_storage_") + std::to_string(::getpid()) + "_" +
               testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    make_folder(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path folder_;
};

std::string file_of(uint64_t length, std::string_view header, std::string_view data) {
  std::string bytes(reinterpret_cast<const char*>(&length), 8);
  return bytes.append(header).append(data);
}

std::string file_of(std::string_view header, std::string_view data) {
  return file_of(header.size(), header, data);
}

template <class T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

template <class T>
std::vector<T> values_of(const TensorView& view) {
  std::vector<T> values(view.bytes / sizeof(T));
  if (view.bytes > 0) std::memcpy(values.data(), view.data, view.bytes);
  return values;
}

template <class F>
Error caught(F&& body) {
  try {
    body();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no Error was thrown";
  return Error(ErrorKind::internal, "none");
}

TEST(Tensor, TypesHaveNamesAndSizes) {
  const std::pair<const char*, uint64_t> want[] = {
      {"F64", 8}, {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"I64", 8},     {"I32", 4},
      {"I16", 2}, {"I8", 1},  {"U8", 1},  {"BOOL", 1}, {"F8_E4M3", 1}, {"F8_E5M2", 1}};
  int number = 0;
  for (auto [name, size] : want) {
    auto dtype = static_cast<Dtype>(number++);
    EXPECT_STREQ(dtype_name(dtype), name);
    EXPECT_EQ(element_size(dtype), size);
    EXPECT_EQ(dtype_from_name(name), dtype);
  }
  EXPECT_EQ(dtype_from_name("f32"), std::nullopt);
  EXPECT_EQ(dtype_from_name("F4"), std::nullopt);
}

TEST(Tensor, ByteSizeChecksOverflow) {
  EXPECT_EQ(byte_size(Dtype::f32, {}), 4u);
  EXPECT_EQ(byte_size(Dtype::bf16, {3, 5}), 30u);
  EXPECT_EQ(byte_size(Dtype::f64, {3, 0, 7}), 0u);
  EXPECT_EQ(byte_size(Dtype::u8, {-1}), std::nullopt);
  EXPECT_EQ(byte_size(Dtype::u8, {int64_t{1} << 32, int64_t{1} << 32}), std::nullopt);
  EXPECT_EQ(byte_size(Dtype::f64, {int64_t{1} << 60}), std::nullopt);
  EXPECT_EQ(byte_size(Dtype::f32, {int64_t{1} << 60}), uint64_t{1} << 62);
}

TEST(Tensor, NamesAreSafeToShow) {
  EXPECT_EQ(shown_name("a.b"), "'a.b'");
  EXPECT_EQ(shown_name("a\x1b[2J\n"), "'a?[2J?'");
  EXPECT_EQ(shown_name(std::string(119, 'x') + "é"), "'" + std::string(119, 'x') + "...'");
}

// Two tensors, as `safetensors.serialize_file` of the Python library lays them out.
TEST_F(Safetensors, ReadsTheFormatByteForByte) {
  std::string header =
      R"({"__metadata__":{"format":"pt"},"w":{"dtype":"I16","shape":[2,1],"data_offsets":[0,4]},)"
      R"("b":{"dtype":"U8","shape":[],"data_offsets":[4,5]}}   )";
  write_file(folder_ / "f.safetensors", file_of(header, std::string("\x01\x00\xff\xff\x07", 5)));
  SafetensorsReader reader(folder_ / "f.safetensors");
  ASSERT_EQ(reader.tensors().size(), 2u);
  const TensorView& w = reader.at("w");
  EXPECT_EQ(w.dtype, Dtype::i16);
  EXPECT_EQ(w.shape, (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(w.elements(), 2u);
  EXPECT_EQ(values_of<int16_t>(w), (std::vector<int16_t>{1, -1}));
  const TensorView* b = reader.find("b");
  ASSERT_NE(b, nullptr);
  EXPECT_TRUE(b->shape.empty());
  EXPECT_EQ(values_of<uint8_t>(*b), std::vector<uint8_t>{7});
  EXPECT_EQ(reader.metadata(), (std::map<std::string, std::string>{{"format", "pt"}}));
  EXPECT_EQ(reader.total_bytes(), 5u);
  EXPECT_EQ(reader.files(), std::vector<fs::path>{folder_ / "f.safetensors"});
  EXPECT_EQ(reader.find("c"), nullptr);
}

TEST_F(Safetensors, WritesTheFormatByteForByte) {
  std::vector<TensorInfo> tensors{{"odd \"name\"", Dtype::u8, {3}}, {"w", Dtype::f32, {1, 2}}};
  SafetensorsWriter writer(folder_ / "f", tensors, {{"by", "test"}});
  writer.write("odd \"name\"", bytes_of(std::vector<uint8_t>{1, 2, 3}));
  writer.write("w", bytes_of(std::vector<float>{1.0f, -2.0f}));
  EXPECT_FALSE(fs::exists(folder_ / "f"));
  writer.commit();
  // The wider type comes first, so that it is aligned; the header is filled up to a multiple of 8
  // bytes.
  std::string header = R"({"__metadata__":{"by":"test","format":"pt"},)"
                       R"("w":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},)"
                       R"("odd \"name\"":{"dtype":"U8","shape":[3],"data_offsets":[8,11]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  EXPECT_EQ(read_file(folder_ / "f"),
            file_of(header, std::string("\x00\x00\x80\x3f\x00\x00\x00\xc0\x01\x02\x03", 11)));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 1);
}

TEST_F(Safetensors, RoundTripInPiecesOfEveryType) {
  std::vector<TensorInfo> tensors;
  std::vector<std::vector<uint8_t>> data;
  for (int i = 0; i < 12; ++i) {
    auto dtype = static_cast<Dtype>(i);
    tensors.push_back({"t" + std::to_string(i), dtype, {i % 5, 3}});
    data.emplace_back(*byte_size(dtype, tensors.back().shape));
    for (size_t at = 0; at < data.back().size(); ++at)
      data.back()[at] = static_cast<uint8_t>(31 * i + at);
  }
  SafetensorsWriter writer(folder_ / "f", tensors);
  for (const auto& bytes : data)
    for (size_t at = 0; at < bytes.size(); at += 5)
      writer.append(bytes_of(bytes).subspan(at, std::min<size_t>(5, bytes.size() - at)));
  writer.commit();
  SafetensorsReader reader(folder_ / "f");
  ASSERT_EQ(reader.tensors().size(), 12u);
  for (size_t i = 0; i < 12; ++i) {
    const TensorView& view = reader.at(tensors[i].name);
    EXPECT_EQ(view.dtype, tensors[i].dtype);
    EXPECT_EQ(view.shape, tensors[i].shape);
    EXPECT_EQ(values_of<uint8_t>(view), data[i]) << i;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(view.data) % element_size(view.dtype), 0u);
  }
}

TEST_F(Safetensors, TensorsMayGrowTogether) {
  const std::vector<float> rows{1, 2, 3, 4};
  const std::vector<int16_t> counts{5, 6};
  const std::vector<TensorInfo> infos = {{"counts", Dtype::i16, {2}}, {"rows", Dtype::f32, {2, 2}}};
  SafetensorsWriter parts(folder_ / "parts.safetensors", infos);
  const auto float_bytes = bytes_of(rows), count_bytes = bytes_of(counts);
  parts.write_part("rows", 8, float_bytes.subspan(8));
  parts.write_part("counts", 0, count_bytes.first(2));
  EXPECT_FALSE(fs::exists(folder_ / "parts.safetensors"));
  EXPECT_THAT(caught([&] { parts.commit(); }).message(), HasSubstr("10 of 20 bytes"));
  EXPECT_THAT(caught([&] { parts.append(count_bytes); }).message(), HasSubstr("in parts"));
  EXPECT_THAT(caught([&] { parts.write_part("rows", 12, float_bytes.first(8)); }).message(),
              HasSubstr("bytes 12 to 20 of 16"));
  EXPECT_THAT(caught([&] { parts.write_part("row", 0, float_bytes); }).message(),
              HasSubstr("not declared"));
  parts.write_part("counts", 2, count_bytes.subspan(2));
  parts.write_part("rows", 0, float_bytes.first(8));
  parts.commit();

  SafetensorsWriter whole(folder_ / "whole.safetensors", infos);
  whole.write("counts", count_bytes);
  whole.write("rows", float_bytes);
  whole.commit();
  EXPECT_EQ(read_file(folder_ / "parts.safetensors"), read_file(folder_ / "whole.safetensors"));
}

TEST_F(Safetensors, EmptyModelAndEmptyTensors) {
  SafetensorsWriter nothing(folder_ / "none", {});
  nothing.commit();
  EXPECT_TRUE(SafetensorsReader(folder_ / "none").tensors().empty());
  SafetensorsWriter writer(
      folder_ / "f", {{"a", Dtype::f32, {0}}, {"b", Dtype::i8, {1}}, {"c", Dtype::f64, {2, 0}}});
  writer.write("a", {});
  writer.write("b", bytes_of(std::vector<int8_t>{5}));
  writer.write("c", {});
  writer.commit();
  SafetensorsReader reader(folder_ / "f");
  EXPECT_EQ(reader.at("c").bytes, 0u);
  EXPECT_EQ(values_of<int8_t>(reader.at("b")), std::vector<int8_t>{5});
}

TEST_F(Safetensors, ShardsSplitBetweenTensors) {
  std::vector<TensorInfo> tensors{{"z", Dtype::u8, {6}},
                                  {"a", Dtype::f32, {1}},
                                  {"big", Dtype::f32, {8}},
                                  {"end", Dtype::u8, {1}}};
  auto writer = SafetensorsWriter::sharded(folder_, tensors, 10);
  writer.write("z", bytes_of(std::vector<uint8_t>(6, 9)));
  writer.write("a", bytes_of(std::vector<float>{4}));
  writer.write("big", bytes_of(std::vector<float>(8, 2)));
  EXPECT_FALSE(fs::exists(folder_ / "model-00001-of-00003.safetensors"));  // all or nothing
  writer.write("end", bytes_of(std::vector<uint8_t>{1}));
  writer.commit();
  EXPECT_EQ(read_file(folder_ / "model.safetensors.index.json"), R"({
  "metadata": {
    "total_size": 43
  },
  "weight_map": {
    "a": "model-00001-of-00003.safetensors",
    "big": "model-00002-of-00003.safetensors",
    "end": "model-00003-of-00003.safetensors",
    "z": "model-00001-of-00003.safetensors"
  }
}
)");
  for (const fs::path& path : {folder_, folder_ / "model.safetensors.index.json"}) {
    SafetensorsReader reader(path);
    EXPECT_EQ(reader.files().size(), 3u);
    EXPECT_EQ(reader.total_bytes(), 43u);
    EXPECT_EQ(values_of<float>(reader.at("big")), std::vector<float>(8, 2));
    EXPECT_EQ(values_of<uint8_t>(reader.at("z")), std::vector<uint8_t>(6, 9));
  }
}

TEST_F(Safetensors, TheNewestLayoutOfAFolderWins) {
  auto save = [&](uint64_t limit, uint8_t value) {
    auto writer =
        SafetensorsWriter::sharded(folder_, {{"a", Dtype::u8, {1}}, {"b", Dtype::u8, {1}}}, limit);
    writer.append(bytes_of(std::vector<uint8_t>{value}));
    writer.append(bytes_of(std::vector<uint8_t>{value}));
    writer.commit();
    SafetensorsReader reader(folder_);
    EXPECT_EQ(values_of<uint8_t>(reader.at("b")), std::vector<uint8_t>{value});
    return reader.files().size();
  };
  EXPECT_EQ(save(100, 1), 1u);
  EXPECT_EQ(save(1, 2), 2u);
  EXPECT_EQ(save(2, 3), 1u);
}

TEST_F(Safetensors, WriterRefusesMisuse) {
  fs::path file = folder_ / "f";
  std::vector<uint8_t> two(2), three(3);
  auto refused = [&](const char* text, auto body) {
    Error error = caught(body);
    EXPECT_EQ(error.kind(), ErrorKind::internal) << text;
    EXPECT_THAT(error.what(), HasSubstr(text));
  };
  std::vector<TensorInfo> good{{"a", Dtype::u8, {2}}, {"b", Dtype::u8, {2}}};
  refused("twice", [&] {
    SafetensorsWriter(file, {{"a", Dtype::u8, {}}, {"b", Dtype::u8, {}}, {"a", Dtype::u8, {}}});
  });
  refused("__metadata__", [&] { SafetensorsWriter(file, {{"__metadata__", Dtype::u8, {}}}); });
  refused("impossible shape", [&] { SafetensorsWriter(file, {{"a", Dtype::u8, {-1}}}); });
  refused("UTF-8", [&] { SafetensorsWriter(file, {{"a\xff", Dtype::u8, {1}}}); });
  refused("3 bytes of 2", [&] { SafetensorsWriter(file, good).append(bytes_of(three)); });
  refused("3 bytes of 2", [&] { SafetensorsWriter(file, good).write("a", bytes_of(three)); });
  refused("out of the declared order",
          [&] { SafetensorsWriter(file, good).write("b", bytes_of(two)); });
  refused("0 of 2 bytes", [&] {
    SafetensorsWriter writer(file, good);
    writer.append(bytes_of(two));
    writer.commit();
  });
  refused("after the last", [&] {
    SafetensorsWriter writer(file, good);
    for (int i = 0; i < 3; ++i) writer.append(bytes_of(two));
  });
  EXPECT_TRUE(fs::is_empty(folder_));
  EXPECT_EQ(caught([&] {
              SafetensorsWriter writer(folder_ / "no" / "f", good);
              writer.append(bytes_of(two));
            }).kind(),
            ErrorKind::disk);
}

TEST_F(Safetensors, AMissingTensorNamesTheNearest) {
  SafetensorsWriter writer(folder_ / "f", {{"pooler.weight", Dtype::u8, {0}}});
  writer.commit();
  Error error = caught([&] { SafetensorsReader(folder_ / "f").at("poler.weight"); });
  EXPECT_EQ(error.kind(), ErrorKind::model);
  EXPECT_THAT(error.hint(), HasSubstr("'pooler.weight'"));
}

}  // namespace
}  // namespace compress::storage
