#include "compress/pipeline/run.h"

#include "compress/base/clock.h"
#include "compress/base/files.h"
#include "compress/base/log.h"
#include "compress/base/place.h"
#include "compress/base/strings.h"
#include "recipe/configs.h"
#include "recipe/planning.h"
#include "report/result.h"
#include "run/record.h"
#include "run/runner.h"

namespace compress::pipeline {

Runner::Runner(const Recipe& recipe, const RunOptions& options)
    : given_(recipe),
      options_(options),
      folder_(options.folder.empty() ? std::filesystem::path("runs") / recipe.options.name
                                     : options.folder),
      recipe_(with_rows(recipe, folder_)),
      identities_(recipe_, folder_),
      bench_(
          recipe_, [this](const std::string& model) { return model_folder(model); },
          [this](const std::string& model) { return identities_.model(model); }, options.stop,
          options.processes),
      shelf_(options.shelf) {}

// Before anything is written or trained, all stages are bound: a mistake in the last one is told in
// the first second.
RunResult Runner::run() {
  check_models(given_);
  bind_all(given_);
  parallel::first_only(options_.processes, [&] { open(); });
  RunResult result;
  result.name = recipe_.options.name;
  result.seed = recipe_.options.seed;
  for (const StageOptions& stage : recipe_.options.stages) {
    result.stages.push_back(run_stage(stage));
    result.seconds += result.stages.back().seconds;
  }
  if (!first()) return result;
  result.expectations = judge(recipe_.options.expect, result.stages, 1, scores_in({folder_}));
  write_file(folder_ / "result.json", to_json(result, recipe_).dump(2) + "\n");
  write_file(folder_ / "result.md", result_markdown(result, recipe_));
  log::close_file();
  return result;
}

StageResult Runner::run_stage(const StageOptions& stage) {
  const Inputs inputs = identities_.results(stage);
  StageResult result;
  const bool finished = first() && holds(stage, inputs);
  const bool skipped = parallel::as_first(options_.processes, finished);
  if (!skipped) result = run_anew(stage);
  if (finished) result = finished_.at(stage.name);
  result.name = stage.name;
  result.kind = stage.kind.name();
  result.identity = inputs.identity;
  result.inputs = inputs.text;
  if (skipped)
    log::info(str(stage.name, ": unchanged since an earlier run, skipped"));
  else
    keep(stage, result);
  artefacts_[stage.name] = artefact_hash(result);
  return result;
}

StageResult Runner::run_anew(const StageOptions& stage) {
  bench_.check_stop("stage '" + stage.name + "'");
  parallel::first_only(options_.processes, [&] {
    make_folder(stage_folder(stage.name));
    std::filesystem::remove(record_file(stage.name));
  });
  Bench bench{recipe_,       stage,       bench_, stage_folder(stage.name), options_.processes,
              options_.stop, provenance()};
  if (const auto updates = identities_.updates(stage, options_.processes)) {
    bench.state_file = state_file(stage.name);
    bench.state_identity = state_identity(stage, *updates);
    bench.state_inputs = updates->text;
    bench.metrics = metrics_.get();
    if (first()) bench.events = folder_ / "events" / stage.name;
  }
  const double before = cpu_seconds();
  StageResult result = with_place(stage.mark.text(), [&] { return kind_of(stage)->run(bench); });
  result.cpu_seconds = cpu_seconds() - before;
  return result;
}

void Runner::keep(const StageOptions& stage, StageResult& result) {
  parallel::first_only(options_.processes, [&] {
    result.files = record_files(stage_folder(stage.name), result);
    result.made_from = artefacts_read(stage);
    write_file(record_file(stage.name), record_json(result).dump(2) + "\n");
    shelf_.leave(result.identity, stage_folder(stage.name));
    std::filesystem::remove(state_file(stage.name));
  });
  identities_.refresh();
}

std::filesystem::path Runner::model_folder(const std::string& name) const {
  return recipe_.stage(name) != nullptr ? stage_folder(name) / model_name
                                        : std::filesystem::path(name);
}

nn::Json Runner::provenance() const {
  return {{"program", program_version()},
          {"recipe", recipe_.options.name},
          {"paper", recipe_.options.paper.text()},
          {"seed", recipe_.options.seed},
          {"resolved_recipe", recipe_.resolved}};
}

RunResult run(const Recipe& recipe, const RunOptions& options) {
  return Runner(recipe, options).run();
}

}  // namespace compress::pipeline
