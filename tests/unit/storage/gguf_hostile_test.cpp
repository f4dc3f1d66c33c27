// GGUF files that lie: each must end in Error{model} that names the file.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/storage/gguf.h"
#include "unit/storage/gguf_files.h"
#include "unit/storage/hostile.h"

namespace compress::storage {
namespace {

namespace fs = std::filesystem;
using namespace gguf_files;
using testing::HasSubstr;

using Case = HostileCase;

const std::string tensor_data(64, 'd');
constexpr uint64_t huge = ~uint64_t{0};

std::string start(uint32_t version, uint64_t tensors, uint64_t values) {
  return "GGUF" + raw(version) + raw(tensors) + raw(values);
}
std::string with_value(const std::string& value) {
  return file({value}, {}, "");
}
std::string with_tensor(const std::string& line, const std::string& data = tensor_data) {
  return file({}, {line}, data);
}
std::string aligned(uint32_t alignment) {
  return file({number("general.alignment", 4, alignment)}, {}, "");
}
std::string two(uint64_t first, uint64_t second) {
  return file({}, {tensor("a", {8}, 0, first), tensor("b", {9}, 0, second)}, std::string(100, 'd'));
}

const Case cases[] = {
    {"empty", "", "no GGUF file"},
    {"short", "GGUF", "no GGUF file"},
    {"other_magic", "GGUX" + start(3, 0, 0).substr(4), "no GGUF file"},
    {"version_1", start(1, 0, 0), "GGUF version 1"},
    {"version_4", start(4, 0, 0), "GGUF version 4"},
    {"version_0", start(0, 0, 0), "GGUF version 0"},
    {"big_endian", start(0x03000000, 0, 0), "big-endian"},
    {"tensors_beyond", start(3, 1, 0), "1 tensors"},
    {"tensors_huge", start(3, huge, 0), "more than the file can hold"},
    {"values_huge", start(3, 0, huge), "more than the file can hold"},
    {"values_beyond", start(3, 0, 2) + number("k", 0, uint8_t{1}), "more than the file can hold"},
    {"key_past_end", start(3, 0, 1) + raw(huge) + std::string(20, 'k'), "inside what starts"},
    {"key_not_utf8", with_value(number("\xff", 0, uint8_t{1})), "not UTF-8"},
    {"key_twice", file({number("k", 0, uint8_t{1}), number("k", 4, uint32_t{1})}, {}, ""), "twice"},
    {"value_missing", start(3, 0, 1) + text("long enough a key") + raw(uint32_t{10}),
     "inside what starts"},
    {"unknown_value", with_value(number("k", 13, uint64_t{1})), "unknown type 13"},
    {"boolean_2", with_value(number("k", 7, char{2})), "neither 0 nor 1"},
    {"booleans_2", with_value(list("k", 7, 3, std::string("\0\1\2", 3))), "neither 0 nor 1"},
    {"text_past_end", with_value(text("k") + raw(uint32_t{8}) + raw(huge)), "inside what starts"},
    {"list_of_lists", with_value(list("k", 9, 1, raw(uint32_t{0}) + raw(uint64_t{0}))),
     "list of the unknown type 9"},
    {"list_of_nothing_known", with_value(list("k", 99, 0, "")), "list of the unknown type 99"},
    {"list_huge", with_value(list("k", 10, huge, "")), "inside what starts"},
    {"list_overflow", with_value(list("k", 10, (huge >> 3) + 2, std::string(8, 'x'))),
     "inside what starts"},
    {"texts_huge", with_value(list("k", 8, huge, "")), "inside what starts"},
    {"texts_past_end", with_value(list("k", 8, 3, text("a") + raw(huge) + std::string(16, 'b'))),
     "inside what starts"},
    {"alignment_0", aligned(0), "alignment 0"},
    {"alignment_12", aligned(12), "alignment 12"},
    {"alignment_huge", aligned(1u << 31), "alignment 2147483648"},
    {"alignment_text", with_value(word("general.alignment", "32")), "an integer"},
    {"name_not_utf8", with_tensor(tensor("\xc3", {1}, 0, 0)), "not UTF-8"},
    {"name_twice", file({}, {tensor("a", {1}, 0, 0), tensor("a", {1}, 0, 32)}, tensor_data),
     "twice"},
    {"five_dimensions", with_tensor(tensor("t", {1, 1, 1, 1, 1}, 0, 0)), "5 dimensions"},
    {"dimensions_huge", start(3, 1, 0) + text("t") + raw(~uint32_t{0}) + std::string(40, '\0'),
     "4294967295 dimensions"},
    {"size_negative", with_tensor(tensor("t", {huge}, 0, 0)), "too large"},
    {"product_overflow", with_tensor(tensor("t", {1u << 31, 1u << 31, 4}, 0, 0)), "too large"},
    {"product_to_zero", with_tensor(tensor("t", {1ull << 32, 1ull << 32}, 0, 0)), "too large"},
    {"bytes_overflow", with_tensor(tensor("t", {1ull << 62}, 0, 0)), "too large"},
    {"unread_type", with_tensor(tensor("t", {256}, 16, 0)), "16 IQ2_XXS"},
    {"removed_type", with_tensor(tensor("t", {256}, 4, 0)), "type 4 "},
    {"unknown_type", with_tensor(tensor("t", {256}, 12345, 0)), "type 12345"},
    {"part_of_a_block", with_tensor(tensor("t", {33}, 2, 0)), "no whole Q4_0 blocks of 32"},
    {"rows_of_half_blocks", with_tensor(tensor("t", {128, 2}, 12, 0)), "no whole Q4_K blocks"},
    {"offset_unaligned", with_tensor(tensor("t", {1}, 0, 4)), "multiple of 32"},
    {"past_end", with_tensor(tensor("t", {17}, 0, 0)), "beyond the end"},
    {"offset_past_end", with_tensor(tensor("t", {1}, 0, 64)), "beyond the end"},
    {"offset_far", with_tensor(tensor("t", {1}, 0, huge - 31)), "beyond the end"},
    {"no_data", with_tensor(tensor("t", {1}, 0, 0), ""), "beyond the end"},
    {"overlap", two(32, 0), "overlaps the tensor 'b'"},
    {"same_bytes", two(0, 0), "overlaps"},
};

class GgufHostile : public testing::TestWithParam<Case> {};

TEST_P(GgufHostile, IsRefused) {
  fs::path file = fs::path(testing::TempDir()) /
                  ("compress_gguf_" + std::to_string(::getpid()) + "_" + GetParam().name);
  write_file(file, GetParam().content);
  expect_refused<GgufReader>(file, GetParam().message, file);
  fs::remove(file);
}

auto case_name = [](const auto& info) { return std::string(info.param.name); };
INSTANTIATE_TEST_SUITE_P(All, GgufHostile, testing::ValuesIn(cases), case_name);

TEST(GgufHostilePlace, NamesTheTensorOfAnUnreadType) {
  fs::path path = fs::path(testing::TempDir()) / ("compress_gguf_" + std::to_string(::getpid()));
  write_file(path, with_tensor(tensor("blk.0.ffn_up.weight", {256}, 20, 0)));
  try {
    GgufReader reader(path);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.where(), path.string() + " (tensor 'blk.0.ffn_up.weight')");
    EXPECT_THAT(error.message(), HasSubstr("IQ4_NL"));
  }
  fs::remove(path);
}

}  // namespace
}  // namespace compress::storage
