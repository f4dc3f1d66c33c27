// One JSON object a line. Only the wanted keys are kept, of the outermost object or, with dots
// between them ("answers.text"), of objects in it; nothing else is built.

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "files/annotated.h"
#include "files/reader.h"

namespace compress::data {

namespace {

using Json = nlohmann::json;

// What to do about a line, by the text that the parser read last.
std::string json_hint(std::string_view read) {
  const std::string_view before = trim(read.substr(0, read.find_last_of("NI-")));
  const std::string_view value = trim(before.substr(0, before.find_last_not_of('-') + 1));
  if ((read.ends_with('N') || read.ends_with('I')) &&
      (value.empty() || value.find_last_of(":,[") == value.size() - 1))
    return "JSON has no NaN and no Infinity: write null, or leave the key out";
  if (read.ends_with('\'')) return "texts of JSON stand in double quotes";
  if (lower_ascii(read).find("\\ud") != read.npos)
    return "\\ud800 to \\udfff are halves of characters: a pair of them, or none";
  return {};
}

// Receives the events of one line's parse (nlohmann's SAX interface). A method that returns false
// ends the parse.
class Picker {
 public:
  Picker(Source& source, const std::vector<Column>& columns) : source_(source), columns_(columns) {
    for (size_t i = 0; i < columns.size(); ++i) {
      index_.emplace(columns[i].name, i);
      nests_ = nests_ || columns[i].name.find('.') != std::string::npos;
      longest_ = std::max(longest_, columns[i].name.size() + 16);
    }
  }

  void start(Record& record) {
    record_ = &record;
    record.cells.assign(columns_.size(), {});
    seen_.assign(columns_.size(), false);
    keys_.clear();
    around_.clear();
    depth_ = arrays_ = 0;
    wanted_ = none;
    listing_ = false;
  }

  // Names the first wanted key that the line does not have.
  void finish() {
    for (size_t i = 0; i < columns_.size() && record_->problem.empty(); ++i) {
      if (seen_[i]) continue;
      std::string near = nearest(columns_[i].name, keys_);
      record_->problem = str("no key ", cited(columns_[i].name));
      if (!near.empty()) record_->hint = str("did you mean ", cited(near), "?");
    }
  }

  bool null() { return listing_ ? problem(name() + " has null in its list") : not_a_cell("null"); }
  bool boolean(bool value) { return take(value ? "true" : "false"); }
  bool number_integer(int64_t value) { return take(str(value)); }
  bool number_unsigned(uint64_t value) { return take(str(value)); }
  bool number_float(double, const std::string& text) { return take(text); }
  bool string(std::string& value) {
    if (wanted_ == none) return inside();
    if (value.find('\0') != std::string::npos) return problem("a NUL character in " + name());
    return keep(std::move(value));
  }
  bool binary(Json::binary_t&) { return problem("binary data"); }
  bool start_object(size_t) {
    if (listing_) return problem(name() + " has an object in its list");
    if (depth_ > 0 && !not_a_cell("an object")) return false;
    if (depth_ > 0 && nests_ && arrays_ == 0) around_.push_back(path_);
    ++depth_;
    return true;
  }
  bool start_array(size_t) {
    if (depth_ == 0) record_->hint = "rows of one list are made lines by `jq -c '.[]' FILE`";
    if (listing_) return problem(name() + " has a list in its list");
    if (wanted_ != none && columns_[wanted_].kind != CellKind::one) {
      listing_ = true;
      items_ = 0;
      list_.clear();
    } else if (!not_a_cell("a list")) {
      return false;
    } else {
      ++arrays_;
    }
    ++depth_;
    return true;
  }
  bool end_object() {
    --depth_;
    if (arrays_ == 0 && !around_.empty()) around_.pop_back();
    return true;
  }
  bool end_array() {
    --depth_;
    if (!listing_) {
      --arrays_;
      return true;
    }
    listing_ = false;
    return keep_whole(std::move(list_));
  }
  bool key(std::string& text) {
    if (arrays_ > 0 || (depth_ != 1 && !nests_)) return true;
    if (around_.empty())
      path_ = text;
    else if (around_.back().size() + text.size() < longest_)
      path_ = str(around_.back(), ".", text);
    else  // longer than all that is wanted
      path_.assign(longest_ + 1, '.');
    auto found = index_.find(path_);
    wanted_ = found == index_.end() ? none : found->second;
    if (wanted_ != none && seen_[wanted_]) return problem(str("key ", cited(path_), " twice"));
    if (keys_.size() < 100) keys_.push_back(path_);
    return true;
  }
  bool parse_error(size_t position, const std::string& read, const Json::exception&) {
    record_->hint = json_hint(read);
    return problem(str("not valid JSON at byte ", position));
  }

 private:
  static constexpr size_t none = ~size_t{0};

  std::string name() const { return cited(columns_[wanted_].name); }
  bool problem(std::string what) {
    record_->problem = std::move(what);
    return false;
  }
  // Whether the parse is inside the object that a line must be.
  bool inside() { return depth_ > 0 || problem("not a JSON object"); }
  bool not_a_cell(const char* what) {
    if (!inside()) return false;
    if (wanted_ == none) return true;
    if (what == std::string_view("an object"))
      record_->hint = str("a key of it is named with a dot: ", columns_[wanted_].name, ".KEY");
    return problem(str(name(), " is ", what));
  }
  bool take(std::string text) {
    if (wanted_ == none) return inside();
    if (columns_[wanted_].is_text) return problem(str(name(), " is ", text, ", not a string"));
    return keep(std::move(text));
  }
  bool keep(std::string text) {
    if (!listing_ && columns_[wanted_].kind == CellKind::words)
      return problem(name() + " is not a list");
    if (columns_[wanted_].kind == CellKind::one) return keep_whole(std::move(text));
    if (text.find(list_separator) != std::string::npos)
      return problem("a character U+001F in " + name());
    if (!listing_) return keep_whole(std::move(text));
    if (items_++ > 0) list_ += list_separator;
    list_ += text;
    return true;
  }
  bool keep_whole(std::string text) {
    record_->cells[wanted_] = source_.keep(std::move(text));
    seen_[wanted_] = true;
    wanted_ = none;
    return true;
  }

  Source& source_;
  const std::vector<Column>& columns_;
  std::unordered_map<std::string, size_t> index_;
  Record* record_ = nullptr;
  std::vector<bool> seen_;
  std::vector<std::string> keys_;
  bool nests_ = false;               // a column is a key of an object in the line's
  size_t longest_ = 0;               // names that may be meant: a column's, and near ones
  std::vector<std::string> around_;  // paths of the objects around, without the line's own
  std::string path_;                 // of the last key outside of arrays
  int64_t depth_ = 0, arrays_ = 0;
  bool listing_ = false;  // inside the list that is the wanted column's value
  std::string list_;
  int64_t items_ = 0;
  size_t wanted_ = none;  // the column whose value comes next
};

class JsonLines final : public Reader {
 public:
  JsonLines(Source& source, std::vector<Column> columns)
      : Reader(source), columns_(std::move(columns)), picker_(source, columns_) {}

  bool next(Record& record) override {
    start(record);
    std::string_view line;
    if (!next_written_line(line)) return false;
    record.line = line_;
    if (line.size() > longest_record)
      throw Error(ErrorKind::data, "a line longer than 16 MB", source_.place(line_),
                  "JSONL holds one object a line");
    if (!columns_.empty()) parse(line, record);
    if (!record.problem.empty()) record.cells.clear();
    return true;
  }

 private:
  void parse(std::string_view line, Record& record) {
    if (!judge_encoding(line, record)) return;
    picker_.start(record);
    if (Json::sax_parse(line.begin(), line.end(), &picker_)) picker_.finish();
    if (record.hint.empty() && !record.problem.empty())
      record.hint = "each line is one JSON object with the wanted keys";
  }

  std::vector<Column> columns_;
  Picker picker_;
};

}  // namespace

std::unique_ptr<Reader> open_jsonl(Source& source, std::vector<Column> columns) {
  return std::make_unique<JsonLines>(source, std::move(columns));
}

}  // namespace compress::data
