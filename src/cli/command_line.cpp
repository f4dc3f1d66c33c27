// The command line as a whole: subcommands, global options, and what is wrong with it.

#include "compress/data/torch.h"

#include <CLI/CLI.hpp>

#include "compress/base/error.h"
#include "compress/base/log.h"
#include "compress/base/strings.h"
#include "compress/cli/commands.h"

namespace compress::cli {

namespace {

struct Globals {
  int threads = 0;  // 0 = LibTorch's choice: one a core
  std::string log_level = "info";
  bool version = false;
};

std::vector<std::string> subcommand_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* sub : app.get_subcommands({})) names.push_back(sub->get_name());
  return names;
}

std::vector<std::string> flag_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  return names;
}

// "compress tokenizer encode", as far as the command line names subcommands.
std::string asked_command(const CLI::App& app) {
  std::string name = app.get_name();
  for (const CLI::App* sub : app.get_subcommands()) name += " " + asked_command(*sub);
  return name;
}

// What no option or positional took.
void refuse_leftovers(const CLI::App& app) {
  std::vector<std::string> left = app.remaining(/*recurse=*/true);
  if (left.empty()) return;
  const std::string name = left.front().substr(0, left.front().find('='));
  // The innermost subcommand that was chosen.
  const CLI::App* chosen = &app;
  while (!chosen->get_subcommands().empty()) chosen = chosen->get_subcommands().front();
  if (starts_with(name, "-")) {
    std::vector<std::string> known = flag_names(app);
    if (chosen != &app)
      for (std::string& flag : flag_names(*chosen))
        if (flag != "--help") known.insert(known.begin(), flag);
    throw Error(ErrorKind::recipe, "unknown option '" + name + "'", {},
                suggestion(name, known, "options"));
  }
  const std::vector<std::string> below = subcommand_names(*chosen);
  if (!below.empty())
    throw Error(ErrorKind::recipe, "unknown subcommand '" + name + "'", {},
                suggestion(name, below, "subcommands"));
  throw Error(ErrorKind::recipe, "unexpected argument '" + left.front() + "'", {},
              "see `" + asked_command(app) + " --help`");
}

void add_globals(CLI::App& app, Globals& globals) {
  app.add_flag("--version", globals.version, "Program, LibTorch, devices and processor, then stop");
  app.add_option("--threads", globals.threads,
                 "Threads of the processor to use; default: one a core")
      ->check(CLI::Range(1, 1024));
  app.add_option("--log-level", globals.log_level, "Lines on stderr: debug, info, warning or error")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}));
  app.set_help_flag("-h,--help", "This text");
}

void apply(const Globals& globals) {
  if (globals.threads > 0) at::set_num_threads(globals.threads);
  const std::string& level = globals.log_level;
  log::set_level(level == "debug"     ? log::Level::debug
                 : level == "warning" ? log::Level::warning
                 : level == "error"   ? log::Level::error
                                      : log::Level::info);
}

}  // namespace

int run_command_line(int argc, const char* const* argv) {
  CLI::App app{"Compresses language models as a recipe says: distil, prune, quantise, export.",
               "compress"};
  app.footer(
      "Example: compress run configs/quickstart.yaml\nDocumentation: docs/cli.md, docs/errors.md");
  app.require_subcommand(0, 1);
  app.fallthrough();   // global options may follow the subcommand
  app.allow_extras();  // refuse_leftovers() names the nearest; inherited by the subcommands
  app.get_formatter()->column_width(36);
  Globals globals;
  Action action;
  add_globals(app, globals);
  for (auto add :
       {add_run, add_plan, add_evaluate, add_generate, add_inspect, add_export, add_compare,
        add_reproduce, add_score, add_explain, add_schema, add_bench, add_tokenizer, add_tokenize})
    add(app, action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    print(app.help());
    return 0;
  } catch (const CLI::ParseError& error) {
    refuse_leftovers(app);
    throw Error(ErrorKind::recipe, error.what(), {}, "see `" + asked_command(app) + " --help`");
  }
  refuse_leftovers(app);
  apply(globals);
  if (globals.version) {
    print(version_text());
    return 0;
  }
  if (!action)
    throw Error(ErrorKind::recipe, "no subcommand was given", {},
                join(subcommand_names(app), ", ") + "; see `compress --help`");
  return action();
}

}  // namespace compress::cli
