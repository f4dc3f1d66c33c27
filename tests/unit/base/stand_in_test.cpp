#include "compress/base/stand_in.h"

#include <gtest/gtest.h>

namespace compress {
namespace {

TEST(StandIn, KnowsPointersAndPages) {
  EXPECT_NE(stand_in("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1\n"), "");
  EXPECT_EQ(stand_in("\n <!DOCTYPE HTML>\n<html>"), "a web page");
  EXPECT_EQ(stand_in("<html lang=\"en\">"), "a web page");
  for (const char* text : {"", " ", "version https", "{\"a\": 1}", "<s>\n</s>\n", "<htm", "html"})
    EXPECT_EQ(stand_in(text), "") << text;
}

TEST(FileKinds, AreKnownByTheirFirstBytes) {
  using namespace std::literals;
  const std::string tar = std::string(257, 'a') + "ustar\0"s;
  const auto zip = [](std::string_view name) {
    std::string start("PK\3\4", 4);
    start.resize(26);
    start += static_cast<char>(name.size());
    return start + std::string(3, '\0') + std::string(name);
  };
  const std::pair<std::string, std::string> kinds[] = {
      {"\x1F\x8B\x08\0"s, "a gzip file: gunzip"},
      {"BZh91AY&SY\x94"s, "a bzip2 file: bunzip2"},
      {"BZh9\x17\x72\x45\x38\x50\x90"s, "a bzip2 file: bunzip2"},
      {"\xFD"
       "7zXZ\0\0"s,
       "an xz file: unxz"},
      {"\x04\x22\x4D\x18\x64"s, "an lz4 file: lz4 -d"},
      {"\x28\xB5\x2F\xFD\x04"s, "a zstd file: unzstd"},
      {"7z\xBC\xAF\x27\x1C\0\4"s, "a 7z archive: 7z x"},
      {zip("train.tsv"), "a zip archive: unzip"},
      {zip("[Content_Types].xml"), "an Office file (such as xlsx): CSV"},
      {zip("mimetype"), "an OpenDocument file (such as ods): CSV"},
      {zip("archive/data.pkl"), "a file of torch.save: pytorch_model.bin"},
      {zip("arr_0.npy"), "an archive of NumPy arrays: JSON lines"},
      {"PK\5\6"s, "a zip archive: unzip"},
      {"PAR1\x15\4"s, "a Parquet file: format: parquet"},
      {"ARROW1\0\0"s, "an Arrow file: to_json"},
      {"\xFF\xFF\xFF\xFF\x10"s, "an Arrow stream: to_json"},
      {"\x80\4\x95\x10"s, "a pickle: JSON lines"},
      {tar, "a tar archive: tar -xf"},
      {"\x89HDF\r\n\x1A\n"s, "an HDF5 file: safetensors"},
      {"SQLite format 3\0"s, "an SQLite database: CSV"},
      {"%PDF-1.7\n"s, "a PDF file: pdftotext"},
      {"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1"s, "an Office file (such as xls): CSV"},
  };
  for (const auto& [bytes, expected] : kinds) {
    const FileKind kind = foreign_kind(bytes);
    const size_t colon = expected.find(": ");
    ASSERT_TRUE(kind) << expected;
    EXPECT_EQ(kind.what, expected.substr(0, colon));
    EXPECT_NE(std::string(kind.remedy).find(expected.substr(colon + 2)), std::string::npos)
        << kind.remedy;
  }
  EXPECT_TRUE(foreign_kind("version https://git-lfs.github.com/spec/v1\n"));
  EXPECT_FALSE(binary_kind("version https://git-lfs.github.com/spec/v1\n"));
  for (const char* text : {"", "BZh is a word\t1\n", "PK\t1\n", "PAR1 gene\t0\n", "7z\n", "Rar!\n",
                           "{\"a\": 1}", "<html>", "\xEF\xBB\xBFtext\n", "ARROW1\n"})
    EXPECT_FALSE(foreign_kind(text)) << text;
}

}  // namespace
}  // namespace compress
