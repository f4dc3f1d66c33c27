#include "files/subset.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "compress/base/error.h"
#include "compress/base/random.h"
#include "compress/base/strings.h"

namespace compress::data {

namespace {

constexpr uint64_t largest_index = uint64_t{1} << 30;  // bytes

std::string numbers_of(const std::string& file) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(file, ignored))
    throw Error(ErrorKind::data, "there is no such file of row numbers", file,
                "`subset.file` names a file of numbers, one a line");
  return read_file(file, largest_index);
}

// Row numbers in rising order, each once.
std::vector<int64_t> from_file(const std::string& file) {
  const std::string text = numbers_of(file);
  Lines lines(text);
  std::vector<int64_t> rows;
  for (std::string_view line; lines.next(line);) {
    line = trim(line);
    if (line.empty()) continue;
    int64_t row = 0;
    auto [end, failed] = std::from_chars(line.data(), line.data() + line.size(), row);
    if (failed != std::errc() || end != line.data() + line.size() || row < 0)
      throw Error(ErrorKind::data, str(cited(line), " is no number of a row"),
                  str(file, ":", lines.number()), "rows are counted from 0, one number a line");
    rows.push_back(row);
  }
  if (rows.empty()) throw Error(ErrorKind::data, "the file names no row", file);
  std::sort(rows.begin(), rows.end());
  if (const auto twice = std::adjacent_find(rows.begin(), rows.end()); twice != rows.end())
    throw Error(ErrorKind::data, str("row ", *twice, " is named twice"), file);
  return rows;
}

// Of each class the rows with the lowest hashes of their numbers: a larger fraction holds the rows
// of a smaller one.
std::vector<int64_t> drawn(const DatasetOptions& options) {
  const SubsetOptions& subset = *options.subset;
  DatasetOptions whole = options;
  whole.subset.reset();
  Source source(options.train.file, Examine::done_before);
  std::vector<Column> columns;
  if (!options.label.empty() && options.task == DatasetOptions().task)
    columns.push_back({options.label, false});
  const bool classes = !columns.empty();
  if (!classes) columns.push_back({options.text, false});
  auto reader = open_reader(source, whole, std::move(columns));
  std::map<std::string, std::vector<std::pair<uint64_t, int64_t>>, std::less<>> rows;
  Record record;
  for (int64_t row = 0; reader->next(record); ++row) {
    if (record.problem.empty()) {
      const std::string_view name = classes ? trim(record.cells[0]) : std::string_view();
      auto found = rows.find(name);
      if (found == rows.end()) found = rows.emplace(std::string(name), 0).first;
      found->second.emplace_back(
          stream_seed(static_cast<uint64_t>(subset.seed), "subset", static_cast<uint64_t>(row)),
          row);
    }
    source.forget();
  }
  std::vector<int64_t> chosen;
  for (auto& [name, list] : rows) {
    std::sort(list.begin(), list.end());
    const auto all = static_cast<int64_t>(list.size());
    const int64_t count =
        subset.per_class ? std::min(all, *subset.per_class)
                         : std::clamp<int64_t>(
                               std::llround(static_cast<double>(all) * *subset.fraction), 1, all);
    for (int64_t i = 0; i < count; ++i) chosen.push_back(list[static_cast<size_t>(i)].second);
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

class Subset final : public Reader {
 public:
  Subset(Source& source, std::unique_ptr<Reader> reader, std::vector<int64_t> rows,
         std::string index)
      : Reader(source),
        reader_(std::move(reader)),
        rows_(std::move(rows)),
        index_(std::move(index)) {}

  bool next(Record& record) override {
    while (reader_->next(record)) {
      const bool wanted = next_ < rows_.size() && rows_[next_] == row_;
      if (wanted) ++next_;
      ++row_;
      blank_lines_ = reader_->blank_lines();
      left_ = left_.substr(left_.size() - std::min(left_.size(), reader_->bytes_left()));
      if (wanted || (!record.problem.empty() && index_.empty())) return true;
      if (next_ == rows_.size() && !index_.empty()) break;
    }
    if (next_ < rows_.size() && !index_.empty())
      throw Error(ErrorKind::data,
                  str("row ", rows_[next_], " is named, and ", source_.file().string(), " has ",
                      with_commas(row_), " rows"),
                  index_, "rows are counted from 0");
    return false;
  }

  // Rows are told by their numbers, which are counted from the beginning.
  bool seek(size_t) override { return false; }

 private:
  std::unique_ptr<Reader> reader_;
  std::vector<int64_t> rows_;
  std::string index_;  // the file that names them, or ""
  size_t next_ = 0;
  int64_t row_ = 0;
};

}  // namespace

std::unique_ptr<Reader> open_subset(Source& source, const DatasetOptions& options,
                                    std::unique_ptr<Reader> reader) {
  const std::string& index = options.subset->file;
  return std::make_unique<Subset>(source, std::move(reader),
                                  index.empty() ? drawn(options) : from_file(index), index);
}

std::string subset_identity(const DatasetOptions& options) {
  const SubsetOptions& subset = *options.subset;
  if (!subset.file.empty()) return "rows " + sha256(numbers_of(subset.file));
  return str("drawn ", subset.fraction ? shortest(*subset.fraction) : "", " ",
             subset.per_class.value_or(0), " ", subset.seed);
}

}  // namespace compress::data
