#pragma once
// Results as JSON, and whether they are the expected ones.

#include <functional>
#include <string>
#include <vector>

#include "compress/eval/kept.h"
#include "compress/pipeline/run.h"

namespace compress::pipeline {

// What result.json says of a stage.
nn::Json to_json(const StageResult& result);
nn::Json record_json(const StageResult& result);  // all of it, for stage.json
StageResult stage_from_json(
    const nn::Json& json);  // throws nlohmann exceptions when the file is not ours
nn::Json to_json(const Expectation& expectation);
nn::Json to_json(const RunResult& result, const Recipe& recipe);
// What a stage of one of several runs scored on each row; Error where that is not known.
using ScoresOfRows = std::function<eval::RowScores(
    int64_t run, const std::string& stage, const std::string& split, const std::string& metric)>;
// Out of the predictions that the runs left in their folders.
ScoresOfRows scores_in(std::vector<std::filesystem::path> folders);
// `runs` is their number, one a seed; the results in `stages` are their means.
std::vector<Expectation> judge(const std::vector<ExpectOptions>& expect,
                               const std::vector<StageResult>& stages, int64_t runs = 0,
                               const ScoresOfRows& scores = {});
// Stages whose metrics and numbers are the means over the runs, which have the same stages.
std::vector<StageResult> mean_stages(const std::vector<std::vector<StageResult>>& runs);
struct Spread {
  double mean = 0, deviation = 0;  // of the sample (n - 1)
};
Spread spread(const std::vector<double>& values);
const Metric* find_metric(const StageResult& result, const std::string& split,
                          const std::string& name);
// The number at a path of keys and places in lists with dots ("layers.0"); NaN when there is none.
double number_at(const nn::Json& numbers, const std::string& path);

}  // namespace compress::pipeline
