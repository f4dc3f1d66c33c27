#pragma once
// Readers of data files: a mapped file as a sequence of records, each with the wanted columns as
// views.

#include <cstdint>
#include <deque>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "compress/base/files.h"
#include "compress/base/hash.h"
#include "compress/base/lines.h"
#include "compress/base/strings.h"
#include "compress/base/utf8.h"
#include "compress/data/dataset.h"
#include "files/contents.h"

namespace compress::data {

enum class Format { tsv, csv, jsonl, conll, squad, text, parquet };

// By the extension: .tsv .tab, .csv, .jsonl .ndjson, .conll, .parquet; nothing for any other.
std::optional<Format> format_by_extension(const std::filesystem::path& file);
// As the options say, else by the extension. Error{recipe} when neither tells.
Format format_of(const DatasetOptions& options, const std::filesystem::path& file);
// Error{data} for a folder, and for a file whose first bytes say that it is no text.
void refuse_other_files(const std::filesystem::path& file);
// The path of a split. Error{recipe} when the options name none, Error{internal} for another split
// name.
std::filesystem::path split_file(const DatasetOptions& options, const std::string& name);

// Text from outside in a message: quoted, cut to 60 bytes, control characters replaced.
std::string cited(std::string_view text);

// Records longer than this are refused: no sentence is, but a binary file or an unclosed quote is.
inline constexpr size_t longest_record = size_t{16} << 20;

// Whether a source is searched for bytes that no text has, or is known to have none.
enum class Examine { now, done_before };

// A data file (Origin::file: several, or compressed ones, too), mapped, and the cells that had to
// be unescaped. Views of both live as long as the source, those of kept cells until forget().
// Error{data}: missing (with the nearest name in its folder), a folder, unreadable, empty, UTF-16,
// a NUL byte (line).
class Source {
 public:
  explicit Source(const std::filesystem::path& file, Examine examine = Examine::now);
  const std::filesystem::path& file() const { return file_; }
  std::string_view bytes() const { return contents_->bytes(); }  // the whole file
  bool of_parquet() const { return contents_->of_parquet; }      // JSON lines made of its rows
  // Of several files, where the second and those behind it begin.
  const std::vector<size_t>& starts() const { return contents_->starts; }
  std::string_view text() const;  // without byte order mark
  std::string_view keep(std::string text) { return kept_.emplace_back(std::move(text)); }
  void forget() { kept_.clear(); }
  std::string place(int64_t line) const;  // "data/train.tsv:17", "data/dev.json, question 17"
  // Searches the file for what no text has and hashes it, in one pass.
  std::string examine_and_hash();
  // Says that the bytes before `at` will hardly be read again: the memory of each further 16 MB of
  // them is given back to the system. Views of them stay valid.
  void passed(const char* at) { passing_.to(at); }

 private:
  void examine(Sha256* hash);

  std::filesystem::path file_;
  std::shared_ptr<const Contents> contents_;
  std::deque<std::string> kept_;
  Passing passing_;
};

// What a cell holds. A list's items are joined by list_separator.
enum class CellKind {
  one,    // in JSON no list
  words,  // a list; in a delimited file words with spaces between them
  texts   // a list or one item
};

// A column that is wanted: a name, or a number from 0 in a delimited file. Names are distinct.
struct Column {
  std::string name;
  bool is_text = true;  // in JSON: strings only, no numbers or booleans
  CellKind kind = CellKind::one;
};

struct Record {
  int64_t line = 0;  // 1-based line on which the record begins
  std::vector<std::string_view>
      cells;                  // the wanted columns, in the order in which they were asked for
  std::string problem, hint;  // why the record cannot be used; `cells` are empty then
};

class Reader {
 public:
  explicit Reader(Source& source) : source_(source), left_(source.text()), end_(line_end(left_)) {}
  virtual ~Reader() = default;
  // The next record, blank lines skipped; false at the end. Error{data} for a record that is too
  // long.
  virtual bool next(Record& record) = 0;
  // Goes on where `left` bytes of the text were left, at a record's beginning; lines of records are
  // then not counted. False where that cannot be.
  virtual bool seek(size_t left) {
    const std::string_view all = source_.text();
    left_ = all.substr(all.size() - left);
    return true;
  }
  int64_t blank_lines() const { return blank_lines_; }
  size_t bytes_left() const { return left_.size(); }

 protected:
  // Empties the record for the next one.
  void start(Record& record) {
    record.cells.clear();
    record.problem.clear();
    record.hint.clear();
    source_.passed(left_.data());
  }

  // Takes the next line; false at the end of the file.
  bool next_line(std::string_view& line) {
    if (left_.empty()) return false;
    line = take_line(left_, end_);
    ++line_;
    return true;
  }
  static bool is_blank(std::string_view line) {
    return line.find_first_not_of(" \t\r") == std::string_view::npos;
  }
  // Takes the next line that is not blank, and counts those that are.
  bool next_written_line(std::string_view& line) {
    while (next_line(line)) {
      if (!is_blank(line)) return true;
      ++blank_lines_;
    }
    return false;
  }
  // False where a line is no UTF-8: the record then says so.
  static bool judge_encoding(std::string_view line, Record& record) {
    const size_t bad = invalid_utf8(line);
    if (bad == std::string_view::npos) return true;
    record.problem = str("not valid UTF-8 at byte ", bad + 1);
    record.hint = "convert the file to UTF-8";
    return false;
  }

  Source& source_;
  std::string_view left_;  // what has not been read
  char end_;               // of a line
  int64_t line_ = 0;       // lines that have been read
  int64_t blank_lines_ = 0;
};

// Reads the header and finds the columns. Error{data}: no header, a column that is not there
// (nearest name) or twice. Without columns, records are only counted and their content is not
// judged.
std::unique_ptr<Reader> open_reader(Source& source, const DatasetOptions& options,
                                    std::vector<Column> columns);
// `ragged`: rows may have more cells than the first one, and fewer where those are not wanted. A
// column "2.." is a list of the cells from 2 on that are not empty, whose kind is `texts`.
std::unique_ptr<Reader> open_delimited(Source& source, char separator, bool quoting, bool header,
                                       std::vector<Column> columns, bool ragged = false);
std::unique_ptr<Reader> open_jsonl(Source& source, std::vector<Column> columns);
// Lines of words with columns, named by numbers (also -1, the last one); a blank line ends a
// sentence, which is one record of words. Where the file's first word has a tab, tabs separate the
// columns, else runs of spaces and tabs do. Lines of -DOCSTART- and comments are skipped. A comment
// begins with "#" and has another number of columns than the sentence's words, or stands before
// them and has no label that a word of the file has. A record that cannot be used has the line of
// the word that is wrong.
std::unique_ptr<Reader> open_conll(Source& source, std::vector<Column> columns);
// A line is a row, or lines up to a blank one are, where a column is a list of texts: column 0, the
// only one.
std::unique_ptr<Reader> open_plain(Source& source, const std::vector<Column>& columns);
// SQuAD's nested JSON, whatever the columns: question, passage, texts of the answers, their places,
// id.
// A record's line is the question's number.
std::unique_ptr<Reader> open_squad(Source& source);

inline bool skips_bad_rows(const DatasetOptions& options) {
  return options.bad_rows == "skip";
}

// Collects the records that cannot be used: all are counted, the first five are named.
class BadRows {
 public:
  bool any() const { return count_ > 0; }
  int64_t count() const { return count_; }
  bool listing() const { return count_ < 5; }  // whether the next one's text will be shown
  void add(int64_t line, std::string what, std::string hint = {});
  // Throws Error{data} with the list when there are any; `rows` is how many were read in all.
  void raise(const Source& source, int64_t rows) const;
  // Warns with the list instead.
  void warn(const Source& source, int64_t rows) const;

 private:
  std::string told(const Source& source, int64_t rows, const char* verdict) const;

  struct Shown {
    int64_t line;
    std::string what;
  };
  int64_t count_ = 0, first_line_ = 0;
  std::vector<Shown> shown_;
  std::string hint_;
};

}  // namespace compress::data
