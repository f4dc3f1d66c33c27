// `compress reproduce`: the published systems' recipes, and tables of what they gave.

#include "compress/pipeline/reproduce.h"

#include <CLI/CLI.hpp>

#include "compress/base/log.h"
#include "compress/cli/commands.h"
#include "shared/running.h"

namespace compress::cli {

namespace {

struct ReproduceFlags {
  pipeline::ReproduceOptions options;
  std::vector<std::string> places, seeds = {"1..3"};
  std::string folder, results, documents;
  bool table = false, check = false, quiet = false;
};

int reproduce(const ReproduceFlags& flags) {
  if (flags.quiet) log::set_level(log::Level::warning);
  pipeline::ReproduceOptions options = flags.options;
  options.places.assign(flags.places.begin(), flags.places.end());
  options.seeds = seeds_of(flags.seeds);
  options.folder = flags.folder;
  options.results = flags.results;
  options.documents = flags.documents;
  if (flags.table || flags.check) {
    print(pipeline::write_result_tables(options, flags.check));
    return 0;
  }
  options.stop = stop_on_signals(false);
  const std::vector<pipeline::Expectation> found = pipeline::reproduce(options);
  print(expectations_text(found));
  require_held(found, flags.places.front());
  return 0;
}

}  // namespace

void add_reproduce(CLI::App& app, Action& action) {
  auto flags = std::make_shared<ReproduceFlags>();
  const pipeline::ReproduceOptions& defaults = flags->options;
  flags->places = {defaults.places.front().string()};
  flags->folder = defaults.folder.string();
  flags->results = defaults.results.string();
  flags->documents = defaults.documents.string();
  CLI::App* sub = app.add_subcommand(
      "reproduce", "Runs the recipes of published systems and keeps what they give");
  sub->add_option("PLACE", flags->places,
                  "Systems (folders with quick/*.yaml), folders of them, or single recipes")
      ->capture_default_str();
  sub->add_option("--seeds", flags->seeds, "Each recipe once with each: 1..5 or 13,14,15")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str();
  sub->add_flag("--full", flags->options.full, "The recipes of full/ as well");
  sub->add_flag("--fresh", flags->options.fresh,
                "Forgets what earlier runs finished or saved; stages that recipes share stay");
  sub->add_option("--out", flags->folder, "Folder of the runs")->capture_default_str();
  sub->add_option("--results", flags->results, "Folder of the kept results, a file a system")
      ->capture_default_str();
  sub->add_option("--docs", flags->documents, "Folder of the pages with tables")
      ->capture_default_str();
  sub->add_flag("--table", flags->table, "Runs nothing: makes the pages' tables of kept results");
  sub->add_flag("--check", flags->check, "Runs nothing: fails where the tables are not up to date");
  sub->add_flag("--quiet", flags->quiet, "Only warnings and the verdicts");
  sub->footer("Example: compress reproduce configs/papers/swa --seeds 1..5");
  sub->callback([flags, &action] { action = [flags] { return reproduce(*flags); }; });
}

}  // namespace compress::cli
