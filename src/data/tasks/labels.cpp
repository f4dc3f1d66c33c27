#include "tasks/labels.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <unordered_set>

#include "compress/base/error.h"
#include "compress/base/hash.h"
#include "compress/base/log.h"
#include "compress/base/strings.h"
#include "compress/data/check_labels.h"
#include "compress/data/classes.h"
#include "files/annotated.h"
#include "tasks/task.h"
#include "tokens/token_cache.h"

namespace compress::data {

namespace {

constexpr size_t longest_class_name = 1000;

[[noreturn]] void wrong_column(const Source& source, int64_t line, const std::string& what,
                               const DatasetOptions& options) {
  throw Error(
      ErrorKind::data, what, source.place(line),
      str("is ", cited(options.label), " the label's column? For scores set `task: regression`"));
}

void add_empty(const Record& record, BadRows& bad) {
  bad.add(record.line, "an empty label", "`skip_labels: [\"\"]` leaves such rows out");
}

struct TextHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};

// Two names that are one number ("1" and "1.0", as a table with gaps writes it), or one word but
// for capitals: the first pair, or two empty texts.
std::pair<std::string, std::string> one_class_twice(std::vector<std::string> names, bool numbers) {
  std::sort(names.begin(), names.end());
  std::map<std::string, std::string> seen;
  for (const std::string& name : names) {
    std::string same = lower_ascii(name);
    if (numbers) {
      const std::optional<double> value = parse_number(name);
      if (!value) continue;
      // A name with zeros before it ("01") is a name.
      same = name.find('.') == std::string::npos ? name : shortest(*value);
    }
    const auto [first, is_new] = seen.emplace(std::move(same), name);
    if (!is_new) return {first->second, name};
  }
  return {};
}

void judge_names(const std::vector<std::string>& names, const Source& source) {
  if (const auto [one, other] = one_class_twice(names, true); !one.empty())
    throw Error(ErrorKind::data,
                str("the labels ", cited(one), " and ", cited(other), " are the same number"),
                source.file().string(),
                "write it one way; to keep them as two classes, name the classes in `labels`");
  if (const auto [one, other] = one_class_twice(names, false); !one.empty())
    log::warn(str(source.file().string(), ": the classes ", cited(one), " and ", cited(other),
                  " differ in capitals alone; `labels` names the classes that are meant"));
}

// The distinct labels of the training file.
std::vector<std::string> found_names(DatasetOptions options, Examine examine) {
  options.subset.reset();  // whatever the subset
  Source source(split_file(options, "train"), examine);
  const TaskKind& kind = kind_of(options);
  const bool words = kind.text_kind() == CellKind::words, several = kind.facts().several;
  auto reader = open_reader(source, options, {{options.label, false, kind.label_kind()}});
  std::unordered_set<std::string, TextHash, std::equal_to<>> distinct;
  const ClassIndex skipped(options.skip_labels);
  BadRows bad;
  Record record;
  int64_t rows = 0;
  for (; reader->next(record); ++rows) {
    if (!record.problem.empty()) {
      bad.add(record.line, record.problem, record.hint);
      continue;
    }
    if (!words && !several && trim(record.cells[0]).empty() && !skipped.names(""))
      add_empty(record, bad);
    for (std::string_view item : kind.labels_of(options, record.cells[0])) {
      const std::string_view label = trim(item);
      if (label.empty() || distinct.find(label) != distinct.end() || skipped.names(label)) continue;
      distinct.emplace(label);
      if (label.size() > longest_class_name)
        wrong_column(source, record.line, "a label of more than 1,000 bytes", options);
      if (distinct.size() > most_classes)
        wrong_column(source, record.line, "more than 10,000 different labels", options);
    }
    source.forget();
  }
  if (!skips_bad_rows(options)) bad.raise(source, rows);
  if (rows == 0) throw Error(ErrorKind::data, "the data file has no rows", source.file().string());
  if (distinct.empty() && several)
    throw Error(ErrorKind::data, "no row has a label", source.file().string(),
                str("is ", cited(options.label), " the labels' column?"));
  if (distinct.empty()) every_row_skipped(source, rows);
  std::vector<std::string> names(distinct.begin(), distinct.end());
  if (names.size() == 1 && !several)
    throw Error(ErrorKind::data, str("every row has the label ", cited(names[0])),
                source.file().string(),
                "there is nothing to learn; to read such a file all the same, name the classes in "
                "`labels`");
  judge_names(names, source);
  sort_names(names);
  return names;
}

}  // namespace

std::vector<std::string> label_names(const DatasetOptions& options) {
  if (differ_by_part(options, "train")) return label_names(part_options(options, "train"));
  const TaskKind& kind = kind_of(options);
  if (!kind.facts().class_names) return {};
  if (std::vector<std::string> names = kind.given_names(options); !names.empty()) return names;
  if (options.train.file.empty())
    throw Error(ErrorKind::recipe,
                options.train.empty() ? "the classes are not known without a training file"
                                      : "the classes of rows that a stage makes are not known yet",
                {}, "name them in `labels`, in the order in which the model was trained");
  const std::filesystem::path file = split_file(options, "train");
  const auto folder = cache_folder(options, file);
  if (!folder) return found_names(options, Examine::now);
  return cached_names(*folder, options, fingerprint(file, folder).sha256,
                      [&] { return found_names(options, Examine::done_before); });
}

namespace {

void add_label_columns(const DatasetOptions& options, const TaskKind& kind, Layout& layout) {
  const std::vector<std::string> columns = kind.label_columns(options);
  for (const std::string& column : columns) layout.columns.push_back({column, false});
  if (!columns.empty() || layout.columns.size() > layout.targets) return;
  if (options.label.empty())
    throw Error(ErrorKind::recipe, str("a data set for ", options.task, " needs `label`"), {},
                "name its column, or set `task: unlabelled`");
  layout.columns.push_back({options.label, false, kind.label_kind()});
}

// The columns that rows of any task may have.
void add_row_columns(const DatasetOptions& options, Layout& layout) {
  auto add = [&](const std::string& name, std::optional<size_t>& at) {
    if (name.empty()) return;
    const auto known = std::find_if(layout.columns.begin(), layout.columns.end(),
                                    [&](const Column& column) { return column.name == name; });
    at = static_cast<size_t>(known - layout.columns.begin());
    if (known == layout.columns.end()) layout.columns.push_back({name, false});
  };
  add(options.weight, layout.weight);
  add(options.group, layout.group);
  add(options.id, layout.id);
}

}  // namespace

Layout layout_of(const DatasetOptions& options) {
  if (options.text.empty()) throw Error(ErrorKind::recipe, "the data set names no text column");
  Layout layout;
  const TaskKind& kind = kind_of(options);
  layout.columns.push_back({options.text, true, kind.text_kind()});
  layout.pair = !options.pair.empty();
  if (layout.pair) layout.columns.push_back({options.pair, true});
  kind.add_columns(options, layout);
  if (layout.targets == 0) layout.targets = layout.columns.size();
  if (kind.facts().labelled) add_label_columns(options, kind, layout);
  add_row_columns(options, layout);
  return layout;
}

void every_row_skipped(const Source& source, int64_t rows) {
  throw Error(ErrorKind::data,
              str("all ", with_commas(rows), " rows have a label that is among `skip_labels`"),
              source.file().string(), "is it the right column?");
}

void check_labels(const DatasetOptions& options, const std::string& part,
                  const std::vector<std::string>& labels) {
  if (differ_by_part(options, part)) return check_labels(part_options(options, part), part, labels);
  const TaskKind& kind = kind_of(options);
  if (!kind.facts().class_names || !kind.facts().labelled || options.label.empty() ||
      !kind.label_columns(options).empty() || skips_bad_rows(options))
    return;
  Source source(split_file(options, part));
  const Layout layout = layout_of(options);
  auto reader = open_reader(source, options, layout.columns);
  const ClassIndex classes(labels), skipped(options.skip_labels);
  BadRows bad;
  Record record;
  int64_t rows = 0;
  for (const int64_t most = options.limit.value_or(std::numeric_limits<int64_t>::max());
       rows < most && reader->next(record); ++rows) {
    if (!record.problem.empty()) {
      bad.add(record.line, record.problem, record.hint);
      continue;
    }
    for (std::string_view item : kind.labels_of(options, record.cells[layout.targets]))
      if (const std::string_view label = trim(item);
          !label.empty() && classes.find(label) < 0 && !skipped.names(label)) {
        bad.add(record.line, bad.listing() ? classes.unknown(label) : "", classes.hint(label));
        break;
      }
    source.forget();
  }
  bad.raise(source, rows);
}

ClassIndex::ClassIndex(const std::vector<std::string>& names) : names_(names) {
  for (size_t i = 0; i < names.size(); ++i) index_.emplace(names[i], static_cast<int32_t>(i));
  if (!are_placeholders(names)) return;
  for (size_t i = 0; i < names.size(); ++i)
    numbers_.emplace(*placeholder_number(names[i]), static_cast<int32_t>(i));
}

int32_t ClassIndex::find(std::string_view label) const {
  if (auto found = index_.find(label); found != index_.end()) return found->second;
  if (numbers_.empty()) return -1;
  const std::optional<int64_t> number = placeholder_number(label);
  const auto found = number ? numbers_.find(*number) : numbers_.end();
  return found == numbers_.end() ? -1 : found->second;
}

std::string ClassIndex::unknown(std::string_view label) const {
  std::string near = label.size() < 3 ? "" : nearest(label, names_);
  return str("label ", cited(label), " is none of the ", names_.size(), " classes",
             near.empty() ? "" : str(" (did you mean ", cited(near), "?)"));
}

std::string ClassIndex::hint(std::string_view label) const {
  std::vector<std::string> shown;
  for (size_t i = 0; i < names_.size() && i < 10; ++i) shown.push_back(cited(names_[i]));
  // What tables with gaps make of whole numbers.
  const bool decimal = label.ends_with(".0") && find(label.substr(0, label.size() - 2)) >= 0;
  return str("the classes are ", join(shown, ", "), names_.size() > 10 ? ", ..." : "",
             decimal ? str("; write ", label, " as ", label.substr(0, label.size() - 2)) : "",
             is_unlabelled_mark(label)
                 ? str("; `skip_labels: [", cited(label), "]` leaves out rows without a class")
                 : "");
}

std::optional<double> parse_number(std::string_view cell) {
  cell = trim(cell);
  if (cell.starts_with('+') && !cell.starts_with("+-")) cell.remove_prefix(1);
  double value = 0;
  auto [end, failed] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (failed != std::errc() || end != cell.data() + cell.size() || !std::isfinite(value))
    return std::nullopt;
  return value;
}

int64_t group_number(std::string_view text) {
  const std::string hex = sha256(trim(text)).substr(0, 16);
  return static_cast<int64_t>(std::stoull(hex, nullptr, 16) >> 1);
}

TargetReader::TargetReader(const DatasetOptions& options, Split& split)
    : options_(options),
      split_(split),
      kind_(kind_of(split.task)),
      classes_(split.labels),
      skipped_(options.skip_labels),
      first_(layout_of(options).targets),
      weight_(layout_of(options).weight),
      group_(layout_of(options).group),
      id_(layout_of(options).id) {
  const std::vector<std::string> given = kind_.label_columns(options);
  if (given.empty() || !kind_.facts().class_names) return;
  const char* what = options.soft_labels.empty() ? "labels" : "soft labels";
  // The caller's classes may be in another order than the columns; they are matched by name.
  std::vector<std::string> names = label_names(options);
  ClassIndex columns(names);
  for (const std::string& label : split.labels)
    if (int32_t index = columns.find(label); index >= 0)
      soft_.push_back(first_ + static_cast<size_t>(index));
    else
      throw Error(ErrorKind::recipe, str("no column of ", what, " for class ", cited(label)), {},
                  columns.hint());
  if (soft_.size() != given.size())
    throw Error(ErrorKind::recipe,
                str(given.size(), " columns of ", what, " for ", soft_.size(), " classes"), {},
                columns.hint());
}

bool TargetReader::skips(const Record& record) const {
  return !skipped_.empty() && kind_.text_kind() != CellKind::words &&
         is_skipped(options_, skipped_, cell(record));
}

bool is_skipped(const DatasetOptions& options, const ClassIndex& skipped, std::string_view cell) {
  if (skipped.names(trim(cell))) return true;
  const std::vector<std::string_view> labels = kind_of(options).labels_of(options, cell);
  return std::ranges::any_of(labels,
                             [&](std::string_view label) { return skipped.names(trim(label)); });
}

void TargetReader::row(const Record& record, BadRows& bad) {
  if (weight_) add_weight(record, record.cells[*weight_], bad);
  if (group_) add_group(record, record.cells[*group_], bad);
  if (id_) check_id(record, record.cells[*id_], bad);
  kind_.read(record, *this, bad);
}

void TargetReader::add_class(const Record& record, BadRows& bad) {
  const std::string_view label = trim(cell(record));
  const int32_t index = classes_.find(label);
  for (int64_t choice = 0; choice < split_.choices; ++choice) split_.classes.push_back(index);
  if (label.empty())
    add_empty(record, bad);
  else if (index < 0)
    bad.add(record.line, bad.listing() ? classes_.unknown(label) : "", classes_.hint(label));
}

void TargetReader::add_score(const Record& record, BadRows& bad) {
  const std::string_view text = cell(record);
  const std::optional<double> value = parse_number(text);
  const auto stored = static_cast<float>(value.value_or(0));
  for (int64_t choice = 0; choice < split_.choices; ++choice) split_.values.push_back(stored);
  if (trim(text).empty())
    bad.add(record.line, "an empty score");
  else if (!value || !std::isfinite(stored))
    bad.add(record.line, str("score ", cited(text), " is not a finite number"),
            "for class names set `task: classification`");
}

void TargetReader::add_weight(const Record& record, std::string_view cell, BadRows& bad) {
  const std::optional<double> value = parse_number(cell);
  const auto stored = static_cast<float>(value.value_or(0));
  for (int64_t choice = 0; choice < split_.choices; ++choice) split_.weights.push_back(stored);
  if (!value || !std::isfinite(stored) || stored < 0)
    bad.add(record.line, str("the weight ", cited(cell), " is not a number from 0"));
}

void TargetReader::add_group(const Record& record, std::string_view cell, BadRows& bad) {
  for (int64_t choice = 0; choice < split_.choices; ++choice)
    split_.groups.push_back(group_number(cell));
  if (trim(cell).empty())
    bad.add(record.line, "an empty group", "rows of one query have the same text there");
}

void TargetReader::check_id(const Record& record, std::string_view cell, BadRows& bad) {
  const std::string_view id = trim(cell);
  if (id.empty()) return bad.add(record.line, "an empty id");
  const auto [before, is_new] = ids_.emplace(group_number(id), record.line);
  if (!is_new)
    bad.add(record.line,
            str("the id ", cited(id), " is also that of the row at ",
                place_in(split_.file, before->second)),
            "`bad_rows: skip` keeps the first of them");
}

}  // namespace compress::data
