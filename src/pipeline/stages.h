#pragma once
// What running the stages of one recipe shares.

#include <map>
#include <memory>
#include <optional>

#include "compress/pipeline/run.h"
#include "identity.h"
#include "run_folder.h"
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

  // --- what earlier runs left (resume.cpp), of the process that writes
  void open();
  void forget();
  void look_back();
  void verify_sources();
  std::optional<StageResult> earlier(const StageOptions& stage);
  void check_state(const StageOptions& stage);
  // Whether the result that look_back() found still holds, after what ran since.
  bool holds(const StageOptions& stage, const Inputs& inputs);

  // The process that writes and judges.
  bool first() const { return parallel::is_first(options_.processes); }
  std::filesystem::path stage_folder(const std::string& name) const {
    return folder_ / "stages" / name;
  }
  std::filesystem::path record_file(const std::string& name) const {
    return stage_folder(name) / "stage.json";
  }
  std::filesystem::path state_file(const std::string& name) const {
    return stage_folder(name) / "state.safetensors";
  }
  // Folder of a model named in the recipe: an earlier stage's, or the path itself.
  std::filesystem::path model_folder(const std::string& name) const;
  // Hashes of the models of earlier stages that a stage reads, where they are known.
  std::map<std::string, std::string> models_read(const StageOptions& stage) const;
  // What a saved state must have been made with: the same on all processes.
  std::string state_identity(const StageOptions& stage, const Inputs& updates);
  void score(exports::LoadedModel& loaded, const std::string& dataset,
             const std::vector<std::string>& metrics, nn::Precision precision,
             const std::filesystem::path& tokenizer_folder, StageResult& result);
  nn::Json provenance() const;

  const Recipe& recipe_;
  const RunOptions& options_;
  std::filesystem::path folder_;
  Identities identities_;
  Workbench bench_;
  std::optional<RunFolder> held_;
  std::map<std::string, StageResult> finished_;  // of earlier runs, by stage
  std::map<std::string, std::string> models_;    // hashes of this run's models, by stage
  std::unique_ptr<MetricsLog> metrics_;
};

// Whole number that a stage's random streams start from.
uint64_t stage_seed(const Recipe& recipe, const StageOptions& stage);
uint64_t folder_bytes(const std::filesystem::path& folder);
uint64_t weight_bytes(const std::filesystem::path& folder);

// What result.json says of a stage.
nn::Json to_json(const StageResult& result);
nn::Json record_json(const StageResult& result);  // all of it, for stage.json
StageResult stage_from_json(
    const nn::Json& json);  // throws nlohmann exceptions when the file is not ours
nn::Json to_json(const RunResult& result, const Recipe& recipe);
std::vector<Expectation> judge(const std::vector<ExpectOptions>& expect,
                               const std::vector<StageResult>& stages);
const Metric* find_metric(const StageResult& result, const std::string& split,
                          const std::string& name);

}  // namespace compress::pipeline
