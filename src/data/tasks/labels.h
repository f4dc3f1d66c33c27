#pragma once
// Targets of a row: class names, scores, probabilities.

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "files/reader.h"

namespace compress::data {

class TaskKind;

// The columns that a split is read from, in the order of Record::cells: text, [pair or target or
// choices], then the label, the soft labels, or the answers [and their places] where the task has
// them.
struct Layout {
  std::vector<Column> columns;
  size_t targets = 0;     // index of the first target column
  size_t references = 0;  // index of the first column of further texts for `target`; 0: none
  bool pair = false, target = false, places = false;
  // Index of their column, which for groups and ids may be one that is there already.
  std::optional<size_t> weight, group, id;
};
Layout layout_of(const DatasetOptions& options);

// At most this many classes; more are a sign that the label column is the wrong one.
inline constexpr size_t most_classes = 10000;

class ClassIndex {
 public:
  explicit ClassIndex(const std::vector<std::string>& names);
  // Index of the class, or -1. Where all classes are placeholders, "1" is found as LABEL_1 and the
  // reverse (see classes.h).
  int32_t find(std::string_view label) const;
  bool names(std::string_view label) const { return index_.count(label) != 0; }  // literally
  bool empty() const { return names_.empty(); }
  std::string unknown(std::string_view label) const;  // message with the nearest name
  // Lists the classes, and for a `label` that marks rows without one says how to leave them out.
  std::string hint(std::string_view label = {}) const;

 private:
  const std::vector<std::string>& names_;
  std::unordered_map<std::string_view, int32_t> index_;
  std::unordered_map<int64_t, int32_t> numbers_;  // of placeholders
};

// Whether a cell of labels has one of `skipped`, for which its row is left out.
bool is_skipped(const DatasetOptions& options, const ClassIndex& skipped, std::string_view cell);

// A word of token_classification without a class.
inline constexpr int32_t no_class = -100;

// Throws Error{data}: nothing is left of a file.
[[noreturn]] void every_row_skipped(const Source& source, int64_t rows);

// Parses a whole cell (spaces around it allowed) as a finite number.
std::optional<double> parse_number(std::string_view cell);

// Reads the targets of each row into the split; what does not parse goes to the bad rows. Options
// and split must outlive it.
class TargetReader {
 public:
  TargetReader(const DatasetOptions& options, Split& split);
  // Whether the row's label is one of `skip_labels`. A tagged word with such a label leaves no row
  // out: it has no class.
  bool skips(const Record& record) const;
  void row(const Record& record, BadRows& bad);
  // Classes of the words of the rows that were read since it was last cleared
  // (token_classification).
  std::vector<std::vector<int32_t>>& words() { return words_; }

  // For the tasks, which read the row's targets (TaskKind::read).
  Split& split() { return split_; }
  const DatasetOptions& options() const { return options_; }
  const ClassIndex& classes() const { return classes_; }
  const ClassIndex& skipped() const { return skipped_; }
  const std::vector<size_t>& soft() const { return soft_; }  // column of each class's probability
  std::string_view cell(const Record& record) const { return record.cells[first_]; }
  void add_class(const Record& record, BadRows& bad);
  void add_score(const Record& record, BadRows& bad);

 private:
  void add_weight(const Record& record, std::string_view cell, BadRows& bad);
  void add_group(const Record& record, std::string_view cell, BadRows& bad);
  void check_id(const Record& record, std::string_view cell, BadRows& bad);

  const DatasetOptions& options_;
  Split& split_;
  const TaskKind& kind_;
  ClassIndex classes_, skipped_;
  size_t first_;  // the first target column
  std::optional<size_t> weight_, group_, id_;
  std::unordered_map<int64_t, int64_t> ids_;  // numbers of the ids that were seen, their lines
  std::vector<size_t> soft_;
  std::vector<std::vector<int32_t>> words_;
};

}  // namespace compress::data
