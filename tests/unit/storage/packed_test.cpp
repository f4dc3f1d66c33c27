#include "compress/storage/packed.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/storage/safetensors.h"
#include "packed/coding.h"
#include "packed/zstd.h"
#include "unit/storage/hostile.h"

namespace compress::storage {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

TEST(Coding, PlanesAndMasks) {
  const std::string bytes("\1\2\3\4\0\0\5\0", 8);
  EXPECT_EQ(to_planes(bytes, 2), std::string("\1\3\0\5\2\4\0\0", 8));
  std::string back(8, '?');
  from_planes(to_planes(bytes, 2), 2, back.data());
  EXPECT_EQ(back, bytes);
  // Elements 0, 1 and 3 are not zero: 1011 from the lowest bit on.
  const Masked masked = to_mask(bytes, 2);
  EXPECT_EQ(masked.mask, "\x0b");
  EXPECT_EQ(masked.values, std::string("\1\2\3\4\5\0", 6));
  EXPECT_EQ(ones(masked.mask, 4), 3);
  EXPECT_EQ(ones("\x1b", 4), -1);
  from_mask(masked.mask, masked.values, 4, 2, back.data());
  EXPECT_EQ(back, bytes);
}

TEST(Coding, BlockMasks) {
  // 4 x 6 elements of one byte; blocks of 2 x 3: the second and the third have something.
  const std::string bytes(
      "\0\0\0\1\0\0"
      "\0\0\0\0\0\2"
      "\0\3\4\0\0\0"
      "\5\0\0\0\0\0",
      24);
  const Blocks blocks{4, 6, 2, 3};
  const Masked masked = to_block_mask(bytes, 1, blocks);
  EXPECT_EQ(masked.mask, "\x06");
  EXPECT_EQ(masked.values, std::string("\1\0\0\0\0\2\0\3\4\5\0\0", 12));
  // By rows: 000111 000111 111000 111000, the first in the lowest bit.
  const std::string mask = element_mask(masked.mask, blocks);
  EXPECT_EQ(mask, "\x38\x7e\x1c");
  std::string back(24, '?');
  from_mask(mask, masked.values, 24, 1, back.data());
  EXPECT_EQ(back, bytes);
}

TEST(Coding, TheBlocksOfFewestBytes) {
  auto chosen = [](const std::string& bytes) {
    const Blocks best = best_blocks(bytes, 1, 4, 8);
    return std::pair(best.high, best.wide);
  };
  std::string bytes(32, '\0');
  for (size_t i : {4, 5, 6, 7, 16, 17, 18, 19, 24, 25, 26, 27}) bytes[i] = static_cast<char>(i);
  EXPECT_EQ(chosen(bytes), std::pair(uint64_t{1}, uint64_t{4}));
  bytes.assign(32, '\0');
  for (size_t i : {0, 9, 18, 27, 28}) bytes[i] = 1;
  EXPECT_EQ(chosen(bytes), std::pair(uint64_t{1}, uint64_t{1}));
}

class Packed : public testing::Test {
 protected:
  void SetUp() override {
    if (!has_zstd()) GTEST_SKIP() << "built without zstd";
    folder_ = fs::path(testing::TempDir()) / ("compress_packed_" + std::to_string(::getpid()));
    fs::remove_all(folder_);
    make_folder(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  // Nine of ten values of `sparse` are zero.
  void write_tensors() {
    uint32_t draw = 1;
    auto next = [&] { return (draw = draw * 1664525u + 1013904223u) >> 8; };
    std::vector<int8_t> sparse(100'000);
    for (int8_t& value : sparse) value = next() % 10 == 0 ? static_cast<int8_t>(next()) : 0;
    // Blocks of 1 x 4, of which one in ten is not zero.
    std::vector<int8_t> blocks(100'000);
    for (size_t i = 0; i < blocks.size(); i += 4)
      if (next() % 10 == 0)
        for (size_t j = i; j < i + 4; ++j) blocks[j] = static_cast<int8_t>(next());
    std::vector<float> dense(3000);
    for (float& value : dense) value = static_cast<float>(next() % 10000) / 10000;
    SafetensorsWriter writer(folder_ / "model.safetensors", {{"blocks", Dtype::i8, {100, 1000}},
                                                             {"dense", Dtype::f32, {3000}},
                                                             {"empty", Dtype::f32, {0, 4}},
                                                             {"sparse", Dtype::i8, {100, 1000}}});
    writer.write("blocks", std::as_bytes(std::span(blocks)));
    writer.write("dense", std::as_bytes(std::span(dense)));
    writer.write("empty", {});
    writer.write("sparse", std::as_bytes(std::span(sparse)));
    writer.commit();
    write_packed(folder_ / "model.safetensors", file());
  }
  fs::path file() const { return folder_ / packed_name; }

  fs::path folder_;
};

TEST_F(Packed, GivesTheTensorsBack) {
  write_tensors();
  const SafetensorsReader expected(folder_ / "model.safetensors");
  fs::rename(folder_ / "model.safetensors", folder_ / "other");
  const auto read = open_tensors(folder_);
  ASSERT_EQ(read->tensors().size(), 4u);
  EXPECT_EQ(read->metadata(), expected.metadata());
  for (const TensorView& tensor : expected.tensors()) {
    const TensorView& found = read->at(tensor.name);
    EXPECT_EQ(found.dtype, tensor.dtype);
    EXPECT_EQ(found.shape, tensor.shape);
    ASSERT_EQ(found.bytes, tensor.bytes);
    EXPECT_EQ(std::memcmp(found.data, tensor.data, tensor.bytes), 0) << tensor.name;
  }
  // 0.47 bits for where the tenth lies that is not zero and 0.1 bytes for what it is: 15,900 bytes
  // of 100,000; 0.47 bits a block of four, 11,500 bytes; and 12,000 of float32 with four digits.
  EXPECT_LT(fs::file_size(file()), 15'900 * 1.1 + 11'500 * 1.03 + 12'000);
  EXPECT_EQ(open_tensors(file())->tensors().size(), 4u);
}

TEST_F(Packed, EveryDamagedByteIsRefused) {
  write_tensors();
  const std::string good = read_file(file());
  for (size_t at = 0; at < good.size(); at += at < 600 ? 7 : 509) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x15);
    write_file(file(), bad);
    EXPECT_THROW(PackedReader{file()}, Error) << at;
  }
  for (size_t size : {size_t{0}, size_t{5}, size_t{12}, size_t{40}, good.size() - 1}) {
    write_file(file(), good.substr(0, size));
    EXPECT_THROW(PackedReader{file()}, Error) << size;
  }
  write_file(file(), good + "x");
  expect_refused<PackedReader>(file(), "follow its last tensor", file());
}

// A file with this directory, and parts behind it.
std::string file_of(const std::string& directory, const std::vector<std::string>& parts) {
  const std::string frame = zstd_packed(directory);
  const uint64_t length = frame.size();
  std::string out = "CMPRPACK";
  out.append(reinterpret_cast<const char*>(&length), sizeof length);
  out += frame;
  for (const std::string& part : parts) out += part;
  return out;
}

TEST_F(Packed, DirectoriesThatLieAreRefused) {
  const std::string header = R"({"a": {"dtype": "I8", "shape": [4], "data_offsets": [0, 4]}})";
  const std::string part = zstd_packed(std::string("\1\0\2\0", 4)), bits = zstd_packed("\x05"),
                    values = zstd_packed("\1\2");
  auto directory = [&](const Json& tensors, const std::string& head = {}) {
    return Json{{"version", 1}, {"header", head.empty() ? header : head}, {"tensors", tensors}};
  };
  auto entry = [](const char* coding, const std::vector<std::pair<uint64_t, size_t>>& parts) {
    Json list = Json::array();
    for (const auto& [bytes, stored] : parts) list.push_back(Json::array({bytes, stored}));
    return Json::array({Json::array({coding, list})});
  };
  auto refused = [&](const std::string& text, const std::vector<std::string>& parts,
                     const char* message) {
    write_file(file(), file_of(text, parts));
    expect_refused<PackedReader>(file(), message, file());
  };
  write_file(file(), file_of(directory(entry("plain", {{4, part.size()}})).dump(), {part}));
  EXPECT_EQ(PackedReader(file()).tensors().size(), 1u);
  write_file(file(),
             file_of(directory(entry("mask", {{1, bits.size()}, {2, values.size()}})).dump(),
                     {bits, values}));
  EXPECT_EQ(static_cast<const int8_t*>(PackedReader(file()).at("a").data)[2], 2);

  refused("[", {}, "version");
  refused(R"({"version": 2})", {}, "version");
  refused(R"({"version": 1})", {}, "names no tensors");
  refused(directory(Json::array()).dump(), {}, "another number");
  refused(directory(Json::array({3})).dump(), {}, "no coding with its parts");
  refused(directory(entry("plain", {{5, part.size()}})).dump(), {part}, "not of its size");
  refused(directory(entry("plain", {{4, part.size() + 1}})).dump(), {part}, "ends at byte");
  refused(directory(entry("plain", {{4, part.size()}, {4, part.size()}})).dump(), {part, part},
          "not of its size");
  refused(directory(entry("other", {{4, part.size()}})).dump(), {part}, "coding without a name");
  refused(directory(entry("mask", {{1, bits.size()}, {1, values.size()}})).dump(), {bits, values},
          "does not fit what it masks");
  const std::string beyond = zstd_packed("\x15");
  refused(directory(entry("mask", {{1, beyond.size()}, {2, values.size()}})).dump(),
          {beyond, values}, "does not fit what it masks");
  refused(directory(entry("mask", {{1, bits.size()}, {2, part.size()}})).dump(), {bits, part},
          "damaged");

  // One block of four of a matrix of 2 x 4.
  const std::string matrix = R"({"a": {"dtype": "I8", "shape": [2, 4], "data_offsets": [0, 8]}})";
  const std::string second = zstd_packed("\x02");
  auto blocks = [&](const Json& shape, const std::string& mask, const char* coding = "blocks") {
    Json entries = entry(coding, {{1, mask.size()}, {4, part.size()}});
    if (!shape.is_null()) entries[0].push_back(shape);
    return directory(entries, matrix).dump();
  };
  write_file(file(), file_of(blocks(Json::array({1, 4}), second), {second, part}));
  EXPECT_EQ(static_cast<const int8_t*>(PackedReader(file()).at("a").data)[4], 1);
  EXPECT_EQ(static_cast<const int8_t*>(PackedReader(file()).at("a").data)[6], 2);
  for (const Json& shape : {Json::array({1, 3}), Json::array({0, 4}), Json::array({1}),
                            Json::array({1, -4}), Json("1x4"), Json()})
    refused(blocks(shape, second), {second, part}, "do not divide it");
  refused(blocks(Json::array({2, 4}), second), {second, part}, "does not fit what it masks");
  refused(blocks(Json::array({1, 4}), beyond), {beyond, part}, "does not fit what it masks");
  refused(blocks(Json::array({1, 4}), second, "mask"), {second, part}, "not of its size");
  const std::string huge =
      R"({"a": {"dtype": "I8", "shape": [4000000000000], "data_offsets": [0, 4000000000000]}})";
  refused(directory(entry("plain", {{4, part.size()}}), huge).dump(), {part}, "claims");
  refused(directory(entry("plain", {{4, part.size()}}),
                    R"({"a": {"dtype": "I8", "shape": [5], "data_offsets": [0, 4]}})")
              .dump(),
          {part}, "do not hold");
}

}  // namespace
}  // namespace compress::storage
