#include <sys/mman.h>

#include <algorithm>
#include <system_error>

#include "compress/base/error.h"
#include "compress/base/lines.h"
#include "compress/base/strings.h"
#include "files/reader.h"

namespace compress::data {

namespace fs = std::filesystem;

namespace {

constexpr size_t piece = size_t{16} << 20;  // bytes; a multiple of the page size

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
  if (!fs::exists(status))
    throw Error(ErrorKind::data, "the data file does not exist", file.string(), nearest_file(file));
  if (!fs::is_regular_file(status))
    throw Error(
        ErrorKind::data,
        fs::is_directory(status) ? "this is a folder, not a data file" : "not a regular file",
        file.string(), "name one file, not a folder or a pipe");
  if (fs::file_size(file, failed) == 0 && !failed)
    throw Error(ErrorKind::data, "the data file is empty", file.string());
  try {
    return std::make_unique<MappedFile>(file);
  } catch (const Error& error) {
    throw Error(ErrorKind::data, "the data file cannot be read: " + error.message(), file.string(),
                error.hint());
  }
}

}  // namespace

std::optional<Format> format_by_extension(const fs::path& file) {
  std::string extension = lower_ascii(file.extension().string());
  if (extension == ".tsv" || extension == ".tab") return Format::tsv;
  if (extension == ".csv") return Format::csv;
  if (extension == ".jsonl" || extension == ".ndjson") return Format::jsonl;
  if (extension == ".conll") return Format::conll;
  return std::nullopt;
}

Format format_of(const DatasetOptions& options, const fs::path& file) {
  if (options.format == "tsv") return Format::tsv;
  if (options.format == "csv") return Format::csv;
  if (options.format == "jsonl") return Format::jsonl;
  if (options.format == "conll") return Format::conll;
  if (options.format == "squad") return Format::squad;
  if (!options.format.empty())
    throw Error(ErrorKind::recipe, str("unknown data format ", cited(options.format)),
                file.string(), "the formats are tsv, csv, jsonl, conll and squad");
  if (auto format = format_by_extension(file)) return *format;
  throw Error(ErrorKind::recipe, "the file's extension does not tell its format", file.string(),
              "add `format: tsv`, `csv`, `jsonl`, `conll` or `squad` to the data set");
}

fs::path split_file(const DatasetOptions& options, const std::string& name) {
  const Origin* origin = name == "train"        ? &options.train
                         : name == "validation" ? &options.validation
                         : name == "test"       ? &options.test
                                                : nullptr;
  if (origin == nullptr) throw Error(ErrorKind::internal, str("no split is called ", cited(name)));
  if (origin->empty())
    throw Error(ErrorKind::recipe, str("the data set has no ", name, " file"), {},
                str("add `", name, ": <path>` to it"));
  if (origin->file.empty())
    throw Error(ErrorKind::recipe,
                str("the ", name, " part is what stage '", origin->stage, "' of a recipe leaves"),
                origin->mark.text(), "run the recipe, and name the file that the stage left");
  return origin->file;
}

std::string cited(std::string_view text) {
  constexpr size_t most = 60;
  size_t end = std::min(text.size(), most);
  while (end < text.size() && end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80)
    --end;
  std::string shown(text.substr(0, end));
  for (char& c : shown)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  return "\"" + shown + (end < text.size() ? "...\"" : "\"");
}

Source::Source(const fs::path& file, Examine examined) : file_(file), map_(map_file(file)) {
  if (examined == Examine::now) examine(nullptr);
}

std::string Source::examine_and_hash() {
  Sha256 hash;
  examine(&hash);
  return hash.hex();
}

void Source::examine(Sha256* hash) {
  std::string_view all = bytes();
  if (is_utf16(all))
    throw Error(ErrorKind::data, "the data file is UTF-16", file_.string(), "convert it to UTF-8");
  for (size_t begin = 0; begin < all.size(); begin += piece) {
    std::string_view part = all.substr(begin, piece);
    if (size_t at = part.find('\0'); at != std::string_view::npos) {
      auto last = all.begin() + static_cast<std::ptrdiff_t>(begin + at);
      throw Error(ErrorKind::data, "a NUL byte in the text",
                  place(1 + std::count(all.begin(), last, line_end(all))),
                  "the file is binary, damaged or UTF-16; data files are UTF-8 text");
    }
    if (hash != nullptr) hash->update(part);
    passed(part.data() + part.size());
  }
  passed_ = 0;  // it will be read once more
}

void Source::passed(const char* at) {
  if (at == nullptr || at < map_->data() + passed_ + piece) return;
  size_t end = static_cast<size_t>(at - map_->data()) / piece * piece;
  // Advice: where the system does not take it, only more memory counts as used.
  ::madvise(const_cast<char*>(map_->data()) + passed_, end - passed_, MADV_DONTNEED);
  passed_ = end;
}

std::string_view Source::text() const {
  return without_mark(bytes());
}

std::string Source::place(int64_t line) const {
  return str(file_.string(), ":", line);
}

std::unique_ptr<Reader> open_reader(Source& source, const DatasetOptions& options,
                                    std::vector<Column> columns) {
  Format format = format_of(options, source.file());
  if (format == Format::jsonl) return open_jsonl(source, std::move(columns));
  if (format == Format::conll) return open_conll(source, std::move(columns));
  if (format == Format::squad) return open_squad(source);
  bool csv = format == Format::csv;
  return open_delimited(source, csv ? ',' : '\t', options.quoting.value_or(csv), options.header,
                        std::move(columns));
}

void BadRows::add(int64_t line, std::string what, std::string hint) {
  if (count_ == 0) first_line_ = line;
  if (listing()) list_ += str("\n    line ", line, ": ", what);
  if (hint_.empty()) hint_ = std::move(hint);
  ++count_;
}

void BadRows::raise(const Source& source, int64_t rows) const {
  if (count_ == 0) return;
  std::string list = list_;
  if (count_ > 5) list += str("\n    and ", with_commas(count_ - 5), " more");
  throw Error(ErrorKind::data,
              str(with_commas(count_), " of ", with_commas(rows), " rows cannot be used:", list),
              source.place(first_line_), hint_);
}

}  // namespace compress::data
