// Any number of the classes of a text or a pair, each true or not by itself.

#include <algorithm>

#include "compress/base/strings.h"
#include "files/annotated.h"
#include "tasks/task.h"

namespace compress::data {

namespace {

// Whether a delimited file can be read from these options, whose cells are no lists.
bool has_cells(const DatasetOptions& options) {
  if (!options.format.empty()) return options.format == "tsv" || options.format == "csv";
  return std::ranges::any_of(parts_of(options), [](const auto& part) {
    const auto format = format_by_extension(part.second->file);
    return format == Format::tsv || format == Format::csv;
  });
}

class MultiLabel final : public TaskKind {
 public:
  MultiLabel()
      : TaskKind({.name = "multi_label",
                  .task = Task::multi_label,
                  .summary = "any number of classes",
                  .labelled = true,
                  .class_names = true,
                  .several = true,
                  .head = "multi_label_classification",
                  .metrics = {"f1_micro", "f1_macro", "subset_accuracy", "lrap"}}) {}

  std::vector<Key> keys() const override {
    return {
        {"label_columns", [](const DatasetOptions& o) { return !o.label_columns.empty(); }},
        {"label_separator", [](const DatasetOptions& o) { return !o.label_separator.empty(); }}};
  }

  void check(const DatasetOptions& o, TaskRules& rules) const override {
    const bool columns = !o.label_columns.empty();
    if (columns && (!o.label.empty() || !o.soft_labels.empty()))
      rules.refuse("label_columns", "labels are in `label`, `label_columns` or `soft_labels`",
                   "leave the others out");
    if (columns && !o.labels.empty() && o.labels.size() != o.label_columns.size())
      rules.refuse("labels", str(o.labels.size(), " class names for ", o.label_columns.size(),
                                 " columns of labels"));
    if (!o.label_separator.empty() && o.label.empty())
      rules.refuse("label_separator", "`label_separator` needs `label`", "remove it");
    if (o.label_separator.empty() && !o.label.empty() && has_cells(o))
      rules.refuse("label_separator", "a cell with several labels needs `label_separator`",
                   "what stands between the names, as \",\" or \"|\"; or name `label_columns` of 0 "
                   "and 1");
    if (!o.positive.empty())
      rules.refuse("positive",
                   "`positive` names the one class that f1 is about, and here each is "
                   "true or not by itself",
                   "remove it; f1_micro and f1_macro are about all classes");
  }

  CellKind label_kind() const override { return CellKind::texts; }

  // Without spaces around them; none of an empty cell.
  std::vector<std::string_view> labels_of(const DatasetOptions& options,
                                          std::string_view cell) const override {
    if (options.label_separator.empty()) return list_items(cell);
    std::vector<std::string_view> names;
    for (size_t begin = 0; begin <= cell.size();) {
      const size_t end = std::min(cell.find(options.label_separator, begin), cell.size());
      const std::string_view name = trim(cell.substr(begin, end - begin));
      if (!name.empty()) names.push_back(name);
      begin = end + options.label_separator.size();
    }
    return names;
  }

  std::vector<std::string> label_columns(const DatasetOptions& options) const override {
    return options.label_columns.empty() ? options.soft_labels : options.label_columns;
  }

  std::vector<std::string> given_names(const DatasetOptions& options) const override {
    return options.labels.empty() ? label_columns(options) : options.labels;
  }

  void identify(const DatasetOptions& options, IdentityHash& hash) const override {
    hash.add(options.label_columns);
    hash.add(options.label_separator);
  }

  RowTargets targets(const DatasetOptions&) const override { return RowTargets::soft; }

  void read(const Record& record, TargetReader& reader, BadRows& bad) const override {
    std::vector<float> row(reader.split().labels.size(), 0);
    if (reader.soft().empty())
      read_names(record, reader, bad, row);
    else
      read_columns(record, reader, bad, row);
    for (float probability : row) reader.split().soft.push_back(probability);
  }

 private:
  void read_names(const Record& record, const TargetReader& reader, BadRows& bad,
                  std::vector<float>& row) const {
    const ClassIndex& classes = reader.classes();
    for (std::string_view item : labels_of(reader.options(), reader.cell(record))) {
      const std::string_view label = trim(item);
      if (label.empty())
        return bad.add(record.line, "an empty label in the list", "a row without labels has []");
      const int32_t index = classes.find(label);
      if (index < 0)
        return bad.add(record.line, bad.listing() ? classes.unknown(label) : "",
                       classes.hint(label));
      row[static_cast<size_t>(index)] = 1;
    }
  }

  static void read_columns(const Record& record, const TargetReader& reader, BadRows& bad,
                           std::vector<float>& row) {
    const bool hard = !reader.options().label_columns.empty();
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string_view cell = trim(record.cells[reader.soft()[i]]);
      const std::string word = lower_ascii(cell);
      const std::optional<double> value = word == "true"    ? 1
                                          : word == "false" ? 0
                                                            : parse_number(cell);
      if (hard && (!value || (*value != 0 && *value != 1)))
        return bad.add(record.line, str("label ", cited(cell), " is neither 0 nor 1"),
                       "for probabilities name the columns in `soft_labels`");
      if (!value || *value < 0 || *value > 1)
        return bad.add(record.line, str("probability ", cited(cell), " is not a number in 0 .. 1"),
                       "of each class by itself; they need no sum of 1");
      row[i] = static_cast<float>(*value);
    }
  }
};

}  // namespace

std::unique_ptr<TaskKind> make_multi_label() {
  return std::make_unique<MultiLabel>();
}

}  // namespace compress::data
