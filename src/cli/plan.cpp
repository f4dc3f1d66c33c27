// `compress plan`: what a run would do.

#include <CLI/CLI.hpp>

#include "compress/cli/commands.h"
#include "compress/pipeline/run.h"

namespace compress::cli {

namespace {

struct PlanFlags {
  std::string recipe;
  std::vector<std::string> overrides;
};

int plan(const PlanFlags& flags) {
  print(pipeline::plan_text(pipeline::load_recipe(flags.recipe, flags.overrides)));
  return 0;
}

}  // namespace

void add_plan(CLI::App& app, Action& action) {
  auto flags = std::make_shared<PlanFlags>();
  CLI::App* sub =
      app.add_subcommand("plan", "Checks a recipe and shows what it would do, without training");
  sub->add_option("RECIPE", flags->recipe, "YAML file")->required();
  sub->add_option("--set", flags->overrides,
                  "Overrides a key of the recipe: stages.student.train.batch=64")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  sub->footer("Example: compress plan configs/quickstart.yaml");
  sub->callback([flags, &action] { action = [flags] { return plan(*flags); }; });
}

}  // namespace compress::cli
