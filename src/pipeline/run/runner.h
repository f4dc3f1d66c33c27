#pragma once
// What running the stages of one recipe shares.

#include <map>
#include <memory>
#include <optional>

#include "compress/pipeline/run.h"
#include "materials/workbench.h"
#include "run/identity.h"
#include "run/run_folder.h"
#include "run/shelf.h"
#include "stage.h"

namespace compress::pipeline {

// One run: its folder and its workbench.
class Runner {
 public:
  Runner(const Recipe& recipe, const RunOptions& options);
  RunResult run();

 private:
  StageResult run_stage(const StageOptions& stage);
  // Runs it whatever is there; keep() records what came out.
  StageResult run_anew(const StageOptions& stage);
  void keep(const StageOptions& stage, StageResult& result);

  // --- what earlier runs left (resume.cpp), of the process that writes
  void open();
  void forget();
  void look_back();
  void verify_sources();
  // A result with the stage's identity and whole files: this run's, else another's on the shelf.
  std::optional<StageResult> earlier(const StageOptions& stage);
  std::optional<StageResult> recorded(const StageOptions& stage);
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
  // Hashes of what earlier stages left and a stage reads, where they are known.
  std::map<std::string, std::string> artefacts_read(const StageOptions& stage) const;
  // What a saved state must have been made with: the same on all processes.
  std::string state_identity(const StageOptions& stage, const Inputs& updates);
  nn::Json provenance() const;

  const Recipe& given_;
  const RunOptions& options_;
  std::filesystem::path folder_;
  Recipe recipe_;  // as given, with the files of rows that its stages leave
  Identities identities_;
  Workbench bench_;
  Shelf shelf_;
  std::optional<RunFolder> held_;
  std::map<std::string, StageResult> finished_;   // of earlier runs, by stage
  std::map<std::string, std::string> artefacts_;  // hashes of what this run has, by stage
  std::unique_ptr<MetricsLog> metrics_;
};

}  // namespace compress::pipeline
