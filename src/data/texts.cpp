#include "compress/data/texts.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/data/mixture.h"
#include "files/annotated.h"
#include "files/fingerprint.h"
#include "tasks/task.h"

namespace compress::data {

namespace {

std::vector<Column> text_columns(const DatasetOptions& options,
                                 const std::vector<std::string>& others) {
  std::vector<Column> columns = {{options.text}};
  if (!options.pair.empty()) columns.push_back({options.pair});
  for (const std::string& name : others) columns.push_back({name, /*is_text=*/false});
  return columns;
}

}  // namespace

struct TextReader::State {
  State(const DatasetOptions& options, const std::string& part,
        const std::vector<std::string>& others)
      : source(split_file(options, part)),
        reader(open_reader(source, part_options(options, part), text_columns(options, others))),
        texts(options.pair.empty() ? 1 : 2),
        skips_bad(skips_bad_rows(options)) {}

  Source source;
  std::unique_ptr<Reader> reader;
  size_t texts;
  bool skips_bad;
  Record record;
};

TextReader::TextReader(const DatasetOptions& options, const std::string& part,
                       const std::vector<std::string>& others)
    : state_(std::make_unique<State>(options, part, others)) {}

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
  row.pair = state_->texts > 1 ? record.cells[1] : std::string_view();
  row.others.assign(record.cells.begin() + static_cast<std::ptrdiff_t>(state_->texts),
                    record.cells.end());
  state_->source.forget();
  return true;
}

namespace {

// Gives the texts of a record to `take`.
void take_record(const Record& record, const Layout& layout, CellKind kind,
                 const std::function<void(std::string_view)>& take) {
  for (size_t cell = 0; cell < layout.targets && cell < record.cells.size(); ++cell) {
    // Of a list of accepted texts the first one counts.
    if (kind == CellKind::one || cell > 0) {
      take(record.cells[cell].substr(0, record.cells[cell].find(list_separator)));
      continue;
    }
    std::string words;
    for (std::string_view item : list_items(record.cells[cell])) {
      if (kind == CellKind::texts) take(item);
      words += (words.empty() ? "" : " ") + std::string(item);
    }
    if (kind == CellKind::words) take(words);
  }
}

}  // namespace

// The open file, and where its records lie.
struct RowTexts::State {
  State(const DatasetOptions& options, const std::string& part)
      : layout(layout_of(options)),
        kind(kind_of(options).text_kind()),
        source(split_file(options, part)) {
    open(options);
    size_t left = reader->bytes_left();
    seeks = reader->seek(left);
    while (seeks && reader->next(record)) {
      places.emplace_back(record.line, left);
      left = reader->bytes_left();
      source.forget();
    }
  }

  void open(const DatasetOptions& options) {
    reader = open_reader(source, options, layout.columns);
    record.line = 0;
  }

  // Reads the record on `line`; false where there is none.
  bool find(const DatasetOptions& options, int64_t line) {
    source.forget();
    if (seeks) {
      const auto place =
          std::lower_bound(places.begin(), places.end(), line,
                           [](const auto& each, int64_t wanted) { return each.first < wanted; });
      return place != places.end() && place->first == line && reader->seek(place->second) &&
             reader->next(record);
    }
    if (record.line >= line) open(options);
    while (reader->next(record)) {
      if (record.line == line) return true;
      source.forget();
    }
    return false;
  }

  const Layout layout;
  const CellKind kind;
  Source source;
  std::unique_ptr<Reader> reader;
  Record record;
  bool seeks = true;  // the reader; else records are counted from the beginning
  std::vector<std::pair<int64_t, size_t>> places;  // line, and bytes from there to the file's end
};

RowTexts::RowTexts(DatasetOptions options, std::string part, std::string sha256)
    : options_(std::move(options)), part_(std::move(part)), sha256_(std::move(sha256)) {}
RowTexts::~RowTexts() = default;

std::vector<std::string> RowTexts::at(int64_t line) {
  const std::lock_guard lock(mutex_);
  bool same = true;
  if (!state_) {
    auto state = std::make_unique<State>(options_, part_);
    const std::filesystem::path& file = state->source.file();
    same = fingerprint(file, cache_folder(options_, file)).sha256 == sha256_;
    if (same) state_ = std::move(state);
  }
  if (!same || !state_->find(options_, line) || !state_->record.problem.empty())
    throw Error(ErrorKind::data, "the data file was changed after it was read",
                str(split_file(options_, part_).string(), ":", line),
                "run again when nothing writes to it");
  std::vector<std::string> texts;
  take_record(state_->record, state_->layout, state_->kind,
              [&](std::string_view text) { texts.emplace_back(text); });
  return texts;
}

std::vector<std::string> texts_of_row(const Split& split, int64_t row) {
  if (split.mixture != nullptr) {
    const Mixture::Place at = split.mixture->at(row);
    return texts_of_row(*split.mixture->sources[at.source].split, at.row);
  }
  if (split.row_texts == nullptr)
    throw Error(ErrorKind::internal, "the texts of a split that was not read from a file");
  return split.row_texts->at(split.lines[static_cast<size_t>(row * split.choices)]);
}

void read_texts(const DatasetOptions& options, const std::string& split,
                const std::function<void(std::string_view)>& take) {
  if (differ_by_part(options, split)) return read_texts(part_options(options, split), split, take);
  const Layout layout = layout_of(options);
  const CellKind kind = kind_of(options).text_kind();
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
    take_record(record, layout, kind, take);
    source.forget();
  }
  if (!skips_bad_rows(options)) bad.raise(source, rows);
}

}  // namespace compress::data
