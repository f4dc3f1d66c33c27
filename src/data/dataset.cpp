#include "compress/data/dataset.h"

#include <limits>

#include "compress/base/error.h"
#include "compress/base/hash.h"
#include "compress/base/strings.h"
#include "compress/text/batch.h"
#include "labels.h"

namespace compress::data {

namespace {

// What one pass over the file collects besides the targets. The views are of the source.
struct Texts {
  std::vector<std::string_view> first, second;
};

Texts read_rows(Source& source, const DatasetOptions& options, Split& split) {
  Layout layout = layout_of(options);
  auto reader = open_reader(source, options, layout.columns);
  TargetReader targets(options, split);
  Texts texts;
  BadRows bad;
  Record record;
  auto wanted = options.limit.value_or(std::numeric_limits<int64_t>::max());
  while (static_cast<int64_t>(split.lines.size()) < wanted && reader->next(record)) {
    split.lines.push_back(record.line);
    if (!record.problem.empty()) {
      bad.add(record.line, record.problem, record.hint);
      continue;
    }
    texts.first.push_back(record.cells[0]);
    if (layout.pair) texts.second.push_back(record.cells[1]);
    targets.row(record, bad);
  }
  split.blank_lines = reader->blank_lines();
  bad.raise(source, static_cast<int64_t>(split.lines.size()));
  if (split.lines.empty())
    throw Error(ErrorKind::data, "the data file has no rows", source.file().string(),
                options.header
                    ? "its first row was read as the header; `header: false` if it is data"
                    : "");
  return texts;
}

void tokenise(const Source& source, const Texts& texts, const text::Tokenizer& tokenizer,
              int64_t max_length, int threads, Split& split) {
  text::EncodeOptions options;
  options.max_length = max_length;
  text::PackedIds packed = text::encode_all(tokenizer, texts.first, texts.second, options, threads);
  split.ids = std::move(packed.ids);
  split.offsets = std::move(packed.offsets);
  split.first_lengths.assign(packed.first_lengths.begin(), packed.first_lengths.end());
  BadRows bad;
  for (int64_t row = 0; row < split.rows(); ++row)
    if (split.length(row) == 0)
      bad.add(split.lines[row], "the text has no tokens", "remove rows without text");
  bad.raise(source, split.rows());
}

void update(Sha256& hash, std::string_view part) {
  hash.update(str(part.size(), ":"));  // so that parts cannot run into each other
  hash.update(part);
}

void update(Sha256& hash, const std::vector<std::string>& parts) {
  update(hash, str(parts.size()));
  for (const std::string& part : parts) update(hash, part);
}

std::string identity(const Source& source, const DatasetOptions& options) {
  Format format = format_of(options, source.file());
  bool quoting = options.quoting.value_or(format == Format::csv);
  Sha256 hash;
  update(hash, sha256(source.bytes()));
  update(hash, {options.text, options.pair, options.label, options.task});
  update(hash, options.labels);
  update(hash, options.soft_labels);
  update(hash, str(static_cast<int>(format), " ", options.header, " ", quoting, " ",
                   options.max_length, " ", options.limit.value_or(-1)));
  return hash.hex();
}

std::string content_identity(const Source& source, const DatasetOptions& options,
                             const Split& split, const text::Tokenizer& tokenizer) {
  Sha256 hash;
  update(hash, identity(source, options));
  update(hash, tokenizer.hash());
  update(hash, split.labels);
  return hash.hex();
}

}  // namespace

std::string Split::place(int64_t row) const {
  return str(file.string(), ":", lines[row]);
}

Split load_split(const DatasetOptions& options, const std::string& name,
                 const text::Tokenizer& tokenizer, const std::vector<std::string>& labels,
                 int threads) {
  Split split;
  split.name = name;
  split.file = split_file(options, name);
  split.task = task_of(options);
  Source source(split.file);
  if (split.task == Task::classification)
    split.labels = labels.empty() ? label_names(options) : labels;
  Texts texts = read_rows(source, options, split);
  tokenise(source, texts, tokenizer, options.max_length, threads, split);
  split.content_hash = content_identity(source, options, split, tokenizer);
  return split;
}

std::string source_hash(const DatasetOptions& options, const std::string& name) {
  return identity(Source(split_file(options, name)), options);
}

int64_t count_rows(const DatasetOptions& options, const std::string& name) {
  Source source(split_file(options, name));
  auto reader = open_reader(source, options, {});
  Record record;
  int64_t rows = 0;
  while (rows < options.limit.value_or(std::numeric_limits<int64_t>::max()) && reader->next(record))
    ++rows;
  return rows;
}

}  // namespace compress::data
