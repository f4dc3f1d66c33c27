// Plain text: a row a line, or a document of several lines.

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "files/annotated.h"
#include "files/reader.h"

namespace compress::data {

namespace {

class Plain final : public Reader {
 public:
  Plain(Source& source, const std::vector<Column>& columns) : Reader(source) {
    for (const Column& column : columns) {
      if (column.name != "0")
        throw Error(ErrorKind::data, str("no column ", cited(column.name), " in a text file"),
                    source.file().string(), "its lines are column 0: set `text: 0`");
      documents_ = documents_ || column.kind == CellKind::texts;
    }
    wanted_ = !columns.empty();
  }

  bool next(Record& record) override {
    start(record);
    return documents_ ? next_document(record) : next_row(record);
  }

 private:
  bool next_row(Record& record) {
    std::string_view line;
    if (!next_written_line(line)) return false;
    record.line = line_;
    if (line.size() > longest_record)
      throw Error(ErrorKind::data, "a line longer than 16 MB", source_.place(line_));
    if (judge(line, record) && wanted_) record.cells.push_back(line);
    return true;
  }

  // Lines up to a blank one, as the items of a list.
  bool next_document(Record& record) {
    std::string all;
    bool any = false, good = true;
    for (std::string_view line; next_line(line);) {
      if (is_blank(line)) {
        if (any) break;
        ++blank_lines_;
        continue;
      }
      if (!any) record.line = line_;
      if (all.size() + line.size() > longest_record)
        throw Error(ErrorKind::data, "a document longer than 16 MB", source_.place(record.line),
                    "documents end with blank lines");
      if (good && !judge(line, record)) {
        record.line = line_;
        good = false;
      }
      if (any) all += list_separator;
      all += line;
      any = true;
    }
    if (any && good && wanted_) record.cells.push_back(source_.keep(std::move(all)));
    return any;
  }

  bool judge(std::string_view line, Record& record) const {
    if (judge_encoding(line, record) && documents_ &&
        line.find(list_separator) != std::string_view::npos) {
      record.problem = "a character U+001F in a line";
      record.hint = "remove it";
    }
    return record.problem.empty();
  }

  bool documents_ = false, wanted_ = false;
};

}  // namespace

std::unique_ptr<Reader> open_plain(Source& source, const std::vector<Column>& columns) {
  return std::make_unique<Plain>(source, columns);
}

}  // namespace compress::data
