#include "compress/data/texts.h"

#include "compress/base/error.h"
#include "reader.h"

namespace compress::data {

namespace {

std::vector<Column> text_columns(const DatasetOptions& options) {
  std::vector<Column> columns = {{options.text}};
  if (!options.pair.empty()) columns.push_back({options.pair});
  return columns;
}

}  // namespace

struct TextReader::State {
  State(const DatasetOptions& options, const std::string& part)
      : source(split_file(options, part)),
        reader(open_reader(source, options, text_columns(options))) {}

  Source source;
  std::unique_ptr<Reader> reader;
  Record record;
};

TextReader::TextReader(const DatasetOptions& options, const std::string& part)
    : state_(std::make_unique<State>(options, part)) {}

TextReader::~TextReader() = default;

std::string TextReader::place(int64_t line) const {
  return state_->source.place(line);
}

bool TextReader::next(TextRow& row) {
  Record& record = state_->record;
  if (!state_->reader->next(record)) return false;
  if (!record.problem.empty())
    throw Error(ErrorKind::data, record.problem, state_->source.place(record.line), record.hint);
  row.line = record.line;
  row.text = record.cells[0];
  row.pair = record.cells.size() > 1 ? record.cells[1] : std::string_view();
  state_->source.forget();
  return true;
}

}  // namespace compress::data
