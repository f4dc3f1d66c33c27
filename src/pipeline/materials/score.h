#pragma once
// Scoring a stage's model on the validation and test parts.

#include <string>
#include <vector>

#include "compress/export/export.h"
#include "compress/generate/texts.h"
#include "compress/nn/parameter.h"
#include "recipe/promises.h"
#include "stage.h"

namespace compress::pipeline {

struct ScoreOptions {
  std::string dataset;
  std::string head;                  // "": the model's own
  std::vector<std::string> metrics;  // empty: those of the task
  nn::Precision precision = nn::Precision::float32;
  std::filesystem::path tokenizer_folder;
  const std::atomic<bool>* stop = nullptr;  // null: a score is waited for
  generate::WritingOptions writing = {};    // of metrics of written texts
  double null_threshold = 0;                // as eval::EvaluateOptions
};
// Fills the result's scores, and tells them.
void score_model(Bench& bench, exports::LoadedModel& model, const ScoreOptions& options,
                 StageResult& result);

// Metrics that are reported of a model of the scored configuration: those that are named, else
// those of the data set or the task.
std::vector<std::string> reported_metrics(const std::vector<recipe::MetricReference>& named,
                                          const nn::ModelConfig& scored,
                                          const data::DatasetOptions& data);
// That score_model() will fill in these.
Promise promised_scores(const data::DatasetOptions& data, const std::vector<std::string>& metrics);

}  // namespace compress::pipeline
