// `compress score`: what a benchmark makes of the scores of its tasks.

#include <CLI/CLI.hpp>

#include "compress/cli/commands.h"
#include "compress/pipeline/compare.h"

namespace compress::cli {

namespace {

struct ScoreFlags {
  std::vector<std::string> runs;
  bool markdown = false;
};

int score(const ScoreFlags& flags) {
  std::vector<pipeline::Compared> runs;
  for (const std::string& run : flags.runs) runs.push_back(pipeline::compared(run));
  print(pipeline::benchmark(runs, flags.markdown));
  return 0;
}

}  // namespace

void add_score(CLI::App& app, Action& action) {
  auto flags = std::make_shared<ScoreFlags>();
  CLI::App* sub = app.add_subcommand(
      "score", "The score of a benchmark over runs on its tasks, each with a `layout`");
  sub->add_option("RUNS", flags->runs, "Run folders, or FOLDER:STAGE")->required();
  sub->add_flag("--markdown", flags->markdown, "The table as Markdown");
  sub->footer("Example: compress score runs/cola runs/sst2:student runs/mrpc");
  sub->callback([flags, &action] { action = [flags] { return score(*flags); }; });
}

}  // namespace compress::cli
