#include "compress/data/dataset.h"

#include <algorithm>
#include <limits>
#include <unordered_map>

#include "compose/components.h"
#include "compress/base/error.h"
#include "compress/base/hash.h"
#include "compress/base/log.h"
#include "compress/base/strings.h"
#include "compress/data/classes.h"
#include "compress/data/mixture.h"
#include "compress/data/passages.h"
#include "compress/data/texts.h"
#include "files/reader.h"
#include "files/subset.h"
#include "layouts/layout.h"
#include "rows/row_stream.h"
#include "tasks/task.h"
#include "tokens/token_cache.h"
#include "tokens/token_layout.h"

namespace compress::data {

namespace {

template <class T>
void join_arrays(Array<T> Split::*member, const std::vector<Split>& parts, Split& split) {
  size_t total = 0;
  for (const Split& part : parts) total += (part.*member).size();
  (split.*member).edit().reserve(total);
  for (const Split& part : parts) (split.*member).append(part.*member);
}

void load_into_memory(Source& source, const DatasetOptions& options,
                      const text::Tokenizer& tokenizer, int threads, Split& split) {
  RowStream rows(source, options, tokenizer, split, threads);
  std::vector<Split> parts;
  int64_t count = 0;
  while (const Split* part = rows.next()) {
    parts.push_back(*part);
    count += part->texts();
  }
  split.blank_lines = rows.blank_lines();
  split.empty_rows = rows.empty_rows();
  split.skipped = rows.skipped();
  join_arrays(&Split::ids, parts, split);
  join_arrays(&Split::first_lengths, parts, split);
  join_arrays(&Split::classes, parts, split);
  join_arrays(&Split::token_classes, parts, split);
  join_arrays(&Split::spans, parts, split);
  join_arrays(&Split::values, parts, split);
  join_arrays(&Split::soft, parts, split);
  join_arrays(&Split::lines, parts, split);
  join_arrays(&Split::weights, parts, split);
  join_arrays(&Split::groups, parts, split);
  std::vector<int64_t>& offsets = split.offsets.edit();
  offsets.reserve(static_cast<size_t>(count) + 1);
  offsets.push_back(0);
  for (const Split& part : parts) {
    const int64_t before = offsets.back();
    for (int64_t row = 1; row <= part.texts(); ++row) offsets.push_back(before + part.offsets[row]);
  }
}

std::string identity(const std::string& content, const std::filesystem::path& file,
                     const DatasetOptions& options) {
  Format format = format_of(options, file);
  bool quoting = options.quoting.value_or(format == Format::csv);
  IdentityHash hash;
  hash.add(str("readers ", token_file_version));
  hash.add(content);
  hash.add({options.text, options.pair, options.label, options.task});
  hash.add(options.labels);
  hash.add(options.soft_labels);
  hash.add(str(static_cast<int>(format), " ", options.header, " ", quoting, " ", options.max_length,
               " ", options.limit.value_or(-1)));
  if (!options.skip_labels.empty()) {
    hash.add("skip");
    hash.add(options.skip_labels);
  }
  for (const auto& [name, column] :
       {std::pair("weight", &options.weight), {"group", &options.group}})
    if (!column->empty()) hash.add({name, *column});
  if (options.ragged) hash.add("ragged");
  if (!options.id.empty()) hash.add({"id", options.id});
  if (!options.bad_rows.empty()) hash.add({"bad rows", options.bad_rows});
  if (options.subset && file == options.train.file) hash.add({"subset", subset_identity(options)});
  if (options.held_out) {
    hash.add(options.held_out->part == "test" ? "held out, alone" : "held out");
    hash.add(options.held_out->column);
    hash.add(options.held_out->values);
  }
  // What nested JSON becomes is the layout's to say.
  if (const PublishedLayout* layout = find_layout(options.layout); layout && layout->makes_rows())
    hash.add({"layout", options.layout, row_identity(*layout, options)});
  kind_of(options).identify(options, hash);
  return hash.hex();
}

// Fills the split from the cache in `folder`; false, and the split as it was, where `auto` may not
// write there.
bool read_from_cache(const std::filesystem::path& folder, const Fingerprint& source,
                     const DatasetOptions& options, const text::Tokenizer& tokenizer, int threads,
                     Split& split) {
  try {
    load_cached(folder, options, tokenizer, source, threads, split);
    return true;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::disk || options.cache != "auto") throw;
    log::warn(str("tokenised rows stay in memory: ", error.what()));
    return false;
  }
}

// Fills the split with the rows of its file: from the cache, where there is a folder for one.
void read_rows(const std::optional<std::filesystem::path>& folder, const Fingerprint& source,
               const DatasetOptions& options, const text::Tokenizer& tokenizer, int threads,
               Split& split) {
  if (folder && read_from_cache(*folder, source, options, tokenizer, threads, split)) return;
  Source text(split.file, Examine::done_before);
  load_into_memory(text, options, tokenizer, threads, split);
}

std::string content_identity(const std::string& content, const DatasetOptions& options,
                             const Split& split, const text::Tokenizer& tokenizer) {
  IdentityHash hash;
  hash.add(identity(content, split.file, options));
  hash.add(tokenizer.hash());
  hash.add(split.labels);
  if (reads_on(split.task) && options.append_end) hash.add(str(tokenizer.special_ids().eos));
  return hash.hex();
}

// The tokens of each class's answer, as a row's target has them.
void read_options(const DatasetOptions& options, const text::Tokenizer& tokenizer, Split& split) {
  const int32_t end = options.append_end ? tokenizer.special_ids().eos : -1;
  for (const std::string& label : split.labels) {
    text::EncodeOptions how;
    how.add_special_tokens = false;
    how.max_length = options.max_target_length;
    const std::string_view answer = kind_of(options).answer_of(options, label);
    text::PackedIds packed = text::encode_all(tokenizer, std::vector{answer}, {}, how, 1);
    if (packed.ids.empty())
      throw Error(ErrorKind::data, str("the answer ", cited(answer), " has no tokens"),
                  split.file.string(), "give each class a text in `verbalizer`");
    if (end >= 0) append_token(packed, end, options.max_target_length);
    split.options.push_back(std::move(packed.ids));
  }
  split.option_mean = options.option_score == "mean";
}

// Groups of a classifier's rows in which no row has the positive class.
void refuse_groups_without_positive(const Split& split) {
  const int64_t positive = positive_class(split.labels, split.positive);
  if (split.groups.empty() || split.classes.empty() || positive < 0) return;
  std::unordered_map<int64_t, std::pair<int64_t, bool>> groups;  // first row, has a positive one
  for (int64_t row = 0; row < split.texts(); ++row) {
    auto& [first, found] = groups.try_emplace(split.groups[row], row, false).first->second;
    found = found || split.classes[row] == positive;
  }
  std::vector<int64_t> rows;
  for (const auto& [group, state] : groups)
    if (!state.second) rows.push_back(state.first);
  if (rows.empty()) return;
  std::sort(rows.begin(), rows.end());
  std::string list;
  for (size_t i = 0; i < rows.size() && i < 5; ++i)
    list += "\n    the group of " + split.place(rows[i]);
  if (rows.size() > 5)
    list += str("\n    and ", with_commas(static_cast<int64_t>(rows.size()) - 5), " more");
  throw Error(ErrorKind::data,
              str(with_commas(static_cast<int64_t>(rows.size())), " of ",
                  with_commas(static_cast<int64_t>(groups.size())), " groups have no row of class ",
                  cited(split.labels[static_cast<size_t>(positive)]), ":", list),
              split.place(rows[0]),
              "without `bad_rows: refuse`, metrics that rank leave such groups out");
}

// Warns where nearly all rows that a limit has left are of one class.
void warn_of_one_class(const Split& split) {
  const size_t rows = split.classes.size();
  if (rows < 20 || split.labels.size() < 2) return;
  std::vector<int64_t> counts(split.labels.size());
  for (const int32_t label : split.classes)
    if (label >= 0) ++counts[static_cast<size_t>(label)];
  const auto most = std::max_element(counts.begin(), counts.end());
  const double share = static_cast<double>(*most) / static_cast<double>(rows);
  if (share > 0.9)
    log::warn_as_one(str(split.file.string(), ": ", fixed(100 * share, 1),
                         "% of the first rows, which ", "the limit takes, are ",
                         cited(split.labels[static_cast<size_t>(most - counts.begin())]),
                         "; where the file is sorted by class, draw rows with `subset` instead"));
}

}  // namespace

std::string Split::place(int64_t row) const {
  if (mixture != nullptr) {
    const Mixture::Place at = mixture->at(row);
    return mixture->sources[at.source].split->place(at.row);
  }
  return place_in(file, lines[row * choices]);
}

Split load_split(const DatasetOptions& options, const std::string& name,
                 const text::Tokenizer& tokenizer, const std::vector<std::string>& labels,
                 int threads) {
  if (differ_by_part(options, name))
    return load_split(part_options(options, name), name, tokenizer, labels, threads);
  Split split;
  split.name = name;
  split.file = split_file(options, name);
  split.task = task_of(options);
  if (facts_of(split.task).class_names)
    split.labels = labels.empty() ? label_names(options) : labels;
  if (split.task == Task::prompted) read_options(options, tokenizer, split);
  if (split.task == Task::multiple_choice)
    split.choices = static_cast<int64_t>(options.choices.size());
  if (split.task == Task::similarity) split.choices = 2;
  split.answers = !marks_of(options).empty();
  const auto folder = cache_folder(options, split.file);
  const Fingerprint source = fingerprint(split.file, folder);
  split.content_hash = content_identity(source.sha256, options, split, tokenizer);
  if (split.task == Task::span || layout_of(options).target || !options.candidate.empty())
    split.passages = std::make_shared<PassageSource>(options, source.sha256);
  split.row_texts = std::make_shared<RowTexts>(options, name, source.sha256);
  split.positive = options.positive;
  split.metrics = metrics_of(options);
  if (!options.positive.empty()) named_class(split.labels, options.positive);
  read_rows(folder, source, options, tokenizer, threads, split);
  if (split.empty_rows > 0)
    log::info(str(split.file.string(), ": ", with_commas(split.empty_rows),
                  split.empty_rows == 1 ? " row without text is" : " rows without text are",
                  " left out"));
  if (options.bad_rows == "refuse") refuse_groups_without_positive(split);
  if (split.skipped > 0)
    log::info(
        str(split.file.string(), ": rows left out by skip_labels: ", with_commas(split.skipped)));
  if (options.compose) compose_rows(options, tokenizer, threads, split);
  if (name == "train" && labels.empty() && options.labels.empty())
    if (const std::string warning = unlabelled_warning(split.labels); !warning.empty())
      log::warn(str(split.file.string(), ": ", warning));
  if (name == "train" && options.limit) warn_of_one_class(split);
  return split;
}

std::string source_hash(const DatasetOptions& options, const std::string& name) {
  if (differ_by_part(options, name)) return source_hash(part_options(options, name), name);
  if (options.compose) {
    DatasetOptions alone = options;
    alone.compose = {};
    return composed_hash(options, name, source_hash(alone, name),
                         name != "train" ? source_hash(alone, "train") : "");
  }
  const std::filesystem::path file = split_file(options, name);
  const std::string rows =
      identity(fingerprint(file, cache_folder(options, file)).sha256, file, options);
  std::string more = options.positive.name;
  for (const recipe::MetricReference& metric : options.metrics) more += " " + metric.name;
  return more.empty() ? rows : sha256(rows + more);
}

bool counts_are_guesses(const DatasetOptions& options) {
  return kind_of(options).guessed_rows(options, 1, 1).has_value();
}

int64_t count_rows(const DatasetOptions& options, const std::string& name) {
  if (differ_by_part(options, name)) return count_rows(part_options(options, name), name);
  Source source(split_file(options, name));
  const bool judged = facts_of(options).leaves_out_empty && options.target.empty();
  std::vector<Column> columns;
  if (judged) columns.push_back({options.text, true, kind_of(options).text_kind()});
  if (judged && !options.pair.empty()) columns.push_back({options.pair, true});
  const ClassIndex skipped(options.skip_labels);
  const bool skips = !judged && !skipped.empty() && kind_of(options).text_kind() != CellKind::words;
  if (skips) columns.push_back({options.label, false, kind_of(options).label_kind()});
  auto reader = open_reader(source, options, std::move(columns));
  Record record;
  int64_t rows = 0, left_out = 0, bytes = 0;
  const int64_t most = options.limit.value_or(std::numeric_limits<int64_t>::max());
  while (rows < most && reader->next(record)) {
    const int64_t before = bytes;
    for (std::string_view cell : record.cells) bytes += static_cast<int64_t>(cell.size());
    if (skips_bad_rows(options) && !record.problem.empty()) continue;
    if (!judged || !record.problem.empty() || bytes > before) ++rows;
    if (skips && record.problem.empty() && is_skipped(options, skipped, record.cells[0]))
      ++left_out;
    source.forget();
  }
  if (rows > 0)
    if (const auto guess = kind_of(options).guessed_rows(options, rows, bytes)) return *guess;
  return rows - left_out;
}

}  // namespace compress::data
