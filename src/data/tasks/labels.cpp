#include "tasks/labels.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <unordered_set>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/data/classes.h"
#include "compress/text/python.h"
#include "files/annotated.h"
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

// The distinct labels of the training file.
std::vector<std::string> found_names(const DatasetOptions& options, Examine examine) {
  Source source(split_file(options, "train"), examine);
  const bool words = task_of(options) == Task::token_classification;
  auto reader = open_reader(source, options,
                            {{options.label, false, words ? CellKind::words : CellKind::one}});
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
    if (!words && trim(record.cells[0]).empty() && !skipped.names("")) add_empty(record, bad);
    for (std::string_view item :
         words ? list_items(record.cells[0]) : std::vector{record.cells[0]}) {
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
  bad.raise(source, rows);
  if (rows == 0) throw Error(ErrorKind::data, "the data file has no rows", source.file().string());
  if (distinct.empty()) every_row_skipped(source, rows);
  std::vector<std::string> names(distinct.begin(), distinct.end());
  if (names.size() == 1)
    throw Error(ErrorKind::data, str("every row has the label ", cited(names[0])),
                source.file().string(),
                "there is nothing to learn; to read such a file all the same, name the classes in "
                "`labels`");
  sort_names(names);
  return names;
}

}  // namespace

std::vector<std::string> label_names(const DatasetOptions& options) {
  const Task task = task_of(options);
  if (!has_class_names(task)) return {};
  if (!options.labels.empty()) return options.labels;
  if (task == Task::multiple_choice) {
    std::vector<std::string> numbers;
    for (size_t i = 0; i < options.choices.size(); ++i) numbers.push_back(str(i));
    return numbers;
  }
  if (!options.soft_labels.empty()) return options.soft_labels;
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

const std::vector<TaskFacts>& tasks() {
  static const std::vector<TaskFacts> list = {
      {"classification", Task::classification, true},
      {"regression", Task::regression, true},
      {"unlabelled", Task::unlabelled, false},
      {"language_model", Task::language_model, false},
      {"sequence_to_sequence", Task::sequence_to_sequence, false},
      {"token_classification", Task::token_classification, true},
      {"span", Task::span, false},
      {"multiple_choice", Task::multiple_choice, true},
  };
  return list;
}

const TaskFacts& facts_of(const DatasetOptions& options) {
  std::vector<std::string> names;
  for (const TaskFacts& facts : tasks()) {
    if (options.task == facts.name) return facts;
    names.emplace_back(facts.name);
  }
  throw Error(ErrorKind::recipe, str("unknown task ", cited(options.task)), {},
              "the tasks are " + join(names, ", "));
}

bool has_class_names(Task task) {
  return task == Task::classification || task == Task::token_classification ||
         task == Task::multiple_choice;
}

bool leaves_out_empty(Task task) {
  return task == Task::language_model || task == Task::unlabelled;
}

Task task_of(const DatasetOptions& options) {
  return facts_of(options).task;
}

Layout layout_of(const DatasetOptions& options) {
  if (options.text.empty()) throw Error(ErrorKind::recipe, "the data set names no text column");
  Layout layout;
  const Task task = task_of(options);
  const bool words = task == Task::token_classification;
  layout.columns.push_back({options.text, true, words ? CellKind::words : CellKind::one});
  layout.pair = !options.pair.empty();
  if (layout.pair) layout.columns.push_back({options.pair, true});
  if (task == Task::sequence_to_sequence) {
    if (options.target.empty())
      throw Error(ErrorKind::recipe, "a data set for sequence_to_sequence needs `target`", {},
                  "name the column of the text to be written");
    layout.target = true;
    layout.columns.push_back({options.target, true});
  }
  for (const std::string& column : options.choices) layout.columns.push_back({column, true});
  layout.targets = layout.columns.size();
  if (task == Task::span) {
    layout.columns.push_back({options.answer, true, CellKind::texts});
    layout.places = options.format == "squad" || !options.answer_start.empty();
    if (layout.places) layout.columns.push_back({options.answer_start, false, CellKind::texts});
  }
  if (!facts_of(options).labelled) return layout;
  for (const std::string& column : options.soft_labels) layout.columns.push_back({column, false});
  if (options.soft_labels.empty()) {
    if (options.label.empty())
      throw Error(ErrorKind::recipe, str("a data set for ", options.task, " needs `label`"), {},
                  "name its column, or set `task: unlabelled`");
    layout.columns.push_back({options.label, false, words ? CellKind::words : CellKind::one});
  }
  return layout;
}

void every_row_skipped(const Source& source, int64_t rows) {
  throw Error(ErrorKind::data,
              str("all ", with_commas(rows), " rows have a label that is among `skip_labels`"),
              source.file().string(), "is it the right column?");
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
  return str("the classes are ", join(shown, ", "), names_.size() > 10 ? ", ..." : "",
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

TargetReader::TargetReader(const DatasetOptions& options, Split& split)
    : split_(split),
      classes_(split.labels),
      skipped_(options.skip_labels),
      first_(layout_of(options).targets) {
  if (split.task != Task::classification || options.soft_labels.empty()) return;
  // The caller's classes may be in another order than the columns; they are matched by name.
  std::vector<std::string> names = label_names(options);
  ClassIndex columns(names);
  for (const std::string& label : split.labels)
    if (int32_t index = columns.find(label); index >= 0)
      soft_.push_back(first_ + static_cast<size_t>(index));
    else
      throw Error(ErrorKind::recipe, str("no column of soft labels for class ", cited(label)), {},
                  columns.hint());
  if (soft_.size() != options.soft_labels.size())
    throw Error(
        ErrorKind::recipe,
        str(options.soft_labels.size(), " columns of soft labels for ", soft_.size(), " classes"),
        {}, columns.hint());
}

bool TargetReader::skips(const Record& record) const {
  return !skipped_.empty() && split_.task != Task::token_classification &&
         skipped_.names(trim(record.cells[first_]));
}

void TargetReader::row(const Record& record, BadRows& bad) {
  if (!soft_.empty()) return add_soft(record, bad);
  switch (split_.task) {
    case Task::classification:
    case Task::multiple_choice:
      return add_class(record, trim(record.cells[first_]), bad);
    case Task::token_classification:
      return add_words(record, bad);
    case Task::regression:
      return add_value(record, record.cells[first_], bad);
    default:
      return;
  }
}

// One class a word.
void TargetReader::add_words(const Record& record, BadRows& bad) {
  const std::vector<std::string_view> labels = list_items(record.cells[first_]);
  const std::vector<std::string_view> words = list_items(record.cells[0]);
  std::vector<int32_t>& classes = words_.emplace_back();
  if (labels.size() != words.size())
    return bad.add(record.line, str(labels.size(), " labels for ", words.size(), " words"),
                   "each word has a label");
  if (words.empty())
    return bad.add(record.line, "the text has no words", "remove rows without text");
  for (size_t i = 0; i < words.size(); ++i)
    if (text::is_blank(words[i]))
      return bad.add(record.line, str("word ", i, " is empty or white space"),
                     "no token has its label: remove it with its label");
  for (std::string_view label : labels) {
    const bool without = skipped_.names(trim(label));
    classes.push_back(without ? no_class : classes_.find(trim(label)));
    if (!without && classes.back() < 0)
      return bad.add(record.line, bad.listing() ? classes_.unknown(trim(label)) : "",
                     classes_.hint(trim(label)));
  }
}

void TargetReader::add_class(const Record& record, std::string_view cell, BadRows& bad) {
  int32_t index = classes_.find(cell);
  for (int64_t choice = 0; choice < split_.choices; ++choice) split_.classes.push_back(index);
  if (cell.empty())
    add_empty(record, bad);
  else if (index < 0)
    bad.add(record.line, bad.listing() ? classes_.unknown(cell) : "", classes_.hint(cell));
}

void TargetReader::add_value(const Record& record, std::string_view cell, BadRows& bad) {
  auto value = parse_number(cell);
  float stored = static_cast<float>(value.value_or(0));
  split_.values.push_back(stored);
  if (trim(cell).empty())
    bad.add(record.line, "an empty score");
  else if (!value || !std::isfinite(stored))
    bad.add(record.line, str("score ", cited(cell), " is not a finite number"),
            "for class names set `task: classification`");
}

void TargetReader::add_soft(const Record& record, BadRows& bad) {
  constexpr const char* hint = "soft labels are probabilities: none negative, with sum 1";
  probabilities_.clear();
  double sum = 0;
  std::string problem;
  for (size_t column : soft_) {
    std::string_view cell = record.cells[column];
    auto value = parse_number(cell);
    if (problem.empty() && !value)
      problem = str("probability ", cited(cell), " is not a finite number");
    if (problem.empty() && *value < 0) problem = str("probability ", cited(cell), " is negative");
    sum += value.value_or(0);
    probabilities_.push_back(value.value_or(0));
  }
  if (problem.empty() && std::abs(sum - 1) > 1e-3)
    problem = str("the probabilities' sum is ", shortest(sum));
  if (!problem.empty()) return bad.add(record.line, problem, hint);
  for (double p : probabilities_) split_.soft.push_back(static_cast<float>(p / sum));
}

}  // namespace compress::data
