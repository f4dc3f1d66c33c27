// `compress compare`: two runs or two stages side by side.

#include "compress/pipeline/compare.h"

#include <CLI/CLI.hpp>

#include "compress/cli/commands.h"
#include "shared/numbers.h"

namespace compress::cli {

namespace {

struct CompareFlags {
  std::string first, second;
  double p = 0.05;
  bool markdown = false;
};

int compare(const CompareFlags& flags) {
  print(pipeline::compare({pipeline::compared(flags.first), pipeline::compared(flags.second),
                           flags.p, flags.markdown}));
  return 0;
}

}  // namespace

void add_compare(CLI::App& app, Action& action) {
  auto flags = std::make_shared<CompareFlags>();
  CLI::App* sub = app.add_subcommand(
      "compare", "Tells two runs or two stages apart: recipes, scores, paired tests");
  sub->add_option("FIRST", flags->first, "Run folder, or FOLDER:STAGE")->required();
  sub->add_option("SECOND", flags->second, "Run folder, or FOLDER:STAGE")->required();
  sub->add_option("--p", flags->p, "Level of the tests: intervals have confidence 1 - p")
      ->check(number_between(1e-6, 0.5))
      ->capture_default_str();
  sub->add_flag("--markdown", flags->markdown, "The table as Markdown");
  sub->footer("Example: compress compare runs/quickstart:student runs/quickstart:sparse");
  sub->callback([flags, &action] { action = [flags] { return compare(*flags); }; });
}

}  // namespace compress::cli
