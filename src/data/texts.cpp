#include "compress/data/texts.h"

#include <limits>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "files/annotated.h"
#include "tasks/task.h"

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
        reader(open_reader(source, options, text_columns(options))),
        skips_bad(skips_bad_rows(options)) {}

  Source source;
  std::unique_ptr<Reader> reader;
  bool skips_bad;
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
  do {
    if (!state_->reader->next(record)) return false;
  } while (state_->skips_bad && !record.problem.empty());
  if (!record.problem.empty())
    throw Error(ErrorKind::data, record.problem, state_->source.place(record.line), record.hint);
  row.line = record.line;
  row.text = record.cells[0];
  row.pair = record.cells.size() > 1 ? record.cells[1] : std::string_view();
  state_->source.forget();
  return true;
}

void read_texts(const DatasetOptions& options, const std::string& split,
                const std::function<void(std::string_view)>& take) {
  if (options.train_limit) return read_texts(part_options(options, split), split, take);
  const Layout layout = layout_of(options);
  const bool tagged = kind_of(options).text_kind() == CellKind::words;
  Source source(split_file(options, split));
  const std::unique_ptr<Reader> reader = open_reader(source, options, layout.columns);
  const int64_t wanted = options.limit.value_or(std::numeric_limits<int64_t>::max());
  BadRows bad;
  Record record;
  int64_t rows = 0;
  while (rows < wanted && reader->next(record)) {
    ++rows;
    if (!record.problem.empty()) {
      bad.add(record.line, record.problem, record.hint);
      continue;
    }
    for (size_t cell = 0; cell < layout.targets && cell < record.cells.size(); ++cell) {
      if (!tagged) {
        take(record.cells[cell]);
        continue;
      }
      std::string words;
      for (std::string_view word : list_items(record.cells[cell]))
        words += (words.empty() ? "" : " ") + std::string(word);
      take(words);
    }
    source.forget();
  }
  if (!skips_bad_rows(options)) bad.raise(source, rows);
}

}  // namespace compress::data
