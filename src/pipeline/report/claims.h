#pragma once
// Claims of published systems beside what was measured here, out of kept runs.

#include <filesystem>
#include <string>
#include <vector>

#include "compress/base/strings.h"
#include "report/kept_runs.h"

namespace compress::pipeline {

// The recipes of one system.
struct System {
  std::string name;
  std::vector<std::filesystem::path> recipes;  // in order of their paths
  // "quick/topic"
  static std::string task(const std::filesystem::path& recipe);
};

// A recipe with those of its kept runs that are of it as it is now, in order of their seeds.
struct Claims {
  std::filesystem::path recipe;
  RecipeOptions options;
  std::vector<KeptRun> runs;
  std::vector<Expectation> expectations;  // none without runs
  int64_t outdated = 0;                   // runs of the recipe as it was before
};
// Reads types alone: the recipe's files need not be there.
Claims claims_of(const std::filesystem::path& recipe, const std::vector<KeptRun>& kept);

using ClaimsOfSystems = std::vector<std::pair<std::string, std::vector<Claims>>>;
// A row an expectation; of a recipe that was not run one row that says so.
Table summary(const ClaimsOfSystems& systems);
// How many claims of each system held, and of all.
Table verdicts(const ClaimsOfSystems& systems);
// What a system's page says: claims, and what each stage scored.
std::string page(const std::string& system, const std::vector<Claims>& claims);

}  // namespace compress::pipeline
