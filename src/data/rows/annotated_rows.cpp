// Rows of tagged words, and of questions with passages.

#include <algorithm>
#include <charconv>
#include <exception>
#include <functional>
#include <limits>
#include <thread>
#include <type_traits>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/data/passages.h"
#include "files/annotated.h"
#include "files/fingerprint.h"
#include "rows/row_stream.h"

namespace compress::data {

namespace {

// Calls work(i) for i < count in some threads, each a run of neighbours, and throws the first error
// in their order.
void in_threads(size_t count, int threads, const std::function<void(size_t)>& work) {
  const size_t wanted = threads > 0 ? static_cast<size_t>(threads)
                                    : std::max(1u, std::thread::hardware_concurrency());
  const size_t shares = std::clamp<size_t>(count / 64, 1, wanted);
  std::vector<std::exception_ptr> failures(shares);
  auto run = [&](size_t part) {
    try {
      for (size_t i = count * part / shares; i < count * (part + 1) / shares; ++i) work(i);
    } catch (...) {
      failures[part] = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> pool;
    for (size_t part = 1; part < shares; ++part) pool.emplace_back(run, part);
    run(0);
  }
  for (const std::exception_ptr& failure : failures)
    if (failure) std::rethrow_exception(failure);
}

// Work on the text of a row, whose place is in the error.
template <class Work>
void at_place(const std::string& place, const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    throw Error(error.kind(), error.message(), place, error.hint());
  }
}

// A question's answers: the first one's place in the passage, none for a question without answer.
struct Asked {
  Windows windows;
  AnswerPlace answer;
  std::string problem, hint;
};

Asked ask(const DatasetOptions& options, const text::Tokenizer& tokenizer,
          std::string_view question, std::string_view passage, std::string_view answers,
          std::string_view places) {
  Asked asked;
  asked.windows = cut_passage(tokenizer, question, passage, options.max_length, options.stride);
  asked.problem = asked.windows.problem;
  asked.hint = asked.windows.hint;
  const std::vector<std::string_view> texts = list_items(answers), starts = list_items(places);
  if (texts.empty() || !asked.problem.empty()) return asked;
  int64_t start = -1;
  if (!starts.empty()) {
    const std::string_view number = trim(starts[0]);
    auto [end, failed] = std::from_chars(number.data(), number.data() + number.size(), start);
    if (failed != std::errc() || end != number.data() + number.size() || start < 0) {
      asked.problem = str("the answer's place ", cited(number), " is not a number from 0");
      return asked;
    }
  }
  asked.answer = find_answer(passage, texts[0], start);
  if (!asked.answer.found) {
    asked.problem = str("the answer ", cited(texts[0]), " is not in the passage",
                        start < 0 ? "" : str(" at character ", start));
    asked.hint = "places count characters, not bytes, from 0";
  }
  return asked;
}

// First and last token of the answer inside a window; the row's first token where it has none.
std::pair<int32_t, int32_t> span_in(const Windows& windows, size_t window,
                                    const AnswerPlace& answer) {
  if (!answer.found) return {0, 0};
  const auto& ranges = windows.ranges;
  const auto first = std::find_if(ranges.begin(), ranges.end(),
                                  [&](const auto& range) { return range.end > answer.begin; });
  const auto behind = std::find_if(first, ranges.end(),
                                   [&](const auto& range) { return range.begin >= answer.end; });
  const int64_t from = first - ranges.begin() - windows.starts[window],
                to = behind - ranges.begin() - 1 - windows.starts[window];
  if (from < 0 || to < from || to >= windows.count(window)) return {0, 0};
  const auto front = static_cast<int32_t>(windows.front.size());
  return {front + static_cast<int32_t>(from), front + static_cast<int32_t>(to)};
}

void add_window(const Windows& windows, size_t window, const AnswerPlace& answer, int64_t line,
                Split& chunk) {
  const int64_t begin = windows.starts[window], count = windows.count(window);
  chunk.ids.append(windows.front);
  chunk.ids.append(
      std::span(windows.passage).subspan(static_cast<size_t>(begin), static_cast<size_t>(count)));
  chunk.ids.append(windows.back);
  const auto total = static_cast<int64_t>(chunk.ids.size());
  const int64_t length = total - chunk.offsets.back();
  chunk.offsets.push_back(total);
  chunk.first_lengths.push_back(static_cast<int32_t>(std::min(windows.first_length, length)));
  chunk.lines.push_back(line);
  const auto [first, last] = span_in(windows, window, answer);
  chunk.spans.push_back(first);
  chunk.spans.push_back(last);
}

}  // namespace

void RowStream::tokenise_words() {
  std::vector<TaggedRow> rows(first_.size());
  in_threads(rows.size(), threads_, [&](size_t i) {
    at_place(source_.place(chunk_.lines[i]), [&] {
      rows[i] = tag_tokens(tokenizer_, list_items(first_[i]), targets_.words()[i], max_length_);
    });
  });
  chunk_.offsets = {0};
  std::vector<bool> lacking(rows.size(), false);
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].ids.empty()) {
      empty_.add(chunk_.lines[i], "the text has no tokens", "remove rows without text");
      lacking[i] = skips_bad_;
      if (skips_bad_) continue;
    }
    chunk_.ids.append(rows[i].ids);
    chunk_.token_classes.append(rows[i].classes);
    chunk_.offsets.push_back(static_cast<int64_t>(chunk_.ids.size()));
    chunk_.first_lengths.push_back(static_cast<int32_t>(rows[i].first_length));
  }
  text::PackedIds none;
  none.offsets.assign(rows.size() + 1, 0);
  none.first_lengths.assign(rows.size(), 0);
  if (skips_bad_) drop_rows(none, lacking, chunk_);  // of what else the chunk holds of rows
}

void RowStream::tokenise_passages() {
  std::vector<Asked> rows(first_.size());
  in_threads(rows.size(), threads_, [&](size_t i) {
    at_place(source_.place(chunk_.lines[i]), [&] {
      rows[i] = ask(options_, tokenizer_, first_[i], second_[i], answers_[i], places_[i]);
    });
  });
  const std::vector<int64_t> lines = chunk_.lines.edit(), groups = chunk_.groups.edit();
  const std::vector<float> weights = chunk_.weights.edit();
  chunk_.lines.clear();
  chunk_.groups.clear();
  chunk_.weights.clear();
  chunk_.offsets = {0};
  for (size_t i = 0; i < rows.size(); ++i) {
    if (!rows[i].problem.empty()) unusable_.add(lines[i], rows[i].problem, rows[i].hint);
    if (!rows[i].problem.empty() && skips_bad_) continue;
    for (size_t window = 0; window < rows[i].windows.starts.size(); ++window) {
      add_window(rows[i].windows, window, rows[i].answer, lines[i], chunk_);
      if (!weights.empty()) chunk_.weights.push_back(weights[i]);
      if (!groups.empty()) chunk_.groups.push_back(groups[i]);
    }
  }
}

std::string Passages::text_of(int64_t row, int64_t first, int64_t last) const {
  const Window& window = windows.at(static_cast<size_t>(row));
  const Example& example = examples.at(static_cast<size_t>(window.example));
  auto range = [&](int64_t token) {
    return example.tokens.at(static_cast<size_t>(token - window.begin + window.first));
  };
  const size_t begin = range(first).begin, end = range(last).end;
  return std::string(trim(std::string_view(example.text).substr(begin, end - begin)));
}

namespace {

void check_same(const Split& split, const PassageSource& from, bool rows) {
  const DatasetOptions& options = from.options;
  if (rows && fingerprint(split.file, cache_folder(options, split.file)).sha256 == from.sha256)
    return;
  throw Error(ErrorKind::data, "the data file was changed after it was read", split.file.string(),
              "run again when nothing writes to it");
}

Passages read_passages(const Split& split, const PassageSource& from,
                       const text::Tokenizer& tokenizer) {
  const DatasetOptions& options = from.options;
  Source source(split.file);
  auto reader = open_reader(source, options, layout_of(options).columns);
  const bool squad = format_of(options, split.file) == Format::squad;
  Passages passages;
  Record record;
  const int64_t rows = options.limit.value_or(std::numeric_limits<int64_t>::max());
  const bool placed = layout_of(options).places;
  while (static_cast<int64_t>(passages.examples.size()) < rows && reader->next(record)) {
    if (!record.problem.empty()) continue;
    Asked asked = ask(options, tokenizer, record.cells[0], record.cells[1], record.cells[2],
                      placed ? record.cells[3] : std::string_view());
    if (!asked.problem.empty()) continue;  // as load_split() with `bad_rows: skip`
    const Windows& windows = asked.windows;
    for (size_t i = 0; i < windows.starts.size(); ++i)
      passages.windows.push_back({static_cast<int64_t>(passages.examples.size()),
                                  static_cast<int64_t>(windows.front.size()), windows.starts[i],
                                  windows.count(i)});
    Passages::Example& example = passages.examples.emplace_back();
    example.id = squad ? std::string(record.cells[4]) : str(record.line);
    example.text = record.cells[1];
    example.tokens = std::move(asked.windows.ranges);
    for (std::string_view answer : list_items(record.cells[2]))
      example.answers.emplace_back(answer);
    source.forget();
  }
  check_same(split, from, static_cast<int64_t>(passages.windows.size()) == split.rows());
  return passages;
}

// What `take` makes of each row's record, in a file that is read again with these columns. The rows
// of a split are those of its file without the ones that were left out.
template <class Take>
auto read_again(const Split& split, std::vector<Column> columns, const Take& take) {
  Source source(split.file);
  auto reader = open_reader(source, split.passages->options, std::move(columns));
  std::vector<std::invoke_result_t<Take, const Record&>> rows;
  Record record;
  while (static_cast<int64_t>(rows.size()) < split.rows() && reader->next(record)) {
    if (record.line == split.lines[rows.size()] && record.problem.empty())
      rows.push_back(take(record));
    source.forget();
  }
  check_same(split, *split.passages, static_cast<int64_t>(rows.size()) == split.rows());
  return rows;
}

}  // namespace

const Passages& passages_of(const Split& split, const text::Tokenizer& tokenizer) {
  if (!split.passages)
    throw Error(ErrorKind::internal, "the passages of a split that was not read from a file");
  PassageSource& source = *split.passages;
  std::call_once(source.once, [&] { source.passages = read_passages(split, source, tokenizer); });
  return source.passages;
}

bool has_candidates(const Split& split) {
  return split.passages && !split.passages->options.candidate.empty();
}

std::vector<std::string> candidates_of(const Split& split) {
  const DatasetOptions& options = split.passages->options;
  std::vector<Column> columns = layout_of(options).columns;
  const auto known = std::ranges::find(columns, options.candidate, &Column::name);
  const auto at = static_cast<size_t>(known - columns.begin());
  if (known == columns.end()) columns.push_back({options.candidate, false});
  return read_again(split, std::move(columns),
                    [at](const Record& record) { return std::string(record.cells[at]); });
}

std::vector<std::vector<std::string>> references_of(const Split& split) {
  if (!split.passages)
    throw Error(ErrorKind::internal, "the references of a split that was not read from a file");
  const DatasetOptions& options = split.passages->options;
  const Layout layout = layout_of(options);
  return read_again(split, layout.columns, [&](const Record& record) {
    std::vector<std::string> accepted;
    auto accept = [&](std::string_view cell) {
      for (const std::string_view text : list_items(cell)) accepted.emplace_back(text);
    };
    accept(record.cells[1]);
    for (size_t i = 0; i < options.references.size(); ++i)
      accept(record.cells[layout.references + i]);
    return accepted;
  });
}

}  // namespace compress::data
