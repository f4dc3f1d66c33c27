#pragma once
// The bytes behind a data file's name: of a plain file as it lies, of compressed files, of several
// files and of standard input as a temporary file without a name.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "compress/base/files.h"

namespace compress::data {

// A temporary file that is gone with its descriptor. It lies in $TMPDIR, else in /tmp: whoever
// reads large compressed files needs room there.
class Scratch {
 public:
  Scratch();  // Error{disk}
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  void append(std::string_view bytes);  // Error{disk}
  uint64_t size() const { return size_; }
  std::string path() const;  // by which this process can map it

 private:
  int descriptor_ = -1;
  uint64_t size_ = 0;
};

// Reading a mapped file once, from its front to its end: the memory of each piece that was passed
// is given back to the system. Views of it stay valid.
class Passing {
 public:
  static constexpr size_t piece = size_t{16} << 20;  // bytes; a multiple of the page size

  explicit Passing(std::string_view bytes) : bytes_(bytes) {}
  void to(const char* at);
  void again() { passed_ = 0; }  // from the front

 private:
  std::string_view bytes_;
  size_t passed_ = 0;
};

struct Contents {
  std::unique_ptr<Scratch> scratch;  // null: a plain file
  std::unique_ptr<MappedFile> map;
  std::vector<size_t> starts;  // where the second file begins, and those behind it
  bool of_parquet = false;     // JSON lines made of a Parquet file's rows
  std::string_view bytes() const { return {map->data(), map->size()}; }
};

// The contents of what a part names (Origin::file). A name that exists is that file. Otherwise
// " + " separates several, and "*" and "?" in the last part of a path stand for any characters: the
// files that fit, in the order of their names. Files are put one behind the other without byte
// order marks, with a blank line between two. What ends in .gz or .zst, or begins as such a file,
// is decompressed; of Parquet the rows are JSON lines. Contents that are no plain file are kept as
// long as the process lives and the files stay as they are: standard input can be read once.
//
// Error{data}: missing (with the nearest name in its folder), a folder, a pipe, unreadable, empty;
// a compressed file that is damaged or cut off, with its name.
std::shared_ptr<const Contents> open_contents(const std::filesystem::path& file);

// What " + " separates in a name; and what " | " separates in one of these: files whose lines stand
// beside each other, as cells of tab-separated rows, or "=text", a text that each row has.
std::vector<std::string> pieces_of(const std::string& name);
std::vector<std::string> beside(const std::string& piece);

// Error{data} at `file` where the bytes are no text: UTF-16 or UTF-32, an archive, a table, a
// pickle, a pointer of Git LFS, with what makes text of it.
void refuse_foreign(std::string_view bytes, const std::filesystem::path& file);

// Whether this program has the library that reads Parquet, and whether a file is such one.
bool reads_parquet();
bool is_parquet(std::string_view bytes, const std::filesystem::path& file);
// Appends the rows of the Parquet file at `path` as JSON lines. Error{data} at `file`: damaged, or
// without the library.
void parquet_rows(const std::string& path, const std::filesystem::path& file, Scratch& out);
// Error{data}: Parquet is not read, and what to do instead.
[[noreturn]] void refuse_parquet(const std::filesystem::path& file);
inline constexpr const char* parquet_hint =
    "`tools/parquet2jsonl FILE > rows.jsonl` writes its rows as JSON lines";

// The text of one file, decompressed where it is packed, or of a piece of several beside each
// other.
std::shared_ptr<Contents> read_one(const std::filesystem::path& file);

// Appends the rows that the files of such a piece make. Error{data} where they have different
// numbers of lines.
void paste(const std::string& piece, Scratch& out);

// What the rows of a file are counted by: "line", of Parquet's files "row", or what a reader says
// ("question"), which lies on no line.
void count_rows_by(const std::filesystem::path& file, const char* unit);
const char* rows_counted_by(const std::filesystem::path& file);

// "part-2.tsv:17" for a line of contents that were opened before, "dev.json, question 17" where
// rows are counted by something else; "file:line" for others.
std::string place_in(const std::filesystem::path& file, int64_t line);

// The name without what says that it is compressed: train.tsv.gz -> train.tsv.
std::filesystem::path without_compression(const std::filesystem::path& file);

// Whether the bytes begin as a gzip or zstd file.
enum class Packed { no, gzip, zstd };
Packed packed_as(std::string_view bytes);
// Appends what `bytes` decompress to, of files with several members as well. Error{data} at `file`:
// damaged, cut off, or this program was built without the library.
void decompress(Packed how, std::string_view bytes, const std::filesystem::path& file,
                Scratch& out);

}  // namespace compress::data
