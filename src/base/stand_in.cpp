#include "compress/base/stand_in.h"

#include <algorithm>
#include <cctype>
#include <cstdint>

#include "compress/base/lines.h"

namespace compress {

namespace {

// In any case of letters, behind white space.
bool begins(std::string_view text, std::string_view lower) {
  const size_t at = text.find_first_not_of(" \t\r\n");
  if (at == text.npos || text.size() - at < lower.size()) return false;
  return std::equal(lower.begin(), lower.end(), text.begin() + static_cast<std::ptrdiff_t>(at),
                    [](char a, char b) {
                      return a == static_cast<char>(std::tolower(static_cast<unsigned char>(b)));
                    });
}

constexpr const char* lfs_pointer = "a pointer of Git LFS, not the file that it stands for";

bool is_lfs_pointer(std::string_view start) {
  return start.starts_with("version https://git-lfs.github.com/spec/");
}

}  // namespace

std::string stand_in(std::string_view start) {
  if (is_lfs_pointer(start)) return lfs_pointer;
  if (begins(start, "<!doctype html") || begins(start, "<html")) return "a web page";
  return {};
}

namespace {

using namespace std::literals;

struct Magic {
  std::string_view bytes;
  FileKind kind;
};

constexpr const char* as_table = "save the table as CSV, in UTF-8";
constexpr const char* as_json_lines =
    "a pickle can run programs and is not read: write what it holds as JSON lines, and weights as "
    "safetensors";
constexpr const char* arrow =
    "write its rows as JSON lines or Parquet: "
    "datasets.Dataset.from_file(FILE).to_json(\"rows.jsonl\")";

constexpr Magic magics[] = {
    {"\x1F\x8B\x08"sv, {"a gzip file", "decompress it first: gunzip FILE"}},
    {"\x28\xB5\x2F\xFD"sv, {"a zstd file", "decompress it first: unzstd FILE"}},
    {"\xFD"
     "7zXZ\0"sv,
     {"an xz file", "decompress it first: unxz FILE"}},
    {"\x5D\0\0\x80\0"sv, {"an lzma file", "decompress it first: unlzma FILE"}},
    {"\x04\x22\x4D\x18"sv, {"an lz4 file", "decompress it first: lz4 -d FILE"}},
    {"\x1F\x9D"sv, {"a compress (.Z) file", "decompress it first: uncompress FILE"}},
    {"\xFF\x06\0\0sNaPpY"sv, {"a snappy file", "decompress it first"}},
    {"7z\xBC\xAF\x27\x1C"sv, {"a 7z archive", "unpack it first: 7z x FILE"}},
    {"Rar!\x1A\x07"sv, {"a rar archive", "unpack it first: unrar x FILE"}},
    {"PAR1\x15"sv, {"a Parquet file", "name it *.parquet, or set `format: parquet`"}},
    {"ARROW1\0\0"sv, {"an Arrow file", arrow}},
    {"\xFF\xFF\xFF\xFF"sv, {"an Arrow stream", arrow}},
    {"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1"sv, {"an Office file (such as xls)", as_table}},
    {"\x89HDF\r\n\x1A\n"sv,
     {"an HDF5 file", "weights are read from safetensors and torch.save's files, rows from text"}},
    {"\x93NUMPY"sv, {"a NumPy array", "write its rows as JSON lines"}},
    {"SQLite format 3\0"sv, {"an SQLite database", "export its table as CSV"}},
    {"%PDF-"sv, {"a PDF file", "extract its text first: pdftotext FILE"}},
    {"\x89PNG\r\n"sv, {"an image", "name the file of the rows"}},
    {"\x7F"
     "ELF"sv,
     {"a program", "name the file of the rows"}},
};

// A zip archive by its first member's name.
FileKind zip_kind(std::string_view start) {
  constexpr size_t length_at = 26, name_at = 30;
  if (start.size() < name_at) return {"a zip archive", "unpack it first: unzip FILE"};
  const auto byte = [&](size_t at) { return static_cast<size_t>(static_cast<uint8_t>(start[at])); };
  const std::string_view name = start.substr(name_at, byte(length_at) + 256 * byte(length_at + 1));
  for (const std::string_view office :
       {"[Content_Types].xml"sv, "_rels/"sv, "docProps/"sv, "xl/"sv})
    if (name.starts_with(office)) return {"an Office file (such as xlsx)", as_table};
  if (name == "mimetype") return {"an OpenDocument file (such as ods)", as_table};
  if (name.ends_with("/data.pkl") || name.ends_with("/version"))
    return {"a file of torch.save",
            "weights of this kind are read under the name pytorch_model.bin, rows are not"};
  if (name.ends_with(".npy")) return {"an archive of NumPy arrays", "write its rows as JSON lines"};
  return {"a zip archive", "unpack it first: unzip FILE"};
}

}  // namespace

FileKind binary_kind(std::string_view bytes) {
  const std::string_view start = bytes.substr(0, 512);
  for (const Magic& magic : magics)
    if (start.starts_with(magic.bytes)) return magic.kind;
  // "BZh", a level, and the first block's mark, or that of the end.
  if (start.starts_with("BZh") && (start.substr(4).starts_with("1AY&SY") ||
                                   start.substr(4).starts_with("\x17\x72\x45\x38\x50\x90")))
    return {"a bzip2 file", "decompress it first: bunzip2 FILE"};
  if (start.starts_with("PK\x03\x04") || start.starts_with("PK\x05\x06")) return zip_kind(start);
  if (start.size() > 2 && start[0] == '\x80' && start[1] >= '\x02' && start[1] <= '\x05')
    return {"a pickle", as_json_lines};
  if (start.size() > 262 && start.substr(257).starts_with("ustar"))
    return {"a tar archive", "unpack it first: tar -xf FILE"};
  return {};
}

FileKind not_text(std::string_view bytes) {
  if (const std::string_view encoding = wide_encoding(bytes); !encoding.empty())
    return {encoding.data(), as_utf8};  // a literal
  return binary_kind(bytes);
}

FileKind foreign_kind(std::string_view bytes) {
  if (is_lfs_pointer(bytes)) return {lfs_pointer, fetch_again};
  return not_text(bytes);
}

}  // namespace compress
