#include "rows.h"

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/text/batch.h"

namespace compress::data {

namespace {

// What a chunk holds at most: enough to keep many threads busy.
constexpr size_t most_rows = size_t{1} << 15;
constexpr size_t most_bytes = size_t{4} << 20;  // of text

Split without_rows(const Split& head) {
  Split split;
  split.name = head.name;
  split.file = head.file;
  split.task = head.task;
  split.labels = head.labels;
  return split;
}

}  // namespace

RowStream::RowStream(Source& source, const DatasetOptions& options,
                     const text::Tokenizer& tokenizer, const Split& head, int threads)
    : source_(source),
      tokenizer_(tokenizer),
      header_(options.header),
      pair_(layout_of(options).pair),
      max_length_(options.max_length),
      threads_(threads),
      wanted_(options.limit.value_or(std::numeric_limits<int64_t>::max())),
      chunk_(without_rows(head)),
      reader_(open_reader(source, options, layout_of(options).columns)),
      targets_(options, chunk_) {}

const Split* RowStream::next() {
  while (read()) {
    if (unusable_.any()) continue;
    tokenise();
    if (!empty_.any()) return &chunk_;
  }
  raise();
  return nullptr;
}

double RowStream::fraction() const {
  return 1 -
         static_cast<double>(reader_->bytes_left()) / static_cast<double>(source_.bytes().size());
}

bool RowStream::read() {
  for (Array<int32_t>* array : {&chunk_.ids, &chunk_.first_lengths, &chunk_.classes})
    array->clear();
  for (Array<float>* array : {&chunk_.values, &chunk_.soft}) array->clear();
  for (Array<int64_t>* array : {&chunk_.offsets, &chunk_.lines}) array->clear();
  first_.clear();
  second_.clear();
  source_.forget();
  size_t bytes = 0;
  while (first_.size() < most_rows && bytes < most_bytes && rows_ < wanted_ &&
         reader_->next(record_)) {
    ++rows_;
    if (!record_.problem.empty()) {
      unusable_.add(record_.line, record_.problem, record_.hint);
      continue;
    }
    chunk_.lines.push_back(record_.line);
    first_.push_back(record_.cells[0]);
    bytes += first_.back().size();
    if (pair_) {
      second_.push_back(record_.cells[1]);
      bytes += second_.back().size();
    }
    targets_.row(record_, unusable_);
  }
  return !first_.empty();
}

void RowStream::tokenise() {
  text::EncodeOptions how;
  how.max_length = max_length_;
  text::PackedIds packed;
  try {
    packed = text::encode_all(tokenizer_, first_, second_, how, threads_);
  } catch (const Error&) {
    find_refused(how);
    throw;
  }
  chunk_.ids = std::move(packed.ids);
  chunk_.offsets = std::move(packed.offsets);
  chunk_.first_lengths.edit().assign(packed.first_lengths.begin(), packed.first_lengths.end());
  for (int64_t row = 0; row < chunk_.rows(); ++row)
    if (chunk_.length(row) == 0)
      empty_.add(chunk_.lines[row], "the text has no tokens", "remove rows without text");
}

void RowStream::find_refused(const text::EncodeOptions& how) const {
  text::Encoding encoding;
  for (size_t row = 0; row < first_.size(); ++row) {
    std::optional<std::string_view> second;
    if (pair_) second = second_[row];
    try {
      tokenizer_.encode(first_[row], second, how, encoding);
    } catch (const Error& error) {
      throw Error(error.kind(), error.message(), source_.place(chunk_.lines[row]), error.hint());
    }
  }
}

void RowStream::raise() const {
  unusable_.raise(source_, rows_);
  if (rows_ == 0)
    throw Error(
        ErrorKind::data, "the data file has no rows", source_.file().string(),
        header_ ? "its first row was read as the header; `header: false` if it is data" : "");
  empty_.raise(source_, rows_);
}

}  // namespace compress::data
