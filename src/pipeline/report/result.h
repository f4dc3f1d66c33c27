#pragma once
// Results as JSON, and whether they are the expected ones.

#include <string>
#include <vector>

#include "compress/pipeline/run.h"

namespace compress::pipeline {

// What result.json says of a stage.
nn::Json to_json(const StageResult& result);
nn::Json record_json(const StageResult& result);  // all of it, for stage.json
StageResult stage_from_json(
    const nn::Json& json);  // throws nlohmann exceptions when the file is not ours
nn::Json to_json(const Expectation& expectation);
nn::Json to_json(const RunResult& result, const Recipe& recipe);
// `folders`: of the runs, one a seed, in which predictions of rows are found for tests; the results
// in `stages` are their means.
std::vector<Expectation> judge(const std::vector<ExpectOptions>& expect,
                               const std::vector<StageResult>& stages,
                               const std::vector<std::filesystem::path>& folders = {});
const Metric* find_metric(const StageResult& result, const std::string& split,
                          const std::string& name);
// The number at a path of keys and places in lists with dots ("layers.0"); NaN when there is none.
double number_at(const nn::Json& numbers, const std::string& path);

}  // namespace compress::pipeline
