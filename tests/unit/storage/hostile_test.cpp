// Safetensors files and indexes that lie: each must end in Error{model} that names the file.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/storage/gguf.h"
#include "compress/storage/safetensors.h"
#include "unit/storage/hostile.h"

namespace compress::storage {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

using Case = HostileCase;

std::string file_of(uint64_t length, std::string_view header, std::string_view data) {
  std::string bytes(reinterpret_cast<const char*>(&length), 8);
  return bytes.append(header).append(data);
}

std::string with_header(std::string_view header, size_t data = 0) {
  return file_of(header.size(), header, std::string(data, 'd'));
}

// One tensor "t" whose description is `fields`, over `data` bytes.
std::string with_tensor(const std::string& fields, size_t data = 4) {
  return with_header("{\"t\":{" + fields + "}}", data);
}

std::string two_tensors(const char* first, const char* second, size_t data) {
  auto entry = [](const char* name, const char* offsets) {
    return std::string("\"") + name + R"(":{"dtype":"U8","shape":[4],"data_offsets":)" + offsets +
           "}";
  };
  return with_header("{" + entry("a", first) + "," + entry("b", second) + "}", data);
}

const std::string good = R"("dtype":"F32","shape":[1],"data_offsets":[0,4])";

const Case bad_files[] = {
    {"empty", "", "too short"},
    {"seven_bytes", std::string(7, '\0'), "too short"},
    {"no_header", file_of(0, "", ""), "start with '{'"},
    {"header_past_end", file_of(100, "{}", ""), "beyond the end"},
    {"huge_header", file_of(~uint64_t{0}, "{}", ""), "over the format's 100 MB"},
    {"over_100_mb", file_of(100'000'001, "{}", ""), "over the format's 100 MB"},
    {"what_a_server_says", "Entry not found", "begins with 'Entry not found'"},
    {"gzip", std::string("\x1F\x8B\x08\0\0\0\0\0\0\x03", 10), "is a gzip file"},
    {"pickle", std::string("\x80\x04\x95\0\0\0\0\0\0\0", 10), "is a pickle"},
    {"other_dtype", with_tensor(R"("dtype":"U16","shape":[2],"data_offsets":[0,4])"),
     "dtype U16, which is not read"},
    {"leading_space", with_header(" {}"), "start with '{'"},
    {"a_list", with_header("[]"), "start with '{'"},
    {"cut_json", with_header("{\"a\":"), "not valid JSON"},
    {"bad_utf8", with_header("{\"\xff\":{}}"), "not valid JSON"},
    {"text_after_json", with_header("{}x"), "not valid JSON"},
    {"zero_byte", with_header(std::string_view("{}\0garbage", 10)), "zero byte"},
    {"comment", with_header("{/**/}"), "not valid JSON"},
    {"deep_lists", with_header("{\"a\":" + std::string(1'000'000, '[')), "list in a wrong place"},
    {"deep_shape", with_tensor("\"shape\":" + std::string(1'000'000, '[')),
     "list in a wrong place"},
    {"deep_objects", with_header([] {
       std::string text = "{";
       for (int i = 0; i < 200'000; ++i) text += "\"a\":{";
       return text;
     }()),
     "object in a wrong place"},
    {"tensor_is_text", with_header(R"({"t":"F32"})"), "text in a wrong place"},
    {"tensor_is_number", with_header(R"({"t":3})"), "number in a wrong place"},
    {"tensor_is_null", with_header(R"({"t":null})"), "null"},
    {"no_dtype", with_tensor(R"("shape":[1],"data_offsets":[0,4])"), "lacks dtype"},
    {"no_shape", with_tensor(R"("dtype":"F32","data_offsets":[0,4])"), "lacks dtype"},
    {"no_offsets", with_tensor(R"("dtype":"F32","shape":[1])"), "lacks dtype"},
    {"one_offset", with_tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0])"),
     "two data_offsets"},
    {"three_offsets", with_tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0,4,8])"),
     "too many"},
    {"unknown_dtype", with_tensor(R"("dtype":"F33","shape":[1],"data_offsets":[0,4])"),
     "unknown dtype 'F33'"},
    {"dtype_number", with_tensor(R"("dtype":4,"shape":[1],"data_offsets":[0,4])"),
     "number in a wrong place"},
    {"unknown_field", with_tensor(good + R"(,"stride":[1])"), "list in a wrong place"},
    {"dtype_twice", with_tensor(good + R"(,"dtype":"F32")"), "dtype twice"},
    {"shape_twice", with_tensor(good + R"(,"shape":[1])"), "shape twice"},
    {"offsets_twice", with_tensor(good + R"(,"data_offsets":[0,4])"), "data_offsets twice"},
    {"negative_shape", with_tensor(R"("dtype":"F32","shape":[-1],"data_offsets":[0,4])"),
     "negative"},
    {"negative_offset", with_tensor(R"("dtype":"F32","shape":[1],"data_offsets":[-4,0])"),
     "negative"},
    {"real_shape", with_tensor(R"("dtype":"F32","shape":[1.0],"data_offsets":[0,4])"), "whole"},
    {"shape_over_u64",
     with_tensor(R"("dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,4])"), "whole"},
    {"shape_over_i64",
     with_tensor(R"("dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,4])"),
     "too large a number"},
    // 2^62 * 4 * 4 wraps to 0 and (2^62 + 1) * 4 to 4: the classic ways around a size check.
    {"overflow_to_zero",
     with_tensor(R"("dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0])", 0),
     "too large"},
    {"overflow_to_four",
     with_tensor(R"("dtype":"F32","shape":[4611686018427387905],"data_offsets":[0,4])"),
     "too large"},
    {"many_dimensions",
     with_tensor(
         "\"dtype\":\"U8\",\"shape\":[" +
             [] {
               std::string ones = "1";
               for (int i = 0; i < 64; ++i) ones += ",1";
               return ones;
             }() +
             "],\"data_offsets\":[0,1]",
         1),
     "too many"},
    {"size_mismatch", with_tensor(R"("dtype":"F32","shape":[2],"data_offsets":[0,4])"),
     "8 bytes of its type"},
    {"wrong_dtype_size", with_tensor(R"("dtype":"F16","shape":[1],"data_offsets":[0,4])"),
     "2 bytes of its type"},
    {"end_before_begin", with_tensor(R"("dtype":"F32","shape":[1],"data_offsets":[4,0])"),
     "do not hold"},
    {"past_end", with_tensor(R"("dtype":"F32","shape":[2],"data_offsets":[0,8])"),
     "ends at byte 8 of 4"},
    {"far_past_end",
     with_tensor(
         R"("dtype":"U8","shape":[9223372036854775807],"data_offsets":[0,9223372036854775807])"),
     "of 4 bytes of data"},
    {"hole_at_start", with_tensor(R"("dtype":"F32","shape":[1],"data_offsets":[4,8])", 8),
     "nothing covers"},
    {"hole_at_end", with_tensor(good, 5), "covers the last 1 bytes"},
    {"data_without_tensors", with_header("{}", 1), "covers the last 1 bytes"},
    {"hole_between", two_tensors("[0,4]", "[5,9]", 9), "nothing covers the bytes 4 to 5"},
    {"overlap", two_tensors("[0,4]", "[3,7]", 7), "overlaps"},
    {"same_bytes", two_tensors("[0,4]", "[0,4]", 4), "overlaps"},
    {"empty_inside_another",
     with_header(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                 R"("b":{"dtype":"U8","shape":[0],"data_offsets":[2,2]}})",
                 4),
     "overlaps"},
    {"duplicate_names",
     with_header(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                 R"("a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
                 2),
     "'a' is there twice"},
    {"duplicate_through_escape",
     with_header(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                 R"("\u0061":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
                 2),
     "'a' is there twice"},
    {"metadata_twice", with_header(R"({"__metadata__":{},"__metadata__":{}})"),
     "__metadata__ twice"},
    {"metadata_key_twice", with_header(R"({"__metadata__":{"a":"b","a":"c"}})"), "'a' twice"},
    {"metadata_number", with_header(R"({"__metadata__":{"a":1}})"), "number in a wrong place"},
    {"metadata_nested", with_header(R"({"__metadata__":{"a":{}}})"), "object in a wrong place"},
    {"metadata_list", with_header(R"({"__metadata__":[]})"), "list in a wrong place"},
};

const Case bad_indexes[] = {
    {"not_json", "{", "not valid JSON"},
    {"a_list", "[]", "list in a wrong place"},
    {"a_number", "3", "something else"},
    {"no_map", R"({"metadata":{"total_size":1}})", "no weight_map"},
    {"inner_map_only", R"({"metadata":{"weight_map":{"t":"ok.safetensors"}}})", "no weight_map"},
    {"map_twice", R"({"weight_map":{},"weight_map":{}})", "weight_map twice"},
    {"tensor_twice", R"({"weight_map":{"t":"ok.safetensors","t":"ok.safetensors"}})", "'t' twice"},
    {"number", R"({"weight_map":{"t":1}})", "something else"},
    {"object", R"({"weight_map":{"t":{}}})", "object inside weight_map"},
    {"list", R"({"weight_map":{"t":[]}})", "list in a wrong place"},
    {"parent", R"({"weight_map":{"t":"../ok.safetensors"}})",
     "no .safetensors file of its own folder"},
    {"absolute", R"({"weight_map":{"t":"/etc/ok.safetensors"}})",
     "no .safetensors file of its own folder"},
    {"backslash", R"({"weight_map":{"t":"a\\ok.safetensors"}})",
     "no .safetensors file of its own folder"},
    {"zero", R"({"weight_map":{"t":"ok.safetensors\u0000.safetensors"}})",
     "no .safetensors file of its own"},
    {"dots", R"({"weight_map":{"t":".."}})", "no .safetensors file of its own folder"},
    {"other_file", R"({"weight_map":{"t":"passwd"}})", "no .safetensors file of its own folder"},
    {"no_shard", R"({"weight_map":{"t":"gone.safetensors"}})", "'gone.safetensors' is not there"},
    {"lacks", R"({"weight_map":{"t":"ok.safetensors","u":"ok.safetensors"}})",
     "'u' in ok.safetensors"},
    {"wrong_shard",
     R"({"weight_map":{"t":"other.safetensors","o":"other.safetensors","x":"ok.safetensors"}})",
     "in other.safetensors, which does not hold it"},
    {"in_two_shards", R"({"weight_map":{"t":"ok.safetensors","o":"same.safetensors"}})",
     "'t' is there twice"},
    {"deep", R"({"metadata":)" + std::string(1'000'000, '['), "nested too deep"},
};

class Hostile : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / (std::string("compress_hostile_") +
                                              std::to_string(::getpid()) + "_" + GetParam().name);
    make_folder(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path folder_;
};

class HostileFile : public Hostile {};
class HostileIndex : public Hostile {};

TEST_P(HostileFile, IsRefused) {
  write_file(folder_ / "f.safetensors", GetParam().content);
  expect_refused<SafetensorsReader>(folder_ / "f.safetensors", GetParam().message, folder_);
}

TEST_P(HostileIndex, IsRefused) {
  write_file(folder_ / "ok.safetensors", with_tensor(good));
  write_file(folder_ / "other.safetensors",
             with_header(R"({"o":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1));
  write_file(folder_ / "same.safetensors",
             with_header(R"({"o":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},)"
                         R"("t":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})"));
  write_file(folder_ / "model.safetensors.index.json", GetParam().content);
  expect_refused<SafetensorsReader>(folder_, GetParam().message, folder_);
}

auto case_name = [](const auto& info) { return std::string(info.param.name); };
INSTANTIATE_TEST_SUITE_P(Safetensors, HostileFile, testing::ValuesIn(bad_files), case_name);
INSTANTIATE_TEST_SUITE_P(Safetensors, HostileIndex, testing::ValuesIn(bad_indexes), case_name);

TEST(HostilePlace, NamesTheTensor) {
  fs::path file = fs::path(testing::TempDir()) / ("compress_place_" + std::to_string(::getpid()));
  write_file(file, with_tensor(R"("dtype":"F33")"));
  try {
    SafetensorsReader reader(file);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.where(), file.string() + " (tensor 't')");
  }
  fs::remove(file);
}

TEST(HostilePlace, AFolderWithoutAModelIsRefused) {
  fs::path folder = fs::path(testing::TempDir()) / ("compress_none_" + std::to_string(::getpid()));
  make_folder(folder);
  for (const fs::path& path : {folder, folder / "nothing.safetensors"}) {
    try {
      SafetensorsReader reader(path);
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::model);
      EXPECT_EQ(error.where(), path.string());
    }
  }
  fs::remove_all(folder);
}

TEST(HostileStandIn, AnyReaderNamesAPointerOfGitLfs) {
  const fs::path folder =
      fs::path(testing::TempDir()) / ("compress_pointer_" + std::to_string(::getpid()));
  fs::create_directories(folder);
  for (const char* name : {"model.safetensors", "pytorch_model.bin", "model.gguf"}) {
    const fs::path file = folder / name;
    write_file(file, "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 438\n");
    try {
      if (file.extension() == ".gguf")
        GgufReader{file};
      else
        open_tensors(file);
      FAIL() << name << " was read";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::model);
      EXPECT_THAT(error.what(), HasSubstr("Git LFS"));
      EXPECT_THAT(error.what(), HasSubstr(name));
    }
  }
  fs::remove_all(folder);
}

}  // namespace
}  // namespace compress::storage
