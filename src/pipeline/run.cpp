#include "compress/pipeline/run.h"

#include "checks.h"
#include "compress/base/files.h"
#include "compress/base/log.h"
#include "compress/base/place.h"
#include "compress/base/random.h"
#include "compress/base/strings.h"
#include "record.h"
#include "stages.h"

namespace compress::pipeline {

Runner::Runner(const Recipe& recipe, const RunOptions& options)
    : recipe_(recipe),
      options_(options),
      folder_(options.folder.empty() ? std::filesystem::path("runs") / recipe.options.name
                                     : options.folder),
      identities_(recipe, folder_),
      bench_(
          recipe, [this](const std::string& model) { return model_folder(model); },
          [this](const std::string& model) { return identities_.model(model); }, options.stop,
          options.processes) {}

RunResult Runner::run() {
  check_models(recipe_);
  parallel::first_only(options_.processes, [&] { open(); });
  RunResult result;
  result.name = recipe_.options.name;
  result.seed = recipe_.options.seed;
  for (const StageOptions& stage : recipe_.options.stages) {
    result.stages.push_back(run_stage(stage));
    result.seconds += result.stages.back().seconds;
  }
  if (!first()) return result;
  result.expectations = judge(recipe_.options.expect, result.stages);
  write_file(folder_ / "result.json", to_json(result, recipe_).dump(2) + "\n");
  write_file(folder_ / "result.md", result_markdown(result, recipe_));
  log::close_file();
  return result;
}

StageResult Runner::run_stage(const StageOptions& stage) {
  StageResult result;
  result.name = stage.name;
  const Inputs inputs = identities_.results(stage);
  result.identity = inputs.identity;
  result.inputs = inputs.text;
  const bool finished = first() && holds(stage, inputs);
  if (parallel::as_first(options_.processes, finished)) {
    if (finished) result = finished_.at(stage.name);
    models_[stage.name] = model_hash(result);
    log::info(compress::str(stage.name, ": unchanged since an earlier run, skipped"));
    return result;
  }
  bench_.check_stop("stage '" + stage.name + "'");
  parallel::first_only(options_.processes, [&] {
    make_folder(stage_folder(stage.name));
    std::filesystem::remove(record_file(stage.name));
  });
  result = with_place(recipe_.stage_mark(stage.name, {}).text(), [&] {
    if (stage.train) return run_train(stage, std::move(result));
    return stage.evaluate ? run_evaluate(stage, std::move(result))
                          : run_export(stage, std::move(result));
  });
  parallel::first_only(options_.processes, [&] {
    result.files = record_files(stage_folder(stage.name), result);
    result.made_from = models_read(stage);
    write_file(record_file(stage.name), record_json(result).dump(2) + "\n");
    std::filesystem::remove(state_file(stage.name));
  });
  models_[stage.name] = model_hash(result);
  identities_.refresh();
  return result;
}

std::filesystem::path Runner::model_folder(const std::string& name) const {
  return recipe_.stage(name) != nullptr ? stage_folder(name) / "model"
                                        : std::filesystem::path(name);
}

nn::Json Runner::provenance() const {
  return {{"program", program_version()},
          {"recipe", recipe_.options.name},
          {"paper", recipe_.options.paper},
          {"seed", recipe_.options.seed},
          {"resolved_recipe", recipe_.resolved}};
}

uint64_t stage_seed(const Recipe& recipe, const StageOptions& stage) {
  auto seed = static_cast<uint64_t>(stage.train && stage.train->seed ? *stage.train->seed
                                                                     : recipe.options.seed);
  return stream_seed(seed, "stage/" + stage.name);
}

uint64_t folder_bytes(const std::filesystem::path& folder) {
  uint64_t total = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) total += entry.file_size();
  return total;
}

uint64_t weight_bytes(const std::filesystem::path& folder) {
  uint64_t total = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.is_regular_file() && entry.path().extension() == ".safetensors")
      total += entry.file_size();
  return total;
}

RunResult run(const Recipe& recipe, const RunOptions& options) {
  return Runner(recipe, options).run();
}

}  // namespace compress::pipeline
