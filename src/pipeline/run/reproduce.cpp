#include "compress/pipeline/reproduce.h"

#include <algorithm>
#include <set>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/log.h"
#include "compress/base/strings.h"
#include "report/claims.h"

namespace compress::pipeline {

namespace fs = std::filesystem;

namespace {

constexpr const char* quick = "quick";
constexpr const char* full = "full";
constexpr const char* kept_ending = ".jsonl";

bool is_recipe(const fs::path& file) {
  std::error_code ignored;
  const std::string kind = file.parent_path().filename().string();
  return file.extension() == ".yaml" && (kind == quick || kind == full) &&
         fs::is_regular_file(file, ignored);
}

// The recipes of the places, by their systems, in order.
std::vector<System> systems_in(const std::vector<fs::path>& places) {
  std::map<std::string, std::set<fs::path>> found;
  for (const fs::path& place : places) {
    const fs::path path = place.lexically_normal();
    bool any = false;
    auto add = [&](const fs::path& recipe) {
      if (!is_recipe(recipe)) return;
      found[recipe.parent_path().parent_path().filename().string()].insert(recipe);
      any = true;
    };
    std::error_code failed;
    add(path);
    for (auto entry = fs::recursive_directory_iterator(path, failed);
         !failed && entry != fs::recursive_directory_iterator(); entry.increment(failed))
      add(entry->path().lexically_normal());
    if (!any)
      throw Error(ErrorKind::recipe, "no recipe of a system is there", place.string(),
                  "a system is a folder with quick/*.yaml, as in configs/papers; a recipe that is "
                  "named lies in one");
  }
  std::vector<System> systems;
  for (const auto& [name, recipes] : found)
    systems.push_back({name, {recipes.begin(), recipes.end()}});
  return systems;
}

fs::path results_file(const ReproduceOptions& options, const std::string& system) {
  return options.results / (system + kept_ending);
}

// Systems with all of their recipes, whichever were named: a page tells of all.
std::vector<System> whole_systems_in(const std::vector<fs::path>& places) {
  std::vector<fs::path> folders;
  for (const System& system : systems_in(places)) {
    const fs::path folder = system.recipes.front().parent_path().parent_path();
    folders.push_back(folder.empty() ? "." : folder);
  }
  return systems_in(folders);
}

// Whether each system that has kept results is among them: what tells of all is not made of some.
bool are_all(const std::vector<System>& systems, const fs::path& results) {
  std::set<std::string> names;
  for (const System& system : systems) names.insert(system.name);
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(results, ignored))
    if (entry.path().extension() == kept_ending && !names.contains(entry.path().stem().string()))
      return false;
  return true;
}

void run_recipe(const ReproduceOptions& options, const System& system, const fs::path& recipe) {
  for (int64_t seed : options.seeds) {
    RunOptions one;
    one.folder = options.folder / system.name / System::task(recipe) / str("seed-", seed);
    one.fresh = options.fresh;
    one.shelf = options.folder / "shelf";
    one.stop = options.stop;
    const Recipe loaded = load_recipe(recipe, {str("seed=", seed)});
    put_kept_run(results_file(options, system.name),
                 keep_run(recipe, run(loaded, one), one.folder));
  }
}

constexpr std::string_view begin_mark = "<!-- results -->\n", end_mark = "<!-- /results -->";

// The page with `table` between its marks; nothing where it has none.
std::optional<std::string> filled(const fs::path& page, const std::string& table) {
  std::error_code ignored;
  if (!fs::is_regular_file(page, ignored)) return std::nullopt;
  std::string text = read_file(page);
  const size_t begin = text.find(begin_mark), end = text.find(end_mark);
  if (begin == text.npos || end == text.npos || end < begin) return std::nullopt;
  const size_t inside = begin + begin_mark.size();
  return text.substr(0, inside) + "\n" + table + "\n" + text.substr(end);
}

}  // namespace

std::vector<Expectation> reproduce(const ReproduceOptions& options) {
  if (options.seeds.empty()) throw Error(ErrorKind::recipe, "no seeds were given", "--seeds");
  std::vector<Expectation> expectations;
  std::exception_ptr first_failure;
  const std::vector<System> systems = systems_in(options.places);
  for (const System& system : systems)  // a file that cannot be added to is told before hours
    read_kept_runs(results_file(options, system.name));
  for (const System& system : systems) {
    for (const fs::path& recipe : system.recipes) {
      const bool named =
          std::find(options.places.begin(), options.places.end(), recipe) != options.places.end();
      if (recipe.parent_path().filename() == full && !options.full && !named) continue;
      try {
        run_recipe(options, system, recipe);
      } catch (const Error& error) {
        if (error.kind() == ErrorKind::interrupted) throw;
        log::warn(str(recipe.string(), ": ", error.message()));
        if (!first_failure) first_failure = std::current_exception();
        continue;
      }
      const Claims claims = claims_of(recipe, read_kept_runs(results_file(options, system.name)));
      expectations.insert(expectations.end(), claims.expectations.begin(),
                          claims.expectations.end());
    }
  }
  if (first_failure) std::rethrow_exception(first_failure);
  return expectations;
}

std::string write_result_tables(const ReproduceOptions& options, bool check) {
  ClaimsOfSystems systems;
  std::vector<std::string> stale;
  auto fill = [&](const fs::path& file, const std::string& table) {
    const std::optional<std::string> text = filled(file, table);
    if (!text || *text == read_file(file)) return;
    if (check)
      stale.push_back(file.string());
    else
      write_file(file, *text);
  };
  const std::vector<System> named = whole_systems_in(options.places);
  for (const System& system : named) {
    const std::vector<KeptRun> kept = read_kept_runs(results_file(options, system.name));
    std::vector<Claims> all;
    for (const fs::path& recipe : system.recipes) all.push_back(claims_of(recipe, kept));
    fill(options.documents / "papers" / (system.name + ".md"), page(system.name, all));
    systems.emplace_back(system.name, std::move(all));
  }
  const Table table = summary(systems);
  if (are_all(named, options.results)) {
    fill(options.documents / "results.md", table.markdown());
    fill(options.documents / "systems.md", verdicts(systems).markdown());
  }
  if (!stale.empty())
    throw Error(ErrorKind::expectation, "the tables are not what the kept results give",
                join(stale, ", "), "make them again: compress reproduce --table");
  return table.text();
}

}  // namespace compress::pipeline
