#pragma once
// The kind of stage that trains a model; its options are train::TrainOptions.

#include "compress/train/options.h"
#include "stage.h"

namespace compress::pipeline {

struct Known;  // configs.h

// Metrics that a training stage reports of a model of the scored configuration, the selecting one
// among them.
std::vector<std::string> metric_list(const train::EvaluationOptions& options,
                                     const nn::ModelConfig& scored,
                                     const data::DatasetOptions& data);

class TrainStage : public StageKind {
 public:
  using StageKind::StageKind;

  Leaves leaves() const override { return {.model = true}; }
  std::optional<int64_t> seed() const override { return options().seed; }
  std::vector<std::vector<std::string>> indifferent() const override;
  bool describe_updates(recipe::Node& description,
                        const parallel::Processes* processes) const override;
  StageResult run(Bench& bench) const override;
  // train_checks.cpp
  void check(const RecipeOptions& recipe, recipe::Problems& problems) const override;
  void check_models(Configs& configs) const override;
  // train_plan.cpp
  void plan(Planning& planning) const override;

 private:
  const train::TrainOptions& options() const { return stage_.kind.as<train::TrainOptions>(); }
  void check_teacher(Configs& configs, const Known& student, const std::string& name,
                     const train::TeacherOptions& how) const;
};

}  // namespace compress::pipeline
