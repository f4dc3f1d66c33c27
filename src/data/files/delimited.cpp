// Tab- and comma-separated files. With quoting, cells follow RFC 4180: "..." may hold separators
// and line breaks, "" stands for a quote sign. Without, every character but the separator and the
// line's end is itself.

#include <algorithm>
#include <charconv>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "files/annotated.h"
#include "files/reader.h"

namespace compress::data {

namespace {

struct RawCell {
  std::string_view text;  // between the quotes of a quoted cell
  bool doubled = false;   // holds doubled quotes that stand for one
};

std::string unescape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    out += text[i];
    if (text[i] == '"') ++i;
  }
  return out;
}

class Delimited final : public Reader {
 public:
  Delimited(Source& source, char separator, bool quoting, bool header, std::vector<Column> columns,
            bool ragged)
      : Reader(source), separator_(separator), quoting_(quoting), header_(header), ragged_(ragged) {
    if (quoting) end_ = row_end();
    for (Column& column : columns) {
      kinds_.push_back(column.kind);
      ranges_.push_back(column.kind == CellKind::texts && column.name.ends_with(".."));
      if (ranges_.back()) column.name.resize(column.name.size() - 2);
    }
    if (header) {
      read_header(columns);
    } else {
      for (const Column& column : columns) numbers_.push_back(number_of(column));
    }
  }

  bool next(Record& record) override {
    start(record);
    if (!read_cells(record)) return false;
    if (kinds_.empty() || !record.problem.empty()) return true;
    if (width_ == 0) first_row(record.line);
    judge_width(record);
    if (!record.problem.empty()) return true;
    for (size_t i = 0; i < wanted_.size(); ++i) {
      if (ranges_[i]) {
        if (!take_range(wanted_[i], record)) return true;
        continue;
      }
      const RawCell& cell = cells_[wanted_[i]];
      record.cells.push_back(cell.doubled ? source_.keep(unescape(cell.text)) : cell.text);
      if (kinds_[i] == CellKind::one) continue;
      if (cell.text.find(list_separator) != std::string_view::npos) {
        record.problem = "a character U+001F in a cell";
        record.hint = "remove it";
        record.cells.clear();
        return true;
      }
      if (kinds_[i] == CellKind::words)
        record.cells.back() = source_.keep(words_of(record.cells.back()));
    }
    return true;
  }

  // Whether rows may have other numbers of cells than the first one.
  bool any_width() const {
    return ragged_ || std::find(ranges_.begin(), ranges_.end(), true) != ranges_.end();
  }

 private:
  // The cells from one on as a list; false where that cannot be, and the record says why.
  bool take_range(size_t first, Record& record) {
    std::string list;
    for (size_t i = first; i < cells_.size(); ++i) {
      const std::string text =
          cells_[i].doubled ? unescape(cells_[i].text) : std::string(cells_[i].text);
      if (text.empty()) continue;
      if (text.find(list_separator) != std::string::npos) {
        record.problem = "a character U+001F in a cell";
        record.hint = "remove it";
        record.cells.clear();
        return false;
      }
      list += (list.empty() ? "" : std::string(1, list_separator)) + text;
    }
    record.cells.push_back(source_.keep(std::move(list)));
    return true;
  }

  static std::string words_of(std::string_view cell) {
    std::string words;
    for (const std::string& word : split(cell, ' ')) {
      if (word.empty()) continue;
      if (!words.empty()) words += list_separator;
      words += word;
    }
    return words;
  }

  // Cuts the next record that is not blank into cells_; false at the end of the file.
  bool read_cells(Record& record) {
    skip_blank_lines();
    while (at_further_header()) skip_blank_lines();
    if (left_.empty()) return false;
    record.line = line_ + 1;
    cells_.clear();
    std::string_view before = left_;
    while (read_cell(record, before)) {
    }
    std::string_view raw = before.substr(0, before.size() - left_.size());
    if (width_ == 0) head_ = raw;
    if (raw.size() > longest_record) too_long(record.line);
    if (size_t bad = invalid_utf8(raw); bad != std::string_view::npos) {
      record.problem = str("not valid UTF-8 at byte ", bad + 1, " of the row");
      record.hint = "convert the file to UTF-8";
    }
    return true;
  }

  void skip_blank_lines() {
    while (!left_.empty()) {
      std::string_view rest = left_;
      if (!is_blank(take_line(rest, end_))) break;
      left_ = rest;
      ++line_;
      ++blank_lines_;
    }
  }

  // Takes the header of the second file and of those behind it, which is that of the first.
  bool at_further_header() {
    const std::vector<size_t>& starts = source_.starts();
    if (!header_ || width_ == 0 || left_.empty()) return false;
    const auto offset = static_cast<size_t>(left_.data() - source_.bytes().data());
    if (file_ == starts.size() || offset < starts[file_]) return false;
    while (file_ < starts.size() && offset >= starts[file_]) ++file_;
    const std::string_view head = head_.substr(0, head_.find_last_not_of("\r\n") + 1);
    std::string_view rest = left_;
    if (rest.starts_with(head)) rest.remove_prefix(head.size());
    if (rest.size() == left_.size() || (!rest.empty() && trim(take_line(rest, end_)) != ""))
      throw Error(ErrorKind::data, "the header differs from that of the first file",
                  source_.place(line_ + 1),
                  "the files of a part have the same columns; `header: false` if they have none");
    line_ += std::count(head.begin(), head.end(), end_) + 1;
    left_ = rest;
    return true;
  }

  // Where rows have one cell, spaces are its text.
  bool is_blank(std::string_view line) const {
    return line.find_first_not_of(width_ == 1 ? "\r" : " \r") == std::string_view::npos;
  }

  // What ends a row: CR where no LF stands outside quoted cells, in which both are characters.
  char row_end() const {
    bool begins = true, returns = false;  // a cell begins; there was a CR
    for (size_t at = 0; at < left_.size(); ++at) {
      const char c = left_[at];
      if (c == '\n') return '\n';
      if (begins && c == '"') {
        at = left_.find('"', at + 1);
        while (at != std::string_view::npos && left_.substr(at + 1).starts_with('"'))
          at = left_.find('"', at + 2);
        if (at == std::string_view::npos) break;
      }
      returns = returns || c == '\r';
      begins = c == separator_ || c == '\r';
    }
    return returns ? '\r' : '\n';
  }

  // Takes one cell and what follows it from left_; whether the record goes on.
  bool read_cell(Record& record, std::string_view begin) {
    RawCell cell;
    if (quoting_ && left_.starts_with('"')) {
      size_t close = closing_quote(cell.doubled, begin);
      if (close == std::string_view::npos) {
        record.problem = "a quote that is opened in this row is never closed";
        record.hint = "double the quote signs inside quoted cells, or set `quoting: false`";
        line_ += std::count(left_.begin(), left_.end(), end_);
        left_ = {};
        return false;
      }
      cell.text = left_.substr(1, close - 1);
      line_ += std::count(cell.text.begin(), cell.text.end(), end_);
      left_.remove_prefix(close + 1);
      if (size_t junk = cell_end(); trim(left_.substr(0, junk)) != "") {
        record.problem = "text after the closing quote of a cell";
        record.hint = "double the quote signs inside quoted cells, or set `quoting: false`";
      }
    }
    size_t end = cell_end();
    if (cell.text.data() == nullptr) cell.text = left_.substr(0, end);
    bool more = end < left_.size() && left_[end] == separator_;
    if (!more && end_ == '\n' && cell.text.ends_with('\r') &&
        cell.text.end() == left_.begin() + static_cast<std::ptrdiff_t>(end))
      cell.text.remove_suffix(1);
    if (end < left_.size() && left_[end] == end_) ++line_;
    left_.remove_prefix(std::min(end + 1, left_.size()));
    cells_.push_back(cell);
    if (more && left_.empty()) cells_.emplace_back();  // the file ends with a separator
    return more && !left_.empty();
  }

  // Offset in left_ (which starts with a quote) of the quote that closes it.
  size_t closing_quote(bool& doubled, std::string_view begin) const {
    size_t at = 1;
    while ((at = left_.find('"', at)) != std::string_view::npos) {
      if (at + 1 >= left_.size() || left_[at + 1] != '"') break;
      doubled = true;
      at += 2;
    }
    size_t used = begin.size() - left_.size() + std::min(at, left_.size());
    if (used > longest_record) too_long(line_ + 1);
    return at;
  }

  size_t cell_end() const {
    auto stop = [this](char c) { return c == separator_ || c == end_; };
    return static_cast<size_t>(std::find_if(left_.begin(), left_.end(), stop) - left_.begin());
  }

  [[noreturn]] void too_long(int64_t line) const {
    throw Error(ErrorKind::data, "a row longer than 16 MB", source_.place(line),
                quoting_ ? "is a quote never closed? `quoting: false` takes quote signs as they are"
                         : "is this a text file with one row a line?");
  }

  void read_header(const std::vector<Column>& columns) {
    Record record;
    if (!read_cells(record))
      throw Error(ErrorKind::data, "the data file has only blank lines", source_.file().string());
    if (!record.problem.empty())
      throw Error(ErrorKind::data, "the header: " + record.problem, source_.place(record.line),
                  record.hint);
    std::vector<std::string> names;
    for (const RawCell& cell : cells_)
      names.emplace_back(trim(cell.doubled ? source_.keep(unescape(cell.text)) : cell.text));
    width_ = names.size();
    while (spare_ + 1 < width_ && names[width_ - spare_ - 1].empty()) ++spare_;
    for (const Column& column : columns) wanted_.push_back(find(column, names, record.line));
  }

  size_t find(const Column& column, const std::vector<std::string>& names, int64_t line) const {
    auto found = std::find(names.begin(), names.end(), column.name);
    if (found != names.end()) {
      if (std::find(found + 1, names.end(), column.name) != names.end())
        throw Error(ErrorKind::data, str("the header has column ", cited(column.name), " twice"),
                    source_.place(line),
                    str("give the column's number instead: ", found - names.begin(),
                        " is the first of them"));
      return static_cast<size_t>(found - names.begin());
    }
    if (auto number = as_number(column.name); number && placed(*number, names.size()))
      return *placed(*number, names.size());
    if (std::any_of(names.begin(), names.end(),
                    [](const std::string& name) { return name.find('\r') != name.npos; }))
      throw Error(ErrorKind::data, "the header holds carriage returns", source_.place(line),
                  "they end lines only in a file without line feeds: give all lines one end");
    if (const std::string hint = other_form(names); !hint.empty())
      throw Error(ErrorKind::data, str("no column ", cited(column.name), " in the header"),
                  source_.place(line), hint);
    std::string near = nearest(column.name, names);
    std::vector<std::string> shown;
    for (size_t i = 0; i < names.size() && i < 20; ++i) shown.push_back(cited(names[i]));
    throw Error(ErrorKind::data, str("no column ", cited(column.name), " in the header"),
                source_.place(line),
                near.empty()
                    ? str("the columns are ", join(shown, ", "), names.size() > 20 ? ", ..." : "",
                          "; `header: false` if the file has no header")
                    : str("did you mean ", cited(near), "?"));
  }

  // What to do where the header is that of a file of another form.
  std::string other_form(const std::vector<std::string>& names) const {
    if (lower_ascii(names[0]).starts_with("sep="))
      return "remove the first line, which tells spreadsheets what separates the cells";
    const auto quoted = [](const std::string& name) {
      return name.size() > 2 && name.front() == '"' && name.back() == '"';
    };
    if (!quoting_ && std::all_of(names.begin(), names.end(), quoted))
      return "its names stand in quotes: set `quoting: true`, or save it as CSV";
    if (names.size() > 1) return {};
    for (const char other : {'\t', ',', ';', '|'})
      if (other != separator_ && names[0].find(other) != std::string::npos)
        return str(
            "its cells are separated by ", other == '\t' ? "tabs" : str("'", other, "'"),
            ": save it with ",
            separator_ == ',' ? "commas, or with tabs as tsv" : "tabs, or with commas as csv");
    return {};
  }

  // A column's number from 0, or from -1, the last one, down.
  static std::optional<int64_t> as_number(const std::string& text) {
    int64_t number = 0;
    auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (failed != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return number;
  }

  static std::optional<size_t> placed(int64_t number, size_t width) {
    const auto count = static_cast<int64_t>(width);
    if (number >= count || number < -count) return std::nullopt;
    return static_cast<size_t>(number < 0 ? count + number : number);
  }

  int64_t number_of(const Column& column) const {
    if (auto number = as_number(column.name)) return *number;
    throw Error(ErrorKind::data,
                str("column ", cited(column.name), " is a name, and the file has no header"),
                source_.file().string(),
                "name columns by their number from 0, or set `header: true`");
  }

  // Without a header, the first row says how many cells a row has.
  void first_row(int64_t line) {
    width_ = cells_.size();
    for (int64_t number : numbers_) {
      const std::optional<size_t> column = placed(number, width_);
      if (!column)
        throw Error(ErrorKind::data,
                    str("no column ", number, ": the first row has ", width_, " cells"),
                    source_.place(line), "columns count from 0, or from -1, the last one, down");
      wanted_.push_back(*column);
    }
    numbers_.clear();
  }

  // Rows of another width are refused, also longer ones: a separator inside a text has shifted
  // their cells.
  void judge_width(Record& record) const {
    size_t used = cells_.size();
    while (used > width_ && cells_[used - 1].text.empty())
      --used;  // separators at the end do no harm
    if (used == width_) return;
    const size_t least =
        wanted_.empty() ? 0 : 1 + *std::max_element(wanted_.begin(), wanted_.end());
    // Columns without a name at the header's end need not be there.
    if (used < width_ && used + spare_ >= width_ && cells_.size() >= least) return;
    if (any_width()) {
      if (cells_.size() >= least) return;
      record.problem =
          str("a short row: ", used, " cells, and column ", least - 1, " is asked for");
      record.hint = "columns count from 0";
      return;
    }
    record.problem =
        str(used < width_ ? "a short row: " : "too many cells: ", used, " of ", width_);
    record.hint = quoting_ ? "put cells that hold the separator in quotes"
                           : "no cell may hold the separator; `quoting: true` if quoted cells do";
  }

  char separator_;
  bool quoting_, header_, ragged_;
  size_t width_ = 0;              // cells a row, 0 = not known yet
  size_t spare_ = 0;              // columns without a name at the header's end
  std::string_view head_;         // the first row
  size_t file_ = 0;               // files behind the first one that have begun
  std::vector<int64_t> numbers_;  // of the wanted columns, until the first row is known
  std::vector<size_t> wanted_;
  std::vector<CellKind> kinds_;  // of the wanted columns
  std::vector<bool> ranges_;     // whether they are all cells from there on
  std::vector<RawCell> cells_;
};

}  // namespace

std::unique_ptr<Reader> open_delimited(Source& source, char separator, bool quoting, bool header,
                                       std::vector<Column> columns, bool ragged) {
  return std::make_unique<Delimited>(source, separator, quoting, header, std::move(columns),
                                     ragged);
}

}  // namespace compress::data
