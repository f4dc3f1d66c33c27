// Rows that a layout makes of nested JSON.

#include "compress/base/strings.h"
#include "layouts/layout.h"

namespace compress::data {

namespace {

using Json = nlohmann::json;

}  // namespace

const Json& part_at(const Json& object, const char* key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  if (!object.is_object() || found == object.end())
    throw RowProblem{str("no key ", cited(key)), "is the file this layout's?"};
  return *found;
}

std::string text_at(const Json& object, const char* key) {
  const Json& value = part_at(object, key);
  if (!value.is_string()) throw RowProblem{str(cited(key), " is no text"), {}};
  return value.get<std::string>();
}

const Json& list_at(const Json& object, const char* key) {
  const Json& value = part_at(object, key);
  if (!value.is_array()) throw RowProblem{str(cited(key), " is no list"), {}};
  return value;
}

namespace {

class MadeRows final : public Reader {
 public:
  MadeRows(Source& source, RowMaker make, std::vector<Column> columns)
      : Reader(source), columns_(std::move(columns)), make_(std::move(make)) {}

  // A line may be several rows, or depend on those before it.
  bool seek(size_t) override { return false; }

  bool next(Record& record) override {
    start(record);
    while (at_ == rows_.size()) {
      std::string_view line;
      if (!next_written_line(line)) return false;
      rows_.clear();
      at_ = 0;
      if (make_rows(line, record)) continue;
      record.line = line_;
      return true;
    }
    record.line = line_;
    for (const Column& column : columns_) {
      const std::string* cell = nullptr;
      for (const auto& [name, text] : rows_[at_])
        if (name == column.name) cell = &text;
      if (cell == nullptr) {
        std::vector<std::string> names;
        for (const auto& [name, text] : rows_[at_]) names.push_back(name);
        const std::string near = nearest(column.name, names);
        record.problem = str("no key ", cited(column.name));
        record.hint = near.empty() ? str("the layout's columns are ", join(names, ", "))
                                   : str("did you mean ", cited(near), "?");
        record.cells.clear();
        break;
      }
      record.cells.push_back(source_.keep(*cell));
    }
    ++at_;
    return true;
  }

 private:
  // False where the line cannot be used: the record then says why.
  bool make_rows(std::string_view line, Record& record) {
    if (line.size() > longest_record) {
      record.problem = "a line longer than 16 MB";
      return false;
    }
    if (!judge_encoding(line, record)) return false;
    const Json object = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!object.is_object()) {
      record.problem = object.is_discarded() ? "not valid JSON" : "not a JSON object";
      record.hint = "each line is one JSON object";
      return false;
    }
    try {
      rows_ = make_(object);
      return true;
    } catch (const RowProblem& problem) {
      record.problem = problem.what;
      record.hint = problem.hint;
      return false;
    }
  }

  std::vector<Column> columns_;
  RowMaker make_;
  std::vector<NamedCells> rows_;  // of the line that was read last
  size_t at_ = 0;
};

}  // namespace

std::unique_ptr<Reader> open_made_rows(Source& source, RowMaker rows, std::vector<Column> columns) {
  return std::make_unique<MadeRows>(source, std::move(rows), std::move(columns));
}

}  // namespace compress::data
