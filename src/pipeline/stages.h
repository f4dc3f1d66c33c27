#pragma once
// What running the stages of one recipe shares.

#include <map>
#include <memory>

#include "compress/pipeline/run.h"
#include "workbench.h"

namespace compress::pipeline {

// One run: its folder and its workbench.
class Runner {
 public:
  Runner(const Recipe& recipe, const RunOptions& options);
  RunResult run();

 private:
  StageResult run_stage(const StageOptions& stage);
  StageResult run_train(const StageOptions& stage, StageResult result);
  StageResult run_evaluate(const StageOptions& stage, StageResult result);
  StageResult run_export(const StageOptions& stage, StageResult result);

  // The process that writes and judges.
  bool first() const { return parallel::is_first(options_.processes); }
  // The result of an earlier run with this identity, or nothing.
  std::optional<StageResult> earlier(const std::string& name, const std::string& identity) const;
  std::filesystem::path stage_folder(const std::string& name) const {
    return folder_ / "stages" / name;
  }
  // Folder of a model named in the recipe: an earlier stage's, or the path itself.
  std::filesystem::path model_folder(const std::string& name) const;
  // Hash of what a model named in the recipe is: the stage's identity, or the files' content.
  std::string model_identity(const std::string& name);
  std::string identity(const StageOptions& stage);
  // The data set that a stage works on.
  std::string dataset_of(const StageOptions& stage) const;
  void score(exports::LoadedModel& loaded, const std::string& dataset,
             const std::vector<std::string>& metrics, nn::Precision precision,
             const std::filesystem::path& tokenizer_folder, StageResult& result);
  nn::Json provenance() const;

  const Recipe& recipe_;
  const RunOptions& options_;
  std::filesystem::path folder_;
  std::map<std::string, std::string> identities_;
  Workbench bench_;
  std::unique_ptr<MetricsLog> metrics_;
};

// Whole number that a stage's random streams start from.
uint64_t stage_seed(const Recipe& recipe, const StageOptions& stage);
uint64_t folder_bytes(const std::filesystem::path& folder);
uint64_t weight_bytes(const std::filesystem::path& folder);

// stage.json and result.json
nn::Json to_json(const StageResult& result);
StageResult stage_from_json(
    const nn::Json& json);  // throws nlohmann exceptions when the file is not ours
nn::Json to_json(const RunResult& result, const Recipe& recipe);
std::vector<Expectation> judge(const std::vector<ExpectOptions>& expect,
                               const std::vector<StageResult>& stages);
const Metric* find_metric(const StageResult& result, const std::string& split,
                          const std::string& name);

}  // namespace compress::pipeline
