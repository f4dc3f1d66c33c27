// Files whose lines stand beside each other: scores beside pairs, references beside sources.

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/lines.h"
#include "compress/base/strings.h"
#include "files/contents.h"

namespace compress::data {

namespace {

std::vector<std::string> separated(const std::string& name, std::string_view between) {
  std::vector<std::string> parts;
  for (size_t begin = 0;;) {
    const size_t end = std::min(name.find(between, begin), name.size());
    parts.emplace_back(trim(std::string_view(name).substr(begin, end - begin)));
    if (end == name.size()) return parts;
    begin = end + between.size();
  }
}

// A column of the rows that are made: the lines that are left of a file, or a text.
struct Lines {
  std::string name, text;
  std::shared_ptr<const Contents> contents;
  std::string_view left;
  char end = '\n';
};

}  // namespace

std::vector<std::string> pieces_of(const std::string& name) {
  return separated(name, " + ");
}

std::vector<std::string> beside(const std::string& piece) {
  return separated(piece, " | ");
}

void paste(const std::string& piece, Scratch& out) {
  constexpr size_t most = size_t{1} << 20;
  std::vector<Lines> columns;
  for (const std::string& name : beside(piece)) {
    Lines& column = columns.emplace_back();
    column.name = name;
    if (name.starts_with('=')) {
      column.text = name.substr(1);
      continue;
    }
    column.contents = read_one(name);
    refuse_foreign(column.contents->bytes(), name);
    column.left = without_mark(column.contents->bytes());
    column.end = line_end(column.left);
  }
  const auto first = std::find_if(columns.begin(), columns.end(),
                                  [](const Lines& each) { return each.contents != nullptr; });
  if (first == columns.end())
    throw Error(ErrorKind::data, "no file stands beside the texts", piece);
  std::string rows;
  for (int64_t line = 1; !first->left.empty(); ++line) {
    for (Lines& column : columns) {
      if (&column != &columns.front()) rows += '\t';
      if (column.contents == nullptr) {
        rows += column.text;
        continue;
      }
      if (column.left.empty())
        throw Error(ErrorKind::data,
                    str("the file has ", line - 1, " lines, fewer than ", first->name), column.name,
                    "files beside each other have the same number of lines");
      std::string_view cell = take_line(column.left, column.end);
      if (cell.ends_with('\r')) cell.remove_suffix(1);
      rows += cell;
    }
    rows += '\n';
    if (rows.size() < most) continue;
    out.append(rows);
    rows.clear();
  }
  out.append(rows);
  for (const Lines& column : columns)
    if (!column.left.empty())
      throw Error(ErrorKind::data, str("the file has more lines than ", first->name), column.name,
                  "files beside each other have the same number of lines");
}

}  // namespace compress::data
