// `compress run`: trains what a recipe says, stops cleanly on a signal, prints what came out.

#include <CLI/CLI.hpp>

#include "compress/base/log.h"
#include "compress/cli/commands.h"
#include "compress/pipeline/run.h"
#include "shared/running.h"
#include "shared/session.h"

namespace compress::cli {

namespace {

struct RunFlags {
  std::string recipe, out;
  std::vector<std::string> overrides;
  std::vector<std::string> seeds;
  bool fresh = false, quiet = false;
};

int run_with(const RunFlags& flags, parallel::Processes* processes) {
  if (flags.quiet) log::set_level(log::Level::warning);
  const bool first = parallel::is_first(processes);
  pipeline::RunOptions options;
  options.folder = flags.out;
  options.fresh = flags.fresh;
  options.stop = stop_on_signals(processes != nullptr);
  options.processes = processes;
  if (!flags.seeds.empty()) {
    pipeline::SeedsResult result =
        pipeline::run_seeds(flags.recipe, flags.overrides, seeds_of(flags.seeds), options);
    if (!first) return 0;
    print(result.table + (result.expectations.empty() ? "" : "\n") +
          expectations_text(result.expectations));
    require_held(result.expectations, flags.recipe);
    return 0;
  }
  pipeline::RunResult result =
      pipeline::run(pipeline::load_recipe(flags.recipe, flags.overrides), options);
  if (!first) return 0;
  print(pipeline::result_text(result));
  require_held(result.expectations, flags.recipe);
  return 0;
}

int run(const RunFlags& flags) {
  return with_processes([&](parallel::Processes* processes) { return run_with(flags, processes); });
}

}  // namespace

void add_run(CLI::App& app, Action& action) {
  auto flags = std::make_shared<RunFlags>();
  CLI::App* sub =
      app.add_subcommand("run", "Runs a recipe; goes on where an interrupted run stopped");
  sub->add_option("RECIPE", flags->recipe, "YAML file")->required();
  sub->add_option("--set", flags->overrides,
                  "Overrides a key of the recipe: stages.student.train.batch=64")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  sub->add_option("--out", flags->out, "Folder of the run; default: runs/<name>")->type_name("DIR");
  sub->add_option("--seeds", flags->seeds,
                  "Runs once with each seed and reports mean and deviation: 13,14,15 or 13..15")
      ->delimiter(',')
      ->allow_extra_args(false);
  sub->add_flag("--fresh", flags->fresh, "Ignores finished stages and saved states");
  sub->add_flag("--quiet", flags->quiet, "Only warnings and the result");
  sub->footer("Example: compress run configs/quickstart.yaml --set stages.teacher.train.batch=64");
  sub->callback([flags, &action] { action = [flags] { return run(*flags); }; });
}

}  // namespace compress::cli
