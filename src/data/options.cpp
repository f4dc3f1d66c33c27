#include <set>

#include "compress/base/strings.h"
#include "labels.h"

namespace compress::data {

namespace {

using recipe::Mark;
using recipe::Problems;

Mark at(const Mark& mark, const std::string& key) {
  Mark place = mark;
  place.path += "." + key;
  return place;
}

void check_files(const DatasetOptions& o, const Mark& mark, Problems& problems) {
  if (o.train.empty() && o.validation.empty() && o.test.empty())
    problems.add(mark, "the data set names no file",
                 "give at least one of train, validation and test");
  for (const std::string* path : {&o.train, &o.validation, &o.test})
    if (o.format.empty() && !path->empty() && !format_by_extension(*path)) {
      problems.add(mark, str("the extension of ", *path, " does not tell its format"),
                   "add `format: tsv`, `csv` or `jsonl`");
      break;
    }
  if (o.cache.empty())
    problems.add(at(mark, "cache"), "an empty name of a folder", "auto, off, or a folder");
  if (o.format != "jsonl") return;
  if (o.quoting)
    problems.add(at(mark, "quoting"), "jsonl has quoting of its own", "leave `quoting` out");
  if (!o.header) problems.add(at(mark, "header"), "jsonl has no header", "leave `header` out");
}

void check_columns(const DatasetOptions& o, const Mark& mark, Problems& problems) {
  std::set<std::string> used{o.text};
  auto use = [&](const std::string& key, const std::string& column) {
    if (!column.empty() && !used.insert(column).second)
      problems.add(at(mark, key), str("column ", cited(column), " is used twice"),
                   "text, pair and label are different columns");
  };
  use("pair", o.pair);
  use("label", o.label);
  for (const std::string& column : o.soft_labels) use("soft_labels", column);
}

void check_labels(const DatasetOptions& o, const Mark& mark, Problems& problems) {
  bool classes = o.task == "classification";
  if (o.task == "unlabelled" && !o.label.empty())
    problems.add(at(mark, "label"), "an unlabelled data set has no label",
                 "remove `label`, or change `task`");
  if (o.task != "unlabelled" && o.label.empty() && o.soft_labels.empty())
    problems.add(mark, str("a data set for ", o.task, " needs `label`"),
                 "name its column, or set `task: unlabelled`");
  if (!classes && !o.soft_labels.empty())
    problems.add(at(mark, "soft_labels"), "soft labels need `task: classification`");
  if (!classes && !o.labels.empty())
    problems.add(at(mark, "labels"), "class names need `task: classification`");
  if (!o.label.empty() && !o.soft_labels.empty())
    problems.add(at(mark, "soft_labels"), "a data set has `label` or `soft_labels`, not both");
  if (o.soft_labels.size() == 1)
    problems.add(at(mark, "soft_labels"), "one column of probabilities", "give one column a class");
  if (!o.labels.empty() && !o.soft_labels.empty() && o.labels.size() != o.soft_labels.size())
    problems.add(at(mark, "labels"), str(o.labels.size(), " class names for ", o.soft_labels.size(),
                                         " columns of soft labels"));
  if (o.labels.size() > most_classes) problems.add(at(mark, "labels"), "more than 10,000 classes");
  std::set<std::string> distinct;
  for (const std::string& name : o.labels) {
    if (trim(name) != name || name.empty())
      problems.add(at(mark, "labels"),
                   str("class name ", cited(name), " is empty or has spaces around it"));
    if (!distinct.insert(name).second)
      problems.add(at(mark, "labels"), str("class ", cited(name), " is named twice"));
  }
}

}  // namespace

const recipe::Options<DatasetOptions>& DatasetOptions::options() {
  using O = DatasetOptions;
  static const auto description =
      recipe::Options<O>("data set")
          .field("format", &O::format, "form of the files; left out, their extension says it")
          .one_of({"tsv", "csv", "jsonl"})
          .field("train", &O::train, "file that is trained on")
          .field("validation", &O::validation, "file for evaluation during training")
          .field("test", &O::test, "file for the final evaluation")
          .field("text", &O::text, "column of the text: a name of the header, or a number from 0")
          .required()
          .field("pair", &O::pair, "column of the second text of a pair")
          .field("label", &O::label, "column of the class name or score")
          .field("task", &O::task, "what a label is: a class name, a score, or nothing")
          .one_of({"classification", "regression", "unlabelled"})
          .field("labels", &O::labels,
                 "class names in order; left out, the sorted names of the training file (integers "
                 "by value)")
          .field("soft_labels", &O::soft_labels,
                 "columns of probabilities, one a class, instead of `label`")
          .field("header", &O::header, "whether the first row names the columns (tsv, csv)")
          .field("quoting", &O::quoting,
                 "whether \"...\" encloses a cell (RFC 4180); left out, yes for csv and no for tsv")
          .field("max_length", &O::max_length,
                 "tokens a row, special ones included; longer rows are cut")
          .range(3, 100000)
          .field("limit", &O::limit, "only the first rows of each split")
          .at_least(1)
          .field("cache", &O::cache,
                 "tokenised rows on disk, mapped into memory: auto (files above 64 MB, in "
                 "`tokenised/` of the cache folder), off, or a folder")
          .check(check_files)
          .check(check_columns)
          .check(check_labels);
  return description;
}

}  // namespace compress::data
