// `compress schema`: the JSON schema of recipes, for editors.

#include <CLI/CLI.hpp>

#include "compress/cli/commands.h"
#include "compress/pipeline/recipe.h"

namespace compress::cli {

void add_schema(CLI::App& app, Action& action) {
  CLI::App* sub = app.add_subcommand("schema", "Prints the JSON schema of recipes, for editors");
  sub->footer("Example: compress schema > recipe.schema.json");
  sub->callback([&action] {
    action = [] {
      print(pipeline::recipe_schema().dump(2) + "\n");
      return 0;
    };
  });
}

}  // namespace compress::cli
