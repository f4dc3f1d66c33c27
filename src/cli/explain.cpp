// `compress explain`: what the components of a recipe do.

#include <CLI/CLI.hpp>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/cli/commands.h"
#include "compress/pipeline/recipe.h"

namespace compress::cli {

namespace {

struct ExplainFlags {
  std::vector<std::string> components;
  bool markdown_all = false, markdown_recipe = false;
};

std::string overview() {
  Table table({"role", "component", "meaning"});
  for (const recipe::ComponentInfo* info : pipeline::all_components())
    table.row({info->role, info->name, info->summary});
  for (const recipe::ComponentInfo& info : pipeline::recipe_sections())
    table.row({info.role, info.name, info.summary});
  return table.text();
}

// Two roles may each have a component of this name: both are told.
std::string explain_one(const std::string& name) {
  std::string text;
  std::vector<std::string> names;
  for (const recipe::ComponentInfo* info : pipeline::all_components()) {
    names.push_back(info->name);
    if (info->name == name) text += (text.empty() ? "" : "\n") + recipe::explain_text(*info);
  }
  for (const recipe::ComponentInfo& info : pipeline::recipe_sections()) {
    names.push_back(info.name);
    if (info.name == name) text += (text.empty() ? "" : "\n") + recipe::explain_text(info);
  }
  if (text.empty())
    throw Error(ErrorKind::recipe, "there is no component '" + name + "'", {},
                suggestion(name, names, "components"));
  return text;
}

std::string explain_each(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : "\n") + explain_one(name);
  return text;
}

}  // namespace

void add_explain(CLI::App& app, Action& action) {
  auto flags = std::make_shared<ExplainFlags>();
  CLI::App* sub = app.add_subcommand(
      "explain",
      "Tells what a component or a section of a recipe does: equation, options, defaults");
  sub->add_option("COMPONENT", flags->components, "Names; default: a table of all");
  sub->add_flag("--markdown-all", flags->markdown_all, "Prints docs/methods.md");
  sub->add_flag("--markdown-recipe", flags->markdown_recipe, "Prints docs/recipe.md");
  sub->footer("Example: compress explain soft_labels");
  sub->callback([flags, &action] {
    action = [flags] {
      print(flags->markdown_all         ? pipeline::methods_document()
            : flags->markdown_recipe    ? pipeline::recipe_document()
            : flags->components.empty() ? overview()
                                        : explain_each(flags->components));
      return 0;
    };
  });
}

}  // namespace compress::cli
