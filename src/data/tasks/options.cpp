#include <algorithm>
#include <map>
#include <set>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/data/compose.h"
#include "files/templates.h"
#include "tasks/task.h"

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
  if (o.train.empty() && o.validation.empty() && o.test.empty() && !o.submission)
    problems.add(mark, "the data set names no file",
                 "give at least one of train, validation and test");
  if (!o.folder.empty() && o.layout.empty())
    problems.add(at(mark, "folder"), "`folder` is where a layout's files are",
                 "add `layout`, or name the files");
  for (const auto& [part, origin] : parts_of(o))
    if (o.format.empty() && !origin->file.empty() && !format_by_extension(origin->file)) {
      refuse_other_files(origin->file);
      problems.add(mark, str("the extension of ", origin->file, " does not tell its format"),
                   "add `format: tsv`, `csv`, `jsonl`, `conll`, `squad` or `text`");
      break;
    }
  for (const auto& [part, origin] : parts_of(o))
    if (!reads_parquet() &&
        (o.format == "parquet" ||
         (o.format.empty() && format_by_extension(origin->file) == Format::parquet)))
      problems.add(at(mark, part), "this program reads no Parquet", parquet_hint);
  for (const auto& [part, origin] : parts_of(o))
    if (!origin->stage.empty() && !o.format.empty() && o.format != "jsonl")
      problems.add(at(mark, "format"), "rows that a stage leaves are jsonl", "leave `format` out");
  if (o.train_limit && o.train.empty())
    problems.add(at(mark, "train_limit"), "the data set has no training part",
                 "use `limit`, or add `train`");
  if (o.subset && !o.train.stage.empty())
    problems.add(at(mark, "subset"), "`subset` needs a training file, not a stage's rows",
                 "use `limit`");
  if (o.cache.empty())
    problems.add(at(mark, "cache"), "an empty name of a folder", "auto, off, or a folder");
  if (o.format != "jsonl") return;
  if (o.quoting)
    problems.add(at(mark, "quoting"), "jsonl has quoting of its own", "leave `quoting` out");
  if (!o.header) problems.add(at(mark, "header"), "jsonl has no header", "leave `header` out");
}

// A name that is a template must be one.
void check_template(const std::string& key, const std::string& column, const Mark& mark,
                    Problems& problems) {
  try {
    columns_in(column);
  } catch (const Error& error) {
    problems.add(at(mark, key), error.message(), error.hint());
  }
}

void check_columns(const DatasetOptions& o, const Mark& mark, Problems& problems) {
  if (o.text.empty())
    problems.add(mark, "missing required key 'text' in data set",
                 "text: column of the text, or a template of several: \"{premise} so {choice}\"");
  for (const auto& [key, column] : {std::pair("text", &o.text),
                                    {"pair", &o.pair},
                                    {"label", &o.label},
                                    {"target", &o.target},
                                    {"answer", &o.answer},
                                    {"group", &o.group},
                                    {"weight", &o.weight},
                                    {"id", &o.id}})
    check_template(key, *column, mark, problems);
  for (const std::string& column : o.choices) check_template("choices", column, mark, problems);
  std::set<std::string> used{o.text};
  auto use = [&](const std::string& key, const std::string& column) {
    if (!column.empty() && !used.insert(column).second)
      problems.add(at(mark, key), str("column ", cited(column), " is used twice"),
                   "each key names a column of its own");
  };
  use("pair", o.pair);
  use("target", o.target);
  use("answer", o.answer);
  use("answer_start", o.answer_start);
  for (const std::string& column : o.choices) use("choices", column);
  for (const std::string& column : o.references) use("references", column);
  use("label", o.label);
  use("weight", o.weight);
  // The question that rows answer may itself tell which they are.
  if (o.group != o.text && o.group != o.pair) use("group", o.group);
  for (const std::string& column : o.soft_labels) use("soft_labels", column);
  for (const std::string& column : o.label_columns) use("label_columns", column);
}

// Columns of rows, which files of words and of passages do not have.
void check_row_columns(const DatasetOptions& o, const Mark& mark, Problems& problems) {
  const std::string held_out = o.held_out ? o.held_out->column : "";
  for (const auto& [key, column] : {std::pair("weight", &o.weight),
                                    {"group", &o.group},
                                    {"id", &o.id},
                                    {"candidate", &o.candidate},
                                    {"held_out", &held_out}}) {
    if (column->empty()) continue;
    if (o.format == "conll" || o.format == "squad")
      problems.add(at(mark, key), str("a ", o.format, " file has no columns of rows"),
                   "write the rows as jsonl");
    if (o.concatenate)
      problems.add(at(mark, key), "`concatenate` makes rows of its own", "leave one of them out");
  }
}

void check_label_options(const DatasetOptions& o, const Mark& mark, Problems& problems) {
  const TaskFacts& task = facts_of(o);
  const bool classes = task.task == Task::classification || task.several, labelled = task.labelled;
  if (!labelled && !o.label.empty())
    problems.add(at(mark, "label"),
                 o.task == "unlabelled" ? "an unlabelled data set has no label"
                                        : str("a data set for ", o.task, " has no label"),
                 "remove `label`, or change `task`");
  if (labelled && o.label.empty() && kind_of(o).label_columns(o).empty())
    problems.add(mark, str("a data set for ", o.task, " needs `label`"),
                 "name its column, or set `task: unlabelled`");
  if (!classes && !o.soft_labels.empty())
    problems.add(at(mark, "soft_labels"),
                 "soft labels need `task: classification` or `task: multi_label`");
  if (!task.class_names && !o.labels.empty())
    problems.add(at(mark, "labels"), "class names need `task: classification`");
  if (!o.label.empty() && !o.soft_labels.empty())
    problems.add(at(mark, "soft_labels"), "a data set has `label` or `soft_labels`, not both");
  if (o.soft_labels.size() == 1 && !task.several)
    problems.add(at(mark, "soft_labels"), "one column of probabilities", "give one column a class");
  if (!o.labels.empty() && !o.soft_labels.empty() && o.labels.size() != o.soft_labels.size())
    problems.add(at(mark, "labels"), str(o.labels.size(), " class names for ", o.soft_labels.size(),
                                         " columns of soft labels"));
  if (o.labels.size() == 1 && task.task == Task::classification && !task.several)
    problems.add(at(mark, "labels"), "one class", "there is nothing to tell apart");
  if (o.labels.size() > most_classes) problems.add(at(mark, "labels"), "more than 10,000 classes");
  if (!o.skip_labels.empty() && (!labelled || o.label.empty()))
    problems.add(at(mark, "skip_labels"), "`skip_labels` needs `label`", "remove it");
  if (!o.positive.empty() && !task.class_names)
    problems.add(at(mark, "positive"), "`positive` names a class, and this task has none",
                 "remove it");
  else if (!o.positive.empty() && !o.labels.empty() &&
           ClassIndex(o.labels).find(o.positive.name) < 0)
    problems.add(at(mark, "positive"), str(cited(o.positive.name), " is none of the classes"),
                 ClassIndex(o.labels).hint());
  std::set<std::string> distinct;
  for (const std::string& name : o.labels) {
    if (ClassIndex(o.skip_labels).names(name))
      problems.add(at(mark, "skip_labels"), str(cited(name), " is among `labels`, too"));
    if (trim(name) != name || name.empty())
      problems.add(at(mark, "labels"),
                   str("class name ", cited(name), " is empty or has spaces around it"));
    if (!distinct.insert(name).second)
      problems.add(at(mark, "labels"), str("class ", cited(name), " is named twice"));
  }
}

// What only some tasks have, and what this one needs.
void check_task(const DatasetOptions& o, const Mark& mark, Problems& problems) {
  const TaskKind& kind = kind_of(o);
  TaskRules rules(mark, problems);
  std::map<std::string, std::vector<std::string>> owners;  // of keys that are given
  for (const auto& other : tasks())
    for (const TaskKind::Key& key : other->keys())
      if (key.given(o)) owners[key.name].emplace_back(other->facts().name);
  for (const auto& [key, names] : owners)
    if (std::find(names.begin(), names.end(), o.task) == names.end())
      rules.refuse(key, str("`", key, "` needs `task: ", join(names, "` or `task: "), "`"));
  if (kind.facts().one_text && !o.pair.empty())
    rules.refuse("pair", str("a data set for ", o.task, " has no second text"),
                 "join the texts in the file");
  kind.check(o, rules);
}

std::vector<std::string> task_names() {
  std::vector<std::string> names;
  for (const TaskFacts* facts : task_facts()) names.emplace_back(facts->name);
  return names;
}

}  // namespace

std::vector<std::pair<std::string, const Origin*>> parts_of(const DatasetOptions& options) {
  return {{"train", &options.train}, {"validation", &options.validation}, {"test", &options.test}};
}

DatasetOptions part_options(const DatasetOptions& options, const std::string& part) {
  DatasetOptions own = options;
  if (part == "train" && own.train_limit) own.limit = own.train_limit;
  own.train_limit.reset();
  if (own.held_out) own.held_out->part = part;
  return own;
}

bool differ_by_part(const DatasetOptions& options, const std::string& part) {
  return options.train_limit || (options.held_out && options.held_out->part != part);
}

const recipe::Options<DatasetOptions>& DatasetOptions::options() {
  using O = DatasetOptions;
  static const auto description =
      recipe::Options<O>("data set")
          .field("layout", &O::layout,
                 "a benchmark's published form (glue/sst2), which fills in the keys that are left "
                 "out: files, columns, classes, metrics")
          .field("folder", &O::folder, "folder of the layout's files")
          .field("format", &O::format, "form of the files; left out, their extension says it")
          .one_of({"tsv", "csv", "jsonl", "conll", "squad", "text", "parquet"})
          .field(
              "train", &O::train,
              "file that is trained on, or {stage: NAME}, the rows that an earlier stage leaves; "
              "a list of files or a pattern (part-*.tsv) is read as one, .gz and .zst are "
              "decompressed, \"-\" is standard input")
          .field("validation", &O::validation, "file for evaluation during training")
          .field("test", &O::test, "file for the final evaluation")
          .field(
              "text", &O::text,
              "column of the text (span: the question; token_classification: a list of words; "
              "next_sentence: a list of sentences, a document): a name of the header, or a number "
              "from 0 (-1: the last; 0 is a text file's line); or a template of several: "
              "\"{age} years, {job}\"")
          .field("pair", &O::pair, "column of the second text of a pair (span: the passage)")
          .field("label", &O::label,
                 "column of the class name or score; of the list of the words' class names; of the "
                 "right choice; of any number of class names (multi_label)")
          .field("answer", &O::answer,
                 "column of the answer's text, or of a list of accepted ones (span); empty: none")
          .field(
              "answer_start", &O::answer_start,
              "column of the answer's place in the passage, in characters (span); left out, where "
              "the text is found first")
          .field(
              "choices", &O::choices,
              "columns of the second texts (multiple_choice); `label` is the number of the right "
              "one, from 0, or its name in `labels`")
          .field(
              "target", &O::target,
              "column of the text to be written (sequence_to_sequence), or that follows the text "
              "(language_model), or of the word in the gap (cloze); a list in jsonl, and \"1..\" "
              "(the columns from 1 on) in tables, are accepted texts, the first of which is "
              "trained on")
          .field("references", &O::references,
                 "columns of further accepted texts beside `target`: scores compare with all of "
                 "them, `target` alone is trained on; in jsonl each may be a list, in tables "
                 "\"2..\" are the columns from 2 on")
          .field("verbalizer", &O::verbalizer,
                 "the text that answers for each of `labels`, in their order (prompted); left out, "
                 "their names")
          .field("option_score", &O::option_score,
                 "what of the log-probabilities of an answer's tokens is compared (prompted)")
          .one_of({"mean", "sum"})
          .field(
              "task", &O::task,
              "what is to be predicted: a class name, a score, nothing; of a language model each "
              "token from those before it; another text, the target; a class of each word; the "
              "part of a passage that answers a question; which of several texts fits; whether one "
              "text of a document follows another; any number of class names; which of several "
              "answers a language model thinks likeliest; the token in a masked LM's gap; how near "
              "the embeddings of two texts are")
          .one_of(task_names())
          .field("labels", &O::labels,
                 "class names in order; left out, the sorted names of the training file (integers "
                 "by value)")
          .field("soft_labels", &O::soft_labels,
                 "columns of probabilities, one a class, instead of `label`")
          .field("label_columns", &O::label_columns,
                 "columns of 0 or 1, one a class, instead of `label` (multi_label)")
          .field("label_separator", &O::label_separator,
                 "what stands between the names in the label's cell (multi_label; in jsonl they "
                 "may be a list)")
          .field("skip_labels", &O::skip_labels,
                 "rows with one of these labels (\"-\", \"-1\", \"\") are left out and counted; a "
                 "tagged word with such a label has no class")
          .field("positive", &O::positive,
                 "the class that `f1` is about; left out: positive, pos, 1, LABEL_1, true or yes, "
                 "else the one of two that the other negates (not_x, non-x), else the last when "
                 "sorted")
          .field("weight", &O::weight,
                 "column of a number from 0 that a row's losses are multiplied by in training; the "
                 "mean stays over the number of rows (or tokens), so that a weight of 2 counts as "
                 "twice the row, whatever its batch; scores do not look at it")
          .field("group", &O::group,
                 "column of a text or number that the rows of one query share, for metrics that "
                 "rank (map, mrr, precision@k, recall@k, ndcg); it may be that of `text` or `pair`")
          .field("id", &O::id,
                 "column of what names a row; a second row of the same name cannot be used")
          .field("candidate", &O::candidate,
                 "column of the answer that a row of a group proposes, for metrics of the best one "
                 "(group_answer_f1, group_answer_match); accepted are those of the rows of the "
                 "positive class")
          .field("metrics", &O::metrics,
                 "what is scored where a stage names no metrics; left out, those of the task")
          .field(
              "bad_rows", &O::bad_rows,
              "rows that cannot be used: refuse them (all are counted, the first five named), or "
              "skip them with a warning that names them; left out, as refuse, but rows without "
              "text are skipped by language_model and unlabelled, and groups may lack a positive "
              "row")
          .one_of({"refuse", "skip"})
          .field("subset", &O::subset, "which rows of the training file are read")
          .field("held_out", &O::held_out,
                 "domains that training and validation do not see, and the test part alone has")
          .field("submission", &O::submission,
                 "rows without labels that `compress evaluate --submission` answers")
          .field("header", &O::header, "whether the first row names the columns (tsv, csv)")
          .field(
              "ragged", &O::ragged,
              "whether rows may have more cells than the first one, or fewer where those are not "
              "asked for (tsv, csv)")
          .field("quoting", &O::quoting,
                 "whether \"...\" encloses a cell (RFC 4180); left out, yes for csv and no for tsv")
          .field("max_length", &O::max_length,
                 "tokens a row, special ones included; longer rows are cut")
          .range(3, 100000)
          .field("max_target_length", &O::max_target_length,
                 "the same of the target (sequence_to_sequence, language_model)")
          .range(1, 100000)
          .field(
              "stride", &O::stride,
              "tokens that neighbouring windows of a long passage share (span); left out, a third "
              "of `max_length`, but at most half of what the question leaves")
          .range(0, 100000)
          .field("append_end", &O::append_end,
                 "language_model: the tokenizer's end-of-text token behind each text that is not "
                 "cut, where it has one")
          .field("concatenate", &O::concatenate,
                 "language_model: join all texts and cut them into rows of max_length tokens")
          .field("min_length", &O::min_length,
                 "unlabelled: rows of fewer tokens, special ones included, are left out")
          .range(0, 100000)
          .field("max_unknown", &O::max_unknown,
                 "unlabelled: rows of which this share of the tokens, or more, is unknown are left "
                 "out")
          .range(0, 1)
          .field(
              "split_long", &O::split_long,
              "unlabelled: a text of more than max_length tokens becomes several rows, each with "
              "the special tokens, and is not cut")
          .field("duplicates", &O::duplicates,
                 "next_sentence: times that pairs are drawn of all documents, each time others")
          .range(1, 1000)
          .component(
              "compose", &O::compose, composers,
              "language_model with `target`, prompted: what is put in front of a row when it is "
              "packed, drawn anew in each epoch")
          .field("limit", &O::limit, "only the first rows of each split")
          .at_least(1)
          .field("train_limit", &O::train_limit,
                 "only the first rows of the training part, in place of `limit`; class names are "
                 "still those of the whole file")
          .at_least(1)
          .field("cache", &O::cache,
                 "tokenised rows on disk, mapped into memory: auto (files above 64 MB, in "
                 "`tokenised/` of the cache folder), off, or a folder")
          .mark(&O::mark)
          .check(check_files)
          .check(check_columns)
          .check(check_row_columns)
          .check(check_label_options)
          .check(check_task);
  return description;
}

}  // namespace compress::data
