#pragma once
// What is known of a task by its name: one file each in src/data/tasks/, which also has its
// columns, its checks and how its rows are read.

#include <string>
#include <string_view>
#include <vector>

#include "compress/data/dataset.h"

namespace compress::data {

struct TaskFacts {
  const char* name;  // in DatasetOptions::task
  Task task;
  const char* summary;
  bool labelled = false;     // needs `label` (or, for classification, `soft_labels`)
  bool class_names = false;  // its splits have class names
  bool several = false;      // a row has any number of its classes
  // Whether rows without text are left out, not refused.
  bool leaves_out_empty = false;
  bool one_text = false;  // has no `pair`
  // The head (nn::head_name) that is trained on it and that it scores; "" = the model's own.
  const char* head = "";
  // The head, beside that one, that its rows have classes for; "" = none.
  const char* further_head = "";
  // What it is scored by where the recipe names no metrics: in general, with two classes, and where
  // the classes are tags of entities (empty: as in general).
  std::vector<std::string> metrics, metrics_of_two{}, metrics_of_entities{};
};

// Whether rows are one text each token of which is predicted from those before it.
inline bool reads_on(Task task) {
  return task == Task::language_model || task == Task::prompted;
}

// In the order of the documents.
std::vector<const TaskFacts*> task_facts();
const TaskFacts& facts_of(Task task);
const TaskFacts& facts_of(const DatasetOptions& options);  // Error{recipe} for an unknown task
// Names of the marks on tokens (Targets::marks) that a data set's rows have.
std::vector<std::string> marks_of(const DatasetOptions& options);
// The task that a head is scored on; null for a head that is none's.
const TaskFacts* task_of_head(std::string_view head);

}  // namespace compress::data
