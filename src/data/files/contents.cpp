#include "files/contents.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "compress/base/error.h"
#include "compress/base/lines.h"
#include "compress/base/stand_in.h"
#include "compress/base/strings.h"
#include "files/fingerprint.h"

namespace compress::data {

namespace fs = std::filesystem;

namespace {

constexpr const char* standard_input = "-";
constexpr const char* line_unit = "line";

}  // namespace

void refuse_parquet(const fs::path& file) {
  throw Error(ErrorKind::data, "this program reads no Parquet", file.string(), parquet_hint);
}

void refuse_foreign(std::string_view bytes, const fs::path& file) {
  if (const FileKind kind = foreign_kind(bytes))
    throw Error(ErrorKind::data, str("the data file is ", kind.what), file.string(), kind.remedy);
}

namespace {

std::string nearest_file(const fs::path& file) {
  std::error_code failed;
  fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  if (!fs::is_directory(folder, failed)) return str("there is no folder ", folder.string());
  std::vector<std::string> names;
  for (fs::directory_iterator entry(folder, failed), end; !failed && entry != end;
       entry.increment(failed)) {
    names.push_back(entry->path().filename().string());
    if (names.size() == 10000) break;
  }
  std::string near = nearest(file.filename().string(), names);
  return near.empty() ? str("nothing in ", folder.string(), " has a similar name")
                      : str("did you mean ", (file.parent_path() / near).string(), "?");
}

std::unique_ptr<MappedFile> map_file(const fs::path& file) {
  std::error_code failed;
  auto status = fs::status(file, failed);
  if (failed == std::errc::permission_denied)
    throw Error(ErrorKind::data, "the data file cannot be read: permission denied", file.string());
  if (!fs::exists(status))
    throw Error(ErrorKind::data, "the data file does not exist", file.string(), nearest_file(file));
  if (!fs::is_regular_file(status))
    throw Error(
        ErrorKind::data,
        fs::is_directory(status) ? "this is a folder, not a data file" : "not a regular file",
        file.string(), "name one file, not a folder or a pipe; \"-\" is standard input");
  if (fs::file_size(file, failed) == 0 && !failed)
    throw Error(ErrorKind::data, "the data file is empty", file.string());
  std::unique_ptr<MappedFile> map;
  try {
    map = std::make_unique<MappedFile>(file);
  } catch (const Error& error) {
    throw Error(ErrorKind::data, "the data file cannot be read: " + error.message(), file.string(),
                error.hint());
  }
  return map;
}

void read_standard_input(Scratch& out) {
  std::string buffer(size_t{1} << 20, '\0');
  for (;;) {
    const ssize_t count = ::read(STDIN_FILENO, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0)
      throw Error(ErrorKind::data, str("standard input cannot be read: ", std::strerror(errno)),
                  standard_input);
    if (count == 0) break;
    out.append(std::string_view(buffer).substr(0, static_cast<size_t>(count)));
  }
  if (out.size() == 0) throw Error(ErrorKind::data, "standard input is empty", standard_input);
}

// Whether `name` fits a pattern of "*" and "?".
bool fits(std::string_view pattern, std::string_view name) {
  size_t p = 0, n = 0, star = std::string_view::npos, from = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      from = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++from;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

std::vector<fs::path> matching(const fs::path& pattern) {
  std::error_code failed;
  const fs::path folder = pattern.has_parent_path() ? pattern.parent_path() : fs::path(".");
  const std::string wanted = pattern.filename().string();
  std::vector<fs::path> found;
  for (fs::directory_iterator entry(folder, failed), end; !failed && entry != end;
       entry.increment(failed)) {
    const std::string name = entry->path().filename().string();
    if (name.front() != '.' && entry->is_regular_file(failed) && fits(wanted, name))
      found.push_back(pattern.has_parent_path() ? folder / name : fs::path(name));
  }
  std::sort(found.begin(), found.end());
  if (found.empty())
    throw Error(
        ErrorKind::data, "no file fits the pattern", pattern.string(),
        fs::is_directory(folder, failed) ? "" : str("there is no folder ", folder.string()));
  return found;
}

// A file's part of contents that several make.
struct Piece {
  fs::path file;
  int64_t first = 1;  // its first line, in the contents
};

struct Known {
  std::shared_ptr<const Contents> contents;
  std::vector<Piece> pieces;
  std::vector<std::optional<Stamp>> stamps;
  const char* unit = line_unit;  // what its rows are counted by
};

// What this process has made of names that are not plain files.
class Register {
 public:
  std::mutex mutex;
  std::map<std::string, Known> known;
};
Register& opened() {
  static auto* all = new Register;
  return *all;
}

std::vector<std::optional<Stamp>> stamps_of(const std::vector<fs::path>& files) {
  std::vector<std::optional<Stamp>> stamps;
  for (const fs::path& file : files)
    stamps.push_back(file == standard_input ? std::nullopt : stamp_of(file));
  return stamps;
}

bool is_pasted(const fs::path& piece) {
  std::error_code failed;
  return piece.native().find(" | ") != std::string::npos && !fs::exists(piece, failed);
}

// Maps what was written.
std::shared_ptr<Contents> mapped(std::shared_ptr<Contents> contents, const fs::path& file) {
  if (contents->scratch->size() == 0)
    throw Error(ErrorKind::data, "the data file is empty", file.string());
  contents->map = map_file(contents->scratch->path());
  return contents;
}

// Rows of Parquet become lines.
std::shared_ptr<Contents> in_lines(std::shared_ptr<Contents> contents, const fs::path& file) {
  if (!is_parquet(contents->bytes(), without_compression(file))) return contents;
  auto lines = std::make_shared<Contents>();
  lines->scratch = std::make_unique<Scratch>();
  parquet_rows(contents->scratch ? contents->scratch->path() : file.string(), file,
               *lines->scratch);
  lines->of_parquet = true;
  return mapped(lines, file);
}

}  // namespace

std::shared_ptr<Contents> read_one(const fs::path& file) {
  auto contents = std::make_shared<Contents>();
  if (is_pasted(file)) {
    contents->scratch = std::make_unique<Scratch>();
    paste(file.string(), *contents->scratch);
    contents->map = map_file(contents->scratch->path());
    return contents;
  }
  if (file == standard_input) {
    contents->scratch = std::make_unique<Scratch>();
    read_standard_input(*contents->scratch);
    contents->map = map_file(contents->scratch->path());
  } else {
    contents->map = map_file(file);
  }
  const Packed packed = packed_as(contents->bytes());
  if (packed == Packed::no) {
    if (without_compression(file) != file)
      throw Error(ErrorKind::data, "this is no compressed file, as its name says", file.string(),
                  "rename it, or compress it");
    return in_lines(contents, file);
  }
  auto text = std::make_shared<Contents>();
  text->scratch = std::make_unique<Scratch>();
  decompress(packed, contents->bytes(), file, *text->scratch);
  return in_lines(mapped(text, file), file);
}

namespace {

std::shared_ptr<Contents> joined_files(const std::vector<fs::path>& files,
                                       std::vector<Piece>& pieces) {
  auto whole = std::make_shared<Contents>();
  whole->scratch = std::make_unique<Scratch>();
  char end = 0;
  int64_t lines = 0;
  for (const fs::path& file : files) {
    const std::shared_ptr<const Contents> one = read_one(file);
    refuse_foreign(one->bytes(), file);
    const std::string_view text = without_mark(one->bytes());
    if (end == 0) end = line_end(text);
    if (line_end(text) != end && text.find(end == '\n' ? '\r' : '\n') != std::string_view::npos)
      throw Error(ErrorKind::data, "its lines end otherwise than those of the files before it",
                  file.string(), "give all files one kind of line ends");
    if (!pieces.empty()) whole->starts.push_back(whole->scratch->size());
    pieces.push_back({file, lines + 1});
    Passing passing(one->bytes());
    for (size_t at = 0; at < text.size(); at += size_t{1} << 20) {
      const std::string_view part = text.substr(at, size_t{1} << 20);
      whole->scratch->append(part);
      lines += std::count(part.begin(), part.end(), end);
      passing.to(part.data() + part.size());
    }
    const std::string ends(text.empty() || text.back() == end ? 1 : 2, end);
    whole->scratch->append(ends);
    lines += static_cast<int64_t>(ends.size());
  }
  whole->map = map_file(whole->scratch->path());
  return whole;
}

bool is_plain(const fs::path& file) {
  std::error_code failed;
  return file != standard_input && fs::exists(file, failed);
}

bool is_pattern(const fs::path& file) {
  return file.filename().string().find_first_of("*?") != std::string::npos;
}

}  // namespace

void Passing::to(const char* at) {
  if (at == nullptr || at < bytes_.data() + passed_ + piece) return;
  const size_t end = static_cast<size_t>(at - bytes_.data()) / piece * piece;
  // Advice: where the system does not take it, only more memory counts as used.
  ::madvise(const_cast<char*>(bytes_.data()) + passed_, end - passed_, MADV_DONTNEED);
  passed_ = end;
}

Scratch::Scratch() {
  const char* folder = std::getenv("TMPDIR");
  std::string name =
      str(folder != nullptr && *folder != '\0' ? folder : "/tmp", "/compress-data-XXXXXX");
  descriptor_ = ::mkostemp(name.data(), O_CLOEXEC);
  if (descriptor_ < 0)
    throw Error(ErrorKind::disk, str("no temporary file can be made: ", std::strerror(errno)), name,
                "$TMPDIR names the folder");
  ::unlink(name.c_str());
}

Scratch::~Scratch() {
  ::close(descriptor_);
}

void Scratch::append(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0)
      throw Error(ErrorKind::disk,
                  str("a temporary file cannot be written: ", std::strerror(errno)), {},
                  "$TMPDIR names the folder in which decompressed data are put");
    bytes.remove_prefix(static_cast<size_t>(count));
    size_ += static_cast<uint64_t>(count);
  }
}

std::string Scratch::path() const {
  return str("/proc/self/fd/", descriptor_);
}

fs::path without_compression(const fs::path& file) {
  const std::string end = lower_ascii(file.extension().string());
  return end == ".gz" || end == ".zst" ? fs::path(file).replace_extension() : file;
}

namespace {

// The pieces of a name, of a pattern the files that fit.
std::vector<fs::path> pieces_behind(const fs::path& file) {
  if (file == standard_input || is_plain(file)) return {file};
  std::vector<fs::path> pieces;
  for (const std::string& name : pieces_of(file.string())) {
    const fs::path one(name);
    if (!is_plain(one) && !is_pasted(one) && is_pattern(one))
      for (fs::path& each : matching(one)) pieces.push_back(std::move(each));
    else
      pieces.push_back(one);
  }
  return pieces;
}

}  // namespace

std::vector<fs::path> files_behind(const fs::path& file) {
  std::vector<fs::path> files;
  for (const fs::path& piece : pieces_behind(file)) {
    if (!is_pasted(piece)) {
      files.push_back(piece);
      continue;
    }
    for (const std::string& name : beside(piece.string()))
      if (!name.starts_with('=')) files.emplace_back(name);
  }
  return files;
}

std::shared_ptr<const Contents> open_contents(const fs::path& file) {
  const std::vector<fs::path> pieces = pieces_behind(file);
  if (pieces.size() == 1 && pieces[0] != standard_input && !is_pasted(pieces[0])) {
    auto plain = std::make_shared<Contents>();
    plain->map = map_file(pieces[0]);
    if (packed_as(plain->bytes()) == Packed::no && without_compression(file) == file &&
        !is_parquet(plain->bytes(), file))
      return plain;
  }
  Register& all = opened();
  std::lock_guard lock(all.mutex);
  Known& known = all.known[file.string()];
  std::vector<std::optional<Stamp>> stamps = stamps_of(files_behind(file));
  if (known.contents && known.stamps == stamps) return known.contents;
  known.pieces.clear();
  known.contents = pieces.size() == 1 ? std::shared_ptr<const Contents>(read_one(pieces[0]))
                                      : joined_files(pieces, known.pieces);
  known.stamps = std::move(stamps);
  known.unit = known.contents->of_parquet ? "row" : line_unit;
  return known.contents;
}

void count_rows_by(const fs::path& file, const char* unit) {
  Register& all = opened();
  std::lock_guard lock(all.mutex);
  all.known[file.string()].unit = unit;
}

const char* rows_counted_by(const fs::path& file) {
  Register& all = opened();
  std::lock_guard lock(all.mutex);
  const auto found = all.known.find(file.string());
  return found == all.known.end() ? line_unit : found->second.unit;
}

namespace {

std::string place_of(const fs::path& file, std::string_view unit, int64_t number) {
  const std::string name = file == standard_input ? "standard input" : file.string();
  return unit == line_unit ? str(name, ":", number) : str(name, ", ", unit, " ", number);
}

}  // namespace

std::string place_in(const fs::path& file, int64_t line) {
  Register& all = opened();
  std::lock_guard lock(all.mutex);
  const auto found = all.known.find(file.string());
  if (found == all.known.end()) return place_of(file, line_unit, line);
  const Known& known = found->second;
  if (known.pieces.empty()) return place_of(file, known.unit, line);
  auto at = std::upper_bound(known.pieces.begin(), known.pieces.end(), line,
                             [](int64_t l, const Piece& piece) { return l < piece.first; });
  if (at != known.pieces.begin()) --at;
  return place_of(at->file, known.unit, line - at->first + 1);
}

}  // namespace compress::data
