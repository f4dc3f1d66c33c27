#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "files/annotated.h"
#include "rows/row_stream.h"
#include "tasks/task.h"

namespace compress::data {

void require_target(const DatasetOptions& options, const TaskFacts& facts, const char* hint) {
  if (options.target.empty())
    throw Error(ErrorKind::recipe, str("a data set for ", facts.name, " needs `target`"), {}, hint);
}

void add_target(const DatasetOptions& options, Layout& layout) {
  layout.target = true;
  layout.columns.push_back({options.target, true, CellKind::texts});
  layout.targets = layout.columns.size();
  if (!options.references.empty()) layout.references = layout.columns.size();
  for (const std::string& column : options.references)
    layout.columns.push_back({column, true, CellKind::texts});
}

const std::vector<std::unique_ptr<TaskKind>>& tasks() {
  static const auto* list = [] {
    auto* all = new std::vector<std::unique_ptr<TaskKind>>;
    for (const auto make :
         {make_classification, make_regression, make_unlabelled, make_language_model,
          make_sequence_to_sequence, make_token_classification, make_span, make_multiple_choice,
          make_next_sentence, make_multi_label, make_prompted, make_cloze, make_similarity})
      all->push_back(make());
    return all;
  }();
  return *list;
}

const TaskKind& kind_of(Task task) {
  for (const auto& kind : tasks())
    if (kind->facts().task == task) return *kind;
  throw Error(ErrorKind::internal, "a task that is not registered");
}

const TaskKind& kind_of(const DatasetOptions& options) {
  std::vector<std::string> names;
  for (const auto& kind : tasks()) {
    if (options.task == kind->facts().name) return *kind;
    names.emplace_back(kind->facts().name);
  }
  throw Error(ErrorKind::recipe, str("unknown task ", cited(options.task)), {},
              "the tasks are " + join(names, ", "));
}

std::vector<const TaskFacts*> task_facts() {
  std::vector<const TaskFacts*> list;
  for (const auto& kind : tasks()) list.push_back(&kind->facts());
  return list;
}

const TaskFacts& facts_of(Task task) {
  return kind_of(task).facts();
}

const TaskFacts& facts_of(const DatasetOptions& options) {
  return kind_of(options).facts();
}

Task task_of(const DatasetOptions& options) {
  return facts_of(options).task;
}

std::vector<std::string> marks_of(const DatasetOptions& options) {
  return kind_of(options).marks(options);
}

const TaskFacts* task_of_head(std::string_view head) {
  if (head.empty()) return nullptr;
  for (const auto& kind : tasks())
    if (head == kind->facts().head) return &kind->facts();
  return nullptr;
}

void IdentityHash::add(std::string_view part) {
  hash_.part(part);
}

void IdentityHash::add(const std::vector<std::string>& parts) {
  add(str(parts.size()));
  for (const std::string& part : parts) add(part);
}

void TaskRules::refuse(const std::string& key, std::string what, std::string hint) {
  recipe::Mark place = mark_;
  place.path += "." + key;
  problems_.add(place, std::move(what), std::move(hint));
}

void TaskRules::need(bool given, const char* task, const char* key, const char* hint) {
  if (!given) problems_.add(mark_, str("a data set for ", task, " needs `", key, "`"), hint);
}

std::vector<std::string> TaskKind::given_names(const DatasetOptions& options) const {
  return options.labels;
}

std::optional<int64_t> TaskKind::guessed_rows(const DatasetOptions&, int64_t, int64_t) const {
  return std::nullopt;
}

std::vector<std::string_view> TaskKind::labels_of(const DatasetOptions&,
                                                  std::string_view cell) const {
  if (text_kind() == CellKind::words) return list_items(cell);
  return {cell};
}

// Of several accepted ones the first.
std::string_view TaskKind::answer_of(const DatasetOptions&, std::string_view cell) const {
  return cell.substr(0, cell.find(list_separator));
}

void TaskKind::tokenise(RowStream& stream) const {
  stream.tokenise_texts();
}

}  // namespace compress::data
