#pragma once
// A task as a component: its keys, columns, checks, reading and targets, in one file of this
// folder; register.cpp lists them.

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "compress/base/hash.h"
#include "compress/data/task.h"
#include "compress/data/token_file.h"
#include "tasks/labels.h"

namespace compress::data {

class RowStream;

// What stands for the gap in a text of `cloze`, whatever the tokenizer calls its mask.
inline constexpr std::string_view gap_mark = "[MASK]";

// The classes of pairs that are made of documents, as BertForPreTraining numbers them.
inline constexpr const char* next_classes[] = {"is_next", "not_next"};

// What decides how rows are read, as a hash.
class IdentityHash {
 public:
  void add(std::string_view part);
  void add(const std::vector<std::string>& parts);
  std::string hex() { return hash_.hex(); }

 private:
  Sha256 hash_;
};

// Collects what is wrong with a data set.
class TaskRules {
 public:
  TaskRules(const recipe::Mark& mark, recipe::Problems& problems)
      : mark_(mark), problems_(problems) {}
  // At the key, which need not be there.
  void refuse(const std::string& key, std::string what, std::string hint = {});
  void need(bool given, const char* task, const char* key, const char* hint);

 private:
  const recipe::Mark& mark_;
  recipe::Problems& problems_;
};

// The column of the text to be written, which may be a list of accepted ones, and those of further
// ones.
void add_target(const DatasetOptions& options, Layout& layout);
// Error{recipe} with this hint where options that came from elsewhere name no such column.
void require_target(const DatasetOptions& options, const TaskFacts& facts, const char* hint);

class TaskKind {
 public:
  explicit TaskKind(TaskFacts facts) : facts_(std::move(facts)) {}
  virtual ~TaskKind() = default;
  const TaskFacts& facts() const { return facts_; }

  // A key of the data set that tasks which do not list it refuse.
  struct Key {
    const char* name;
    bool (*given)(const DatasetOptions&);
  };
  virtual std::vector<Key> keys() const { return {}; }
  virtual void check(const DatasetOptions&, TaskRules&) const {}
  // How the first text is written in its cell.
  virtual CellKind text_kind() const { return CellKind::one; }
  // Its columns between the texts and what all tasks share (the labels, weights and groups); sets
  // what Layout says of them. Error{recipe} where options that came from elsewhere lack one.
  virtual void add_columns(const DatasetOptions&, Layout&) const {}
  // Whatever of the options only this task reads.
  virtual void identify(const DatasetOptions&, IdentityHash&) const {}
  // The text to be written of a row whose cell says which (Layout::target).
  virtual std::string_view answer_of(const DatasetOptions& options, std::string_view cell) const;
  virtual RowTargets targets(const DatasetOptions&) const { return RowTargets::none; }
  virtual std::vector<std::string> marks(const DatasetOptions&) const { return {}; }
  // The class names where no option says them and no file has to be read.
  virtual std::vector<std::string> given_names(const DatasetOptions& options) const;
  // How its label is written in its cell, and the labels of such a cell.
  virtual CellKind label_kind() const { return text_kind(); }
  virtual std::vector<std::string_view> labels_of(const DatasetOptions&,
                                                  std::string_view cell) const;
  // Columns that hold all of a row's labels, one a class, instead of one cell with names.
  virtual std::vector<std::string> label_columns(const DatasetOptions& options) const {
    return options.soft_labels;
  }
  // The targets of a row, of which TargetReader keeps the columns.
  virtual void read(const Record&, TargetReader&, BadRows&) const {}
  // Rows where their number is known only when they are tokenised: a guess for a file of `records`
  // records whose texts have `bytes` bytes. Nothing where records are rows.
  virtual std::optional<int64_t> guessed_rows(const DatasetOptions&, int64_t records,
                                              int64_t bytes) const;
  // Makes tokens of the texts that the stream has read.
  virtual void tokenise(RowStream& stream) const;

 private:
  TaskFacts facts_;
};

const std::vector<std::unique_ptr<TaskKind>>& tasks();
const TaskKind& kind_of(Task task);
const TaskKind& kind_of(const DatasetOptions& options);  // Error{recipe} for an unknown task

// One a file.
std::unique_ptr<TaskKind> make_classification();
std::unique_ptr<TaskKind> make_regression();
std::unique_ptr<TaskKind> make_unlabelled();
std::unique_ptr<TaskKind> make_language_model();
std::unique_ptr<TaskKind> make_sequence_to_sequence();
std::unique_ptr<TaskKind> make_token_classification();
std::unique_ptr<TaskKind> make_span();
std::unique_ptr<TaskKind> make_multiple_choice();
std::unique_ptr<TaskKind> make_next_sentence();
std::unique_ptr<TaskKind> make_multi_label();
std::unique_ptr<TaskKind> make_prompted();
std::unique_ptr<TaskKind> make_cloze();
std::unique_ptr<TaskKind> make_similarity();

}  // namespace compress::data
