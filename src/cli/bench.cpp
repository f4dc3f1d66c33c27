// `compress bench`: how fast a stage trains on this machine.

#include <CLI/CLI.hpp>

#include "compress/base/strings.h"
#include "compress/cli/commands.h"
#include "compress/nn/model.h"
#include "compress/pipeline/run.h"
#include "shared/session.h"

namespace compress::cli {

namespace {

struct BenchFlags {
  std::string recipe, stage, folder;
  std::vector<std::string> overrides;
  int64_t steps = 20;
  bool json = false;
};

int bench_with(const BenchFlags& flags, parallel::Processes* processes) {
  pipeline::Recipe recipe = pipeline::load_recipe(flags.recipe, flags.overrides);
  std::filesystem::path folder = flags.folder;
  if (folder.empty()) folder = std::filesystem::path("runs") / recipe.options.name;
  const pipeline::BenchResult result =
      pipeline::bench_stage(recipe, flags.stage, flags.steps, folder, processes);
  if (!parallel::is_first(processes)) return 0;
  if (flags.json) {
    nn::Json json = {{"stage", flags.stage},
                     {"steps", result.steps},
                     {"rows", result.rows},
                     {"seconds", result.seconds},
                     {"samples_per_second", result.samples_per_second},
                     {"seconds_to_first_step", result.seconds_to_first_step},
                     {"mean_tokens", result.mean_tokens}};
    if (result.device_peak_mb > 0) json["device_peak_mb"] = result.device_peak_mb;
    print(json.dump(2) + "\n");
    return 0;
  }
  Table table({"stage", "updates", "rows", "seconds", "samples/s", "seconds to the first update"});
  table.row({flags.stage, str(result.steps), str(result.rows), fixed(result.seconds, 2),
             fixed(result.samples_per_second, 1), fixed(result.seconds_to_first_step, 2)});
  print(table.text());
  return 0;
}

int bench(const BenchFlags& flags) {
  return with_processes(
      [&](parallel::Processes* processes) { return bench_with(flags, processes); });
}

}  // namespace

void add_bench(CLI::App& app, Action& action) {
  auto flags = std::make_shared<BenchFlags>();
  CLI::App* sub =
      app.add_subcommand("bench", "Times the updates of one training stage; saves nothing");
  sub->add_option("RECIPE", flags->recipe, "YAML file")->required();
  sub->add_option("--stage", flags->stage, "Which stage")->required();
  sub->add_option("--steps", flags->steps, "Updates timed, after a first one that is not")
      ->check(CLI::Range(1, 1000000));
  sub->add_option("--run", flags->folder,
                  "Run folder that holds the models of earlier stages; default: runs/<name>")
      ->type_name("DIR");
  sub->add_option("--set", flags->overrides, "Overrides a key of the recipe")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  sub->add_flag("--json", flags->json, "As JSON");
  sub->footer("Example: compress bench configs/quickstart.yaml --stage teacher --steps 50");
  sub->callback([flags, &action] { action = [flags] { return bench(*flags); }; });
}

}  // namespace compress::cli
