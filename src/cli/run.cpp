// `compress run`: trains what a recipe says, stops cleanly on a signal, prints what came out.

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>

#include "compress/base/error.h"
#include "compress/base/log.h"
#include "compress/base/strings.h"
#include "compress/cli/commands.h"
#include "compress/pipeline/run.h"
#include "session.h"

namespace compress::cli {

namespace {

struct RunFlags {
  std::string recipe, out;
  std::vector<std::string> overrides;
  std::vector<int64_t> seeds;
  bool fresh = false, quiet = false;
};

std::atomic<bool> stop_wanted{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler sets it");

// Several processes stop together, and launchers repeat their signals: there the first one counts.
void on_shared_signal(int) {
  stop_wanted = true;
}

// The first signal asks the training loop to save its state and leave; the second one has its
// ordinary effect at once. Only functions that are safe in a signal handler are called.
void on_signal(int) {
  stop_wanted = true;
  for (int signal : {SIGINT, SIGTERM, SIGUSR1}) std::signal(signal, SIG_DFL);
  constexpr std::string_view text = "\nstopping after this update; once more to end at once\n";
  [[maybe_unused]] ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
}

std::string expectations_text(const std::vector<pipeline::Expectation>& expectations) {
  std::string text;
  for (const pipeline::Expectation& expectation : expectations)
    text += expectation.verdict() + expectation.text + "\n";
  return text;
}

// After everything was printed: missed numbers are a failure with a code of its own.
void require_held(const std::vector<pipeline::Expectation>& expectations,
                  const std::string& recipe) {
  size_t missed = 0, undecided = 0;
  for (const pipeline::Expectation& expectation : expectations) {
    missed += expectation.held || expectation.undecided ? 0 : 1;
    undecided += expectation.undecided ? 1 : 0;
  }
  if (missed + undecided == 0) return;
  if (missed == 0)
    throw Error(ErrorKind::undecided,
                str(undecided, " of ", expectations.size(), " expectations could not be decided"),
                recipe,
                "the run is complete and its results are kept; more seeds (--seeds) or a larger "
                "part see smaller differences");
  throw Error(ErrorKind::expectation,
              str(missed, " of ", expectations.size(), " expected numbers did not hold"), recipe,
              "the run is complete and its results are kept; lines marked MISSED tell by how much");
}

int run_with(const RunFlags& flags, parallel::Processes* processes) {
  if (flags.quiet) log::set_level(log::Level::warning);
  for (int signal : {SIGINT, SIGTERM, SIGUSR1})
    std::signal(signal, processes == nullptr ? on_signal : on_shared_signal);
  const bool first = parallel::is_first(processes);
  pipeline::RunOptions options;
  options.folder = flags.out;
  options.fresh = flags.fresh;
  options.stop = &stop_wanted;
  options.processes = processes;
  if (!flags.seeds.empty()) {
    pipeline::SeedsResult result =
        pipeline::run_seeds(flags.recipe, flags.overrides, flags.seeds, options);
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
                  "Runs once with each seed and reports mean and deviation: 13,14,15")
      ->delimiter(',')
      ->allow_extra_args(false);
  sub->add_flag("--fresh", flags->fresh, "Ignores finished stages and saved states");
  sub->add_flag("--quiet", flags->quiet, "Only warnings and the result");
  sub->footer("Example: compress run configs/quickstart.yaml --set stages.teacher.train.batch=64");
  sub->callback([flags, &action] { action = [flags] { return run(*flags); }; });
}

}  // namespace compress::cli
