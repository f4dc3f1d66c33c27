// Texts alone: for what reads no label of the data.

#include "tasks/task.h"

namespace compress::data {

std::unique_ptr<TaskKind> make_unlabelled() {
  return std::make_unique<TaskKind>(TaskFacts{.name = "unlabelled",
                                              .task = Task::unlabelled,
                                              .summary = "nothing",
                                              .leaves_out_empty = true,
                                              .metrics = {"perplexity"}});
}

}  // namespace compress::data
