// Sentences as lines of words with their columns.

#include <algorithm>
#include <charconv>
#include <set>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/text/python.h"
#include "files/annotated.h"
#include "files/reader.h"

namespace compress::data {

namespace {

constexpr std::string_view gaps = " \t";

bool is_skipped(std::string_view line) {  // a mark between documents
  constexpr std::string_view mark = "-DOCSTART-";
  return line.starts_with(mark) &&
         (line.size() == mark.size() || gaps.find(line[mark.size()]) != std::string_view::npos);
}

// Cuts a line into its columns. One that is empty keeps its place: with tabs between two of them,
// else at the beginning of the line, where alone white space shows it.
void cut(std::string_view line, bool tabs, std::vector<std::string_view>& columns) {
  columns.clear();
  const std::string_view between = tabs ? "\t" : gaps;
  if (!tabs && gaps.find(line[0]) != std::string_view::npos) columns.emplace_back();
  for (size_t begin = 0; begin <= line.size();) {
    const size_t end = std::min(line.find_first_of(between, begin), line.size());
    std::string_view column = line.substr(begin, end - begin);
    while (column.starts_with(' ')) column.remove_prefix(1);
    while (column.ends_with(' ')) column.remove_suffix(1);
    if (tabs || !column.empty()) columns.push_back(column);
    begin = end + 1;
  }
}

class Conll final : public Reader {
 public:
  Conll(Source& source, const std::vector<Column>& columns) : Reader(source) {
    for (const Column& column : columns)
      wanted_.push_back({number_of(column), column.is_text,
                         column.kind == CellKind::words ? list_separator : ' '});
    if (!columns.empty() && !columns.back().is_text) label_ = wanted_.back().number;
    look_ahead();
  }

  bool next(Record& record) override {
    start(record);
    while (read_sentence())
      if (take_words(record)) return true;
    return false;
  }

 private:
  struct Line {
    int64_t number;
    std::string_view text;
  };
  struct Wanted {
    int64_t number;
    bool is_text;
    char between;  // the words of a cell
  };

  int64_t number_of(const Column& column) const {
    int64_t number = 0;
    const std::string& name = column.name;
    auto [end, failed] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (failed == std::errc() && end == name.data() + name.size()) return number;
    throw Error(ErrorKind::data, str("column ", cited(name), " is a name, and the file has none"),
                source_.file().string(),
                "columns of conll files are numbers: 0 is the first one, -1 the last one");
  }

  // Calls use(line) for the file's lines that are surely words, until it returns true.
  template <class Use>
  void each_word(const Use& use) const {
    for (std::string_view left = source_.text(), line; !left.empty();) {
      line = take_line(left, end_);
      if (line.find_first_not_of(gaps) == std::string_view::npos || is_skipped(line)) continue;
      if (!line.starts_with('#') && use(line)) return;
    }
  }

  // What separates the columns, and how many there are, as the first word tells.
  void look_ahead() {
    each_word([this](std::string_view line) {
      tabs_ = line.find('\t') != std::string_view::npos;
      cut(line, tabs_, columns_);
      width_ = columns_.size();
      return true;
    });
  }

  // Whether a word of the file has this label.
  bool is_label(std::string_view text) {
    if (!labels_) {
      labels_.emplace();
      std::vector<std::string_view> columns;
      each_word([&](std::string_view line) {
        cut(line, tabs_, columns);
        if (const auto at = place(label_, columns.size())) labels_->insert(columns[*at]);
        return false;
      });
    }
    return labels_->count(text) != 0;
  }

  static std::optional<size_t> place(int64_t number, size_t width) {
    if (number < 0) number += static_cast<int64_t>(width);
    if (number < 0 || number >= static_cast<int64_t>(width)) return std::nullopt;
    return static_cast<size_t>(number);
  }

  // Reads lines_ up to a blank one; false at the end of the file.
  bool read_sentence() {
    lines_.clear();
    size_t bytes = 0;
    for (std::string_view line; next_line(line);) {
      if (line.find_first_not_of(gaps) == std::string_view::npos) {
        if (!lines_.empty()) return true;
        ++blank_lines_;
        continue;
      }
      if (is_skipped(line)) continue;
      lines_.push_back({line_, line});
      bytes += line.size();
      if (bytes > longest_record)
        throw Error(ErrorKind::data, "a sentence longer than 16 MB",
                    source_.place(lines_[0].number), "sentences end with blank lines");
    }
    return !lines_.empty();
  }

  // Fills the record with the sentence in lines_; false where it has comments alone.
  bool take_words(Record& record) {
    for (const Line& line : lines_) {
      if (line.text.starts_with('#')) continue;
      cut(line.text, tabs_, columns_);
      width_ = columns_.size();
      break;
    }
    std::vector<std::string> cells(wanted_.size());
    bool first = true;
    for (const Line& line : lines_) {
      cut(line.text, tabs_, columns_);
      if (is_comment(line.text, first)) continue;
      if (first) record.line = line.number;
      judge(line.text, record);
      if (!record.problem.empty()) {
        record.line = line.number;
        return true;
      }
      for (size_t i = 0; i < wanted_.size(); ++i) {
        if (!first) cells[i] += wanted_[i].between;
        cells[i] += columns_[places_[i]];
      }
      first = false;
    }
    if (first) return false;
    for (std::string& cell : cells) record.cells.push_back(source_.keep(std::move(cell)));
    return true;
  }

  // Whether the line that was cut is a comment. `first`: it stands before its sentence's words.
  bool is_comment(std::string_view line, bool first) {
    if (!line.starts_with('#')) return false;
    const bool apart = line.size() > 1 && gaps.find(line[1]) != std::string_view::npos;
    if (columns_.size() != width_) return first || apart;
    if (!first || !apart) return false;
    const auto at = place(label_, width_);
    return !at || !is_label(columns_[*at]);
  }

  // Finds the wanted columns of the word that was cut, or says what is wrong with it.
  void judge(std::string_view line, Record& record) {
    auto refuse = [&](std::string what, const char* hint) {
      record.problem = std::move(what);
      record.hint = hint;
    };
    constexpr const char* word_hint =
        "a line is a word with its columns, a blank line ends a sentence";
    constexpr const char* count_hint = "columns count from 0; -1 is the last one";
    if (size_t bad = invalid_utf8(line); bad != std::string_view::npos)
      return refuse(str("not valid UTF-8 at byte ", bad + 1), "convert the file to UTF-8");
    if (!tabs_ && columns_[0].empty())
      return refuse("the line begins with white space, so its first column is empty", word_hint);
    if (columns_.size() != width_)
      return refuse(str(shown(columns_.size()), ", and the sentence's first word has ", width_),
                    word_hint);
    places_.clear();
    for (const Wanted& wanted : wanted_) {
      const auto at = place(wanted.number, width_);
      if (!at) return refuse(str(shown(width_), ", none is ", wanted.number), count_hint);
      if (std::find(places_.begin(), places_.end(), *at) != places_.end())
        return refuse(str(shown(width_), ", and column ", *at, " cannot be word and label"),
                      count_hint);
      const std::string_view cell = columns_[*at];
      if (text::is_blank(cell))
        return refuse(str("the ", wanted.is_text ? "word" : "label", " is empty or white space"),
                      word_hint);
      if (cell.find(list_separator) != std::string_view::npos)
        return refuse("a character U+001F in a column", "remove it");
      places_.push_back(*at);
    }
  }

  static std::string shown(size_t columns) {
    return str(columns, columns == 1 ? " column" : " columns");
  }

  std::vector<Wanted> wanted_;
  int64_t label_ = -1;                     // the column of the label
  bool tabs_ = false;                      // between columns
  size_t width_ = 0;                       // columns of a word of the sentence
  std::vector<Line> lines_;                // of the sentence
  std::vector<std::string_view> columns_;  // of the line at hand
  std::vector<size_t> places_;             // of the wanted ones among them
  // The labels of the file's words, once they are asked for.
  std::optional<std::set<std::string_view>> labels_;
};

}  // namespace

std::unique_ptr<Reader> open_conll(Source& source, std::vector<Column> columns) {
  return std::make_unique<Conll>(source, columns);
}

}  // namespace compress::data
