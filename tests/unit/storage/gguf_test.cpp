#include "compress/storage/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <bit>
#include <cmath>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "unit/storage/gguf_files.h"

namespace compress::storage {
namespace {

namespace fs = std::filesystem;
using namespace gguf_files;
using testing::ElementsAre;
using testing::HasSubstr;

class Gguf : public testing::Test {
 protected:
  void SetUp() override {
    path_ = fs::path(testing::TempDir()) /
            (std::string("compress_gguf_") + std::to_string(::getpid()) + "_" +
             testing::UnitTest::GetInstance()->current_test_info()->name());
  }
  void TearDown() override { fs::remove(path_); }
  GgufReader open(const std::string& bytes) {
    write_file(path_, bytes);
    return GgufReader(path_);
  }
  // All values of one row of blocks.
  std::vector<float> values(GgufType type, uint64_t elements, const std::string& blocks) {
    GgufReader reader =
        open(file({}, {tensor("t", {elements}, static_cast<uint32_t>(type), 0)}, blocks));
    std::vector<float> out(elements);
    dequantize(reader.at("t"), out);
    return out;
  }
  fs::path path_;
};

const std::string one_bytes = raw(uint16_t{0x3C00}), two_bytes = raw(uint16_t{0x4000}),
                  half_bytes = raw(uint16_t{0x3800});

TEST_F(Gguf, ReadsMetadata) {
  GgufReader reader =
      open(file({number("u", 4, uint32_t{7}), number("i", 1, int8_t{-3}), number("f", 6, 0.5f),
                 number("b", 7, char{1}), word("w", "llama"), number("big", 10, ~uint64_t{0}),
                 list("texts", 8, 2, text("a") + text("")),
                 list("sizes", 3, 2, raw(int16_t{-1}) + raw(int16_t{9})),
                 list("scores", 6, 1, raw(1.5f)), list("flags", 7, 2, std::string("\0\1", 2))},
                {}, "", 2));
  EXPECT_EQ(reader.version(), 2u);
  EXPECT_EQ(reader.integer("u"), 7);
  EXPECT_EQ(reader.integer("i"), -3);
  EXPECT_EQ(reader.real("f"), 0.5);
  EXPECT_EQ(reader.real("i"), -3.0);
  EXPECT_EQ(std::get<bool>(*reader.find_value("b")), true);
  EXPECT_EQ(reader.text("w"), "llama");
  EXPECT_THAT(reader.texts("texts"), ElementsAre("a", ""));
  EXPECT_THAT(reader.numbers("sizes").integers(), ElementsAre(-1, 9));
  EXPECT_THAT(reader.numbers("sizes").reals(), ElementsAre(-1, 9));
  EXPECT_THAT(reader.numbers("scores").reals(), ElementsAre(1.5));
  EXPECT_FALSE(reader.numbers("scores").is_whole());
  EXPECT_THROW(reader.numbers("scores").integers(), Error);
  EXPECT_THAT(reader.numbers("flags").integers(), ElementsAre(0, 1));
  EXPECT_EQ(reader.find_value("none"), nullptr);
  for (const char* key : {"none", "w", "big"}) {
    try {
      reader.integer(key);
      ADD_FAILURE() << key;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::model);
      EXPECT_THAT(error.message(), HasSubstr(key));
    }
  }
}

TEST_F(Gguf, ReversesDimensionsAndReadsRows) {
  std::string data;
  for (int i = 0; i < 6; ++i) data += raw(static_cast<float>(i));
  GgufReader reader = open(file({number("general.alignment", 4, uint32_t{8})},
                                {tensor("m", {3, 2}, 0, 0), tensor("s", {}, 0, 24),
                                 tensor("none", {uint64_t{1} << 60, 0}, 0, 0)},
                                data + raw(7.0f), 3, 8));
  const GgufTensor& matrix = reader.at("m");
  EXPECT_THAT(matrix.shape, ElementsAre(2, 3));
  EXPECT_EQ(matrix.rows(), 2u);
  std::vector<float> row(3), one(1), all(6), none;
  dequantize(matrix, row, 1);
  EXPECT_THAT(row, ElementsAre(3, 4, 5));
  dequantize(matrix, all);
  EXPECT_THAT(all, ElementsAre(0, 1, 2, 3, 4, 5));
  dequantize(reader.at("s"), one);
  EXPECT_THAT(one, ElementsAre(7));
  dequantize(reader.at("none"), none);
  EXPECT_EQ(reader.at("none").elements(), 0u);
  EXPECT_EQ(reader.at("none").row_elements(), 0u);  // a caller makes room for a row
  EXPECT_THROW(dequantize(matrix, row, 2), Error);
  EXPECT_THROW(dequantize(matrix, all, 1), Error);
  EXPECT_THROW(dequantize(matrix, one), Error);
  EXPECT_THROW(dequantize(matrix, row, ~uint64_t{0}), Error);
  EXPECT_EQ(reader.find("x"), nullptr);
  EXPECT_THROW(reader.at("x"), Error);
}

TEST_F(Gguf, WidensHalves) {
  std::string bits;
  for (uint16_t half : {0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x3C01, 0x7BFF, 0xFC00})
    bits += raw(half);
  EXPECT_THAT(values(GgufType::f16, 8, bits),
              ElementsAre(0.0f, -0.0f, 0x1p-24f, -0x1.FF8p-15f, 0x1p-14f, 1 + 0x1p-10f, 65504.0f,
                          -HUGE_VALF));
  EXPECT_TRUE(std::isnan(values(GgufType::f16, 1, raw(uint16_t{0x7C01}))[0]));
  EXPECT_TRUE(std::signbit(values(GgufType::f16, 1, raw(uint16_t{0x8000}))[0]));
  EXPECT_EQ(values(GgufType::bf16, 1, raw(uint16_t{0xC040}))[0], -3.0f);
}

TEST_F(Gguf, DequantisesSmallBlocks) {
  std::string nibbles = "\x5F" + std::string(15, '\x88');  // elements 0 and 16: 15 and 5
  std::vector<float> got = values(GgufType::q4_0, 32, half_bytes + nibbles);
  EXPECT_THAT((std::vector{got[0], got[1], got[16]}), ElementsAre(3.5f, 0.0f, -1.5f));
  got = values(GgufType::q4_1, 32, half_bytes + two_bytes + nibbles);
  EXPECT_THAT((std::vector{got[0], got[1], got[16]}), ElementsAre(9.5f, 6.0f, 4.5f));
  std::string fifth = raw(uint32_t{1u << 16 | 1u << 1});
  got = values(GgufType::q5_0, 32, half_bytes + fifth + nibbles);
  EXPECT_THAT((std::vector{got[0], got[1], got[16]}), ElementsAre(-0.5f, 4.0f, 2.5f));
  got = values(GgufType::q5_1, 32, half_bytes + two_bytes + fifth + nibbles);
  EXPECT_THAT((std::vector{got[0], got[1], got[16]}), ElementsAre(9.5f, 14.0f, 12.5f));
  got = values(GgufType::q8_0, 32, half_bytes + "\x80\x7F" + std::string(30, '\0'));
  EXPECT_THAT((std::vector{got[0], got[1], got[2]}), ElementsAre(-64.0f, 63.5f, 0.0f));
}

// Elements 0, 33 and 255 of blocks that are zero but for what the comments say.
std::vector<float> three(const std::vector<float>& all) {
  return {all[0], all[33], all[255]};
}

TEST_F(Gguf, DequantisesLargeBlocks) {
  std::string q2(84, '\0');
  q2[0] = 0x23;        // group 0: scale 3, minimum 2
  q2[16] = 0x02;       // element 0: 2
  q2[2] = 0x05;        // group 2 (elements 32..47): scale 5
  q2[17] = 0x03 << 2;  // element 33: 3
  EXPECT_THAT(three(values(GgufType::q2_k, 256, q2.replace(80, 4, one_bytes + two_bytes))),
              ElementsAre(3 * 2 - 2 * 2, 5 * 3, 0));
  std::string q3(110, '\0');
  q3[0] = 1;    // element 0: third bit set, so nothing is taken away
  q3[32] = 2;   // and its value is 2
  q3[96] = 1;   // scale of group 0: 1 | 2 << 4 = 33, less 32
  q3[104] = 2;  // its high bits
  // Element 33: value 0 - 4, scale of group 2: 0 - 32. Element 255 likewise.
  EXPECT_THAT(three(values(GgufType::q3_k, 256, q3.replace(108, 2, half_bytes))),
              ElementsAre(0.5f * 2, 0.5f * -32 * -4, 0.5f * -32 * -4));
  std::string q4(144, '\0');
  q4.replace(0, 4, one_bytes + two_bytes);
  q4[4] = 5;        // group 0: scale 5
  q4[8] = 1;        // and minimum 1
  q4[5] = 6;        // group 1: scale 6
  q4[15] = 0x21;    // group 7: scale 1 | 3 << 4, minimum 2
  q4[7] = '\xC0';   // the 3 of its scale
  q4[16] = 0x03;    // element 0
  q4[17] = '\x90';  // element 33
  q4[143] = 0x40;   // element 255
  EXPECT_THAT(three(values(GgufType::q4_k, 256, q4)),
              ElementsAre(5 * 3 - 2 * 1, 6 * 9, 49 * 4 - 2 * 2));
  std::string q5 = q4;
  q5.insert(16, std::string(32, '\0'));
  q5[17] = 2;       // fifth bit of element 33
  q5[47] = '\x80';  // and of element 255
  EXPECT_THAT(three(values(GgufType::q5_k, 256, q5)),
              ElementsAre(5 * 3 - 2 * 1, 6 * 25, 49 * 20 - 2 * 2));
  std::string q6(210, '\0');
  q6[0] = 0x05;      // element 0: 5 | 3 << 4 = 53, less 32
  q6[128] = 3;       // its high bits
  q6[33] = 0x01;     // element 33: 1 - 32
  q6[127] = '\x20';  // element 255: 2 | 1 << 4, less 32
  q6[191] = 1 << 6;  // its high bits
  q6[192] = 2;       // scale of group 0
  q6[194] = '\xFF';  // of group 2
  q6[207] = 3;       // of group 15
  EXPECT_THAT(three(values(GgufType::q6_k, 256, q6.replace(208, 2, one_bytes))),
              ElementsAre(2 * 21, -1 * -31, 3 * -14));
}

TEST_F(Gguf, NamesAreThoseOfGgml) {
  EXPECT_STREQ(gguf_type_name(GgufType::q4_k), "Q4_K");
  EXPECT_STREQ(gguf_type_name(GgufType::bf16), "BF16");
}

}  // namespace
}  // namespace compress::storage
