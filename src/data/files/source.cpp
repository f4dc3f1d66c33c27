#include <algorithm>
#include <cstring>
#include <fstream>
#include <system_error>

#include "compress/base/error.h"
#include "compress/base/lines.h"
#include "compress/base/log.h"
#include "compress/base/stand_in.h"
#include "compress/base/strings.h"
#include "files/reader.h"
#include "files/subset.h"
#include "files/templates.h"
#include "layouts/layout.h"

namespace compress::data {

namespace fs = std::filesystem;

std::optional<Format> format_by_extension(const fs::path& file) {
  // Of several files that of the first one counts.
  const std::string name = file.native().substr(0, file.native().find(" + "));
  std::error_code failed;
  if (name.find(" | ") != std::string::npos && !fs::exists(file, failed)) return Format::tsv;
  std::string extension = lower_ascii(without_compression(trim(name)).extension().string());
  if (extension == ".tsv" || extension == ".tab") return Format::tsv;
  if (extension == ".csv") return Format::csv;
  if (extension == ".jsonl" || extension == ".ndjson") return Format::jsonl;
  if (extension == ".conll") return Format::conll;
  if (extension == ".parquet") return Format::parquet;
  return std::nullopt;
}

void refuse_other_files(const fs::path& file) {
  std::error_code failed;
  if (fs::is_directory(file, failed))
    throw Error(ErrorKind::data, "this is a folder, not a data file", file.string(),
                "name the files in it: \"*\" stands for any characters of their names");
  if (!fs::is_regular_file(file, failed)) return;
  std::string start(512, '\0');
  std::ifstream in(file, std::ios::binary);
  in.read(start.data(), static_cast<std::streamsize>(start.size()));
  start.resize(static_cast<size_t>(in.gcount()));
  if (packed_as(start) == Packed::no) refuse_foreign(start, file);
}

Format format_of(const DatasetOptions& options, const fs::path& file) {
  if (options.format == "tsv") return Format::tsv;
  if (options.format == "csv") return Format::csv;
  if (options.format == "jsonl") return Format::jsonl;
  if (options.format == "conll") return Format::conll;
  if (options.format == "squad") return Format::squad;
  if (options.format == "text") return Format::text;
  if (options.format == "parquet") return Format::parquet;
  if (!options.format.empty())
    throw Error(ErrorKind::recipe, str("unknown data format ", cited(options.format)),
                file.string(), "the formats are tsv, csv, jsonl, conll, squad and text");
  if (auto format = format_by_extension(file)) return *format;
  refuse_other_files(file);
  throw Error(ErrorKind::recipe, "the file's extension does not tell its format", file.string(),
              "add `format: tsv`, `csv`, `jsonl`, `conll`, `squad` or `text` to the data set");
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
  // What cannot be seen is spelled.
  constexpr std::pair<const char*, const char*> unseen[] = {
      {"\u00a0", "\\u00A0"}, {"\u200b", "\\u200B"}, {"\u200c", "\\u200C"}, {"\u200d", "\\u200D"},
      {"\u200e", "\\u200E"}, {"\u200f", "\\u200F"}, {"\u2028", "\\u2028"}, {"\u2029", "\\u2029"},
      {"\u3000", "\\u3000"}, {"\ufeff", "\\uFEFF"}};
  for (const auto& [bytes, spelled] : unseen)
    for (size_t at = 0; (at = shown.find(bytes, at)) != std::string::npos;)
      shown.replace(at, std::strlen(bytes), spelled);
  return "\"" + shown + (end < text.size() ? "...\"" : "\"");
}

bool can_be_read(const std::string& file) {
  if (file == "-") return true;
  try {
    std::error_code failed;
    for (const fs::path& each : files_behind(file))
      if (each != "-" && !fs::is_regular_file(each, failed)) return false;
    return true;
  } catch (const Error&) {
    return false;
  }
}

Source::Source(const fs::path& file, Examine examined)
    : file_(file), contents_(open_contents(file)), passing_(contents_->bytes()) {
  if (examined == Examine::now) examine(nullptr);
}

std::string Source::examine_and_hash() {
  Sha256 hash;
  examine(&hash);
  return hash.hex();
}

void Source::examine(Sha256* hash) {
  constexpr size_t piece = Passing::piece;
  std::string_view all = bytes();
  refuse_foreign(all, file_);
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
  passing_.again();  // it will be read once more
}

std::string_view Source::text() const {
  return without_mark(bytes());
}

std::string Source::place(int64_t line) const {
  return place_in(file_, line);
}

namespace {

// Error{data} for a web page where lines are due. A row that is a whole page, or has further cells,
// is a row.
void refuse_page(const Source& source, char separator) {
  if (stand_in(source.text().substr(0, 256)).empty()) return;
  std::string_view left = source.text();
  const std::string_view first = take_line(left, line_end(left));
  const bool whole = trim(first).ends_with("</html>") && !trim(left).empty();
  if (whole || (separator != '\0' && first.find(separator) != std::string_view::npos)) return;
  throw Error(ErrorKind::data, "the data file is a web page", source.file().string(), fetch_again);
}

void refuse_rows_of_parquet(const Source& source) {
  if (!source.of_parquet()) return;
  throw Error(ErrorKind::data, "the data file is a Parquet file", source.file().string(),
              "name it *.parquet, or set `format: parquet`");
}

std::unique_ptr<Reader> open_plain(Source& source, const DatasetOptions& options,
                                   std::vector<Column> columns) {
  Format format = format_of(options, source.file());
  const bool csv = format == Format::csv;
  if (format != Format::text) refuse_page(source, csv ? ',' : format == Format::tsv ? '\t' : '\0');
  if (format == Format::jsonl || format == Format::parquet) {
    const PublishedLayout* layout = find_layout(options.layout);
    if (layout == nullptr || !layout->makes_rows()) return open_jsonl(source, std::move(columns));
    return open_made_rows(source, layout->rows != nullptr ? layout->rows : layout->rows_of(options),
                          std::move(columns));
  }
  refuse_rows_of_parquet(source);
  if (format == Format::conll) return open_conll(source, std::move(columns));
  if (format == Format::squad) return open_squad(source);
  if (format == Format::text) return open_plain(source, columns);
  return open_delimited(source, csv ? ',' : '\t', options.quoting.value_or(csv), options.header,
                        std::move(columns), options.ragged);
}

}  // namespace

std::unique_ptr<Reader> open_reader(Source& source, const DatasetOptions& options,
                                    std::vector<Column> columns) {
  auto open = [&](std::vector<Column> plain) {
    return open_plain(source, options, std::move(plain));
  };
  auto compose = [&](std::vector<Column> wanted) {
    return any_template(wanted) && format_of(options, source.file()) != Format::squad
               ? open_templates(source, wanted, open)
               : open(std::move(wanted));
  };
  std::unique_ptr<Reader> reader = options.held_out
                                       ? open_held_out(source, options, std::move(columns), compose)
                                       : compose(std::move(columns));
  const bool trained = !options.held_out || options.held_out->part == "train";
  if (!options.subset || !trained || source.file() != options.train.file) return reader;
  return open_subset(source, options, std::move(reader));
}

void BadRows::add(int64_t line, std::string what, std::string hint) {
  if (count_ == 0) first_line_ = line;
  if (listing()) shown_.push_back({line, std::move(what)});
  if (hint_.empty()) hint_ = std::move(hint);
  ++count_;
}

std::string BadRows::told(const Source& source, int64_t rows, const char* verdict) const {
  std::string list;
  for (const Shown& row : shown_)
    list += str("\n    ", rows_counted_by(source.file()), " ", row.line, ": ", row.what);
  if (count_ > 5) list += str("\n    and ", with_commas(count_ - 5), " more");
  return str(with_commas(count_), " of ", with_commas(rows), " rows ", verdict, list);
}

void BadRows::raise(const Source& source, int64_t rows) const {
  if (count_ == 0) return;
  throw Error(ErrorKind::data, told(source, rows, "cannot be used:"), source.place(first_line_),
              hint_);
}

void BadRows::warn(const Source& source, int64_t rows) const {
  if (count_ > 0)
    log::warn(
        str(source.place(first_line_), ": ", told(source, rows, "are skipped (bad_rows: skip):")));
}

}  // namespace compress::data
