// Sentences as lines of words with their columns.

#include <algorithm>
#include <charconv>

#include "annotated.h"
#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "reader.h"

namespace compress::data {

namespace {

class Conll final : public Reader {
 public:
  Conll(Source& source, const std::vector<Column>& columns) : Reader(source) {
    for (const Column& column : columns) wanted_.push_back(number_of(column));
  }

  bool next(Record& record) override {
    start(record);
    std::vector<std::string> cells(wanted_.size());
    bool any = false;
    size_t bytes = 0;
    std::string_view line;
    while (next_line(line)) {
      if (line.empty()) {
        if (any) break;
        ++blank_lines_;
        continue;
      }
      if (line.starts_with("-DOCSTART-") || line.starts_with("# ")) continue;
      if (!any) record.line = line_;
      bytes += line.size();
      if (bytes > longest_record)
        throw Error(ErrorKind::data, "a sentence longer than 16 MB", source_.place(record.line),
                    "sentences end with blank lines");
      if (record.problem.empty()) add(line, any, cells, record);
      any = true;
    }
    if (record.problem.empty())
      for (std::string& cell : cells) record.cells.push_back(source_.keep(std::move(cell)));
    return any;
  }

 private:
  int64_t number_of(const Column& column) const {
    int64_t number = 0;
    const std::string& name = column.name;
    auto [end, failed] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (failed == std::errc() && end == name.data() + name.size()) return number;
    throw Error(ErrorKind::data, str("column ", cited(name), " is a name, and the file has none"),
                source_.file().string(),
                "columns of conll files are numbers: 0 is the first one, -1 the last one");
  }

  // The next line without spaces around it.
  bool next_line(std::string_view& line) {
    if (left_.empty()) return false;
    const size_t end = std::min(left_.find('\n'), left_.size());
    line = trim(left_.substr(0, end));
    left_.remove_prefix(std::min(end + 1, left_.size()));
    ++line_;
    return true;
  }

  void add(std::string_view line, bool follows, std::vector<std::string>& cells, Record& record) {
    if (size_t bad = invalid_utf8(line); bad != std::string_view::npos) {
      record.problem = str("not valid UTF-8 at byte ", bad + 1, " of line ", line_);
      record.hint = "convert the file to UTF-8";
      return;
    }
    std::vector<std::string_view> parts;
    for (size_t at = 0; at < line.size();) {
      const size_t end = std::min(line.find_first_of(" \t", at), line.size());
      if (end > at) parts.push_back(line.substr(at, end - at));
      at = end + 1;
    }
    const auto width = static_cast<int64_t>(parts.size());
    for (size_t i = 0; i < wanted_.size(); ++i) {
      const int64_t column = wanted_[i] < 0 ? width + wanted_[i] : wanted_[i];
      if (column < 0 || column >= width) {
        record.problem = str("line ", line_, " has ", width, " columns, none is ", wanted_[i]);
        record.hint = "columns count from 0; -1 is the last one";
        return;
      }
      if (follows) cells[i] += list_separator;
      cells[i] += parts[static_cast<size_t>(column)];
    }
  }

  std::vector<int64_t> wanted_;
  int64_t line_ = 0;
};

}  // namespace

std::unique_ptr<Reader> open_conll(Source& source, std::vector<Column> columns) {
  return std::make_unique<Conll>(source, columns);
}

}  // namespace compress::data
