// How near two texts are, each read by itself: the cosine of their embeddings.

#include "tasks/task.h"

namespace compress::data {

namespace {

class Similarity final : public TaskKind {
 public:
  Similarity()
      : TaskKind({.name = "similarity",
                  .task = Task::similarity,
                  .summary = "how near the embeddings of two texts are",
                  .labelled = true,
                  .head = "embedding",
                  .metrics = {"spearman", "pearson"}}) {}

  void check(const DatasetOptions& options, TaskRules& rules) const override {
    rules.need(!options.pair.empty(), facts().name, "pair", "name the column of the second text");
  }

  RowTargets targets(const DatasetOptions&) const override { return RowTargets::values; }

  void read(const Record& record, TargetReader& reader, BadRows& bad) const override {
    reader.add_score(record, bad);
  }
};

}  // namespace

std::unique_ptr<TaskKind> make_similarity() {
  return std::make_unique<Similarity>();
}

}  // namespace compress::data
