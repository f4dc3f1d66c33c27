#include "files/templates.h"

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/strings.h"

namespace compress::data {

bool is_template(std::string_view column) {
  const size_t open = column.find('{');
  return open != std::string_view::npos && column.find('}', open) != std::string_view::npos;
}

Template parse_template(std::string_view column) {
  Template out;
  auto text = [&]() -> std::string& {
    if (out.parts.empty() || out.parts.back().column) out.parts.push_back({});
    return out.parts.back().text;
  };
  auto refuse = [&](const std::string& what) {
    throw Error(ErrorKind::recipe, str("the template ", cited(column), " ", what), {},
                "{name} is a column, {=text} a text, {{ and }} are braces");
  };
  for (size_t i = 0; i < column.size(); ++i) {
    const char c = column[i];
    if ((c == '{' || c == '}') && i + 1 < column.size() && column[i + 1] == c) {
      text() += c;
      ++i;
    } else if (c == '}') {
      refuse("closes a brace that was not opened");
    } else if (c != '{') {
      text() += c;
    } else {
      const size_t close = column.find('}', i);
      if (close == std::string_view::npos) refuse("has a brace that is not closed");
      const std::string_view name = trim(column.substr(i + 1, close - i - 1));
      if (name.empty()) refuse("has braces without a column");
      if (name.front() == '=')
        text() += name.substr(1);
      else
        out.parts.push_back({true, std::string(name)});
      i = close;
    }
  }
  return out;
}

std::vector<std::string> columns_in(const std::string& column) {
  if (!is_template(column)) return {column};
  std::vector<std::string> names;
  for (const Template::Part& part : parse_template(column).parts)
    if (part.column) names.push_back(part.text);
  return names;
}

std::vector<std::string> columns_of(const std::vector<std::string>& names) {
  std::vector<std::string> columns;
  for (const std::string& name : names)
    for (std::string& column : columns_in(name)) columns.push_back(std::move(column));
  return columns;
}

bool any_template(const std::vector<Column>& columns) {
  return std::any_of(columns.begin(), columns.end(),
                     [](const Column& column) { return is_template(column.name); });
}

namespace {

class Composed final : public Reader {
 public:
  Composed(Source& source, const std::vector<Column>& columns,
           const std::function<std::unique_ptr<Reader>(std::vector<Column>)>& open)
      : Reader(source) {
    std::vector<Column> plain;
    auto place_of = [&](const Column& wanted) {
      for (size_t i = 0; i < plain.size(); ++i)
        if (plain[i].name == wanted.name) return i;
      plain.push_back(wanted);
      return plain.size() - 1;
    };
    // Those that are asked for as they are come first, so that their kinds hold.
    for (const Column& column : columns)
      if (!is_template(column.name)) place_of(column);
    for (const Column& column : columns) {
      std::vector<Piece> pieces;
      if (!is_template(column.name)) {
        pieces.push_back({place_of(column), {}});
      } else {
        if (column.kind == CellKind::words)
          throw Error(ErrorKind::recipe,
                      str("the template ", cited(column.name), " stands for a list of words"), {},
                      "name one column");
        for (const Template::Part& part : parse_template(column.name).parts)
          pieces.push_back(part.column ? Piece{place_of({part.text, false}), {}}
                                       : Piece{none, part.text});
      }
      made_.push_back(std::move(pieces));
    }
    reader_ = open(std::move(plain));
    left_ = left_.substr(left_.size() - std::min(left_.size(), reader_->bytes_left()));
  }

  bool next(Record& record) override {
    start(record);
    const bool found = reader_->next(inner_);
    blank_lines_ = reader_->blank_lines();
    left_ = left_.substr(left_.size() - reader_->bytes_left());
    if (!found) return false;
    record.line = inner_.line;
    record.problem = inner_.problem;
    record.hint = inner_.hint;
    if (!record.problem.empty()) return true;
    for (const std::vector<Piece>& pieces : made_) {
      if (pieces.size() == 1 && pieces[0].column != none) {
        record.cells.push_back(inner_.cells[pieces[0].column]);
        continue;
      }
      std::string text;
      for (const Piece& piece : pieces)
        text += piece.column == none ? std::string_view(piece.text) : inner_.cells[piece.column];
      record.cells.push_back(source_.keep(std::move(text)));
    }
    return true;
  }

  bool seek(size_t left) override {
    if (!reader_->seek(left)) return false;
    const std::string_view all = source_.text();
    left_ = all.substr(all.size() - reader_->bytes_left());
    return true;
  }

 private:
  static constexpr size_t none = ~size_t{0};
  struct Piece {
    size_t column;
    std::string text;
  };
  std::vector<std::vector<Piece>> made_;  // of each wanted column
  std::unique_ptr<Reader> reader_;
  Record inner_;
};

}  // namespace

std::unique_ptr<Reader> open_templates(
    Source& source, const std::vector<Column>& columns,
    const std::function<std::unique_ptr<Reader>(std::vector<Column>)>& open) {
  return std::make_unique<Composed>(source, columns, open);
}

}  // namespace compress::data
