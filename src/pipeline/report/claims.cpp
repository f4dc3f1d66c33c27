#include "report/claims.h"

#include <algorithm>
#include <set>

namespace compress::pipeline {

namespace fs = std::filesystem;

namespace {

std::vector<std::vector<StageResult>> stages_of(const std::vector<KeptRun>& runs) {
  std::vector<std::vector<StageResult>> all;
  for (const KeptRun& run : runs) all.push_back(run.stages);
  return all;
}

std::string claim_of(const Expectation& expectation) {
  return expectation.options.claim.empty() ? expectation.text : expectation.options.claim;
}

std::string verdict_of(const Expectation& expectation) {
  std::string text = expectation.verdict();
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

// Processors of the runs, each once.
std::string processors(const std::vector<KeptRun>& runs) {
  std::set<std::string> names;
  for (const KeptRun& run : runs)
    names.insert(str(run.processor, ", ", run.threads, run.threads == 1 ? " thread" : " threads"));
  return join({names.begin(), names.end()}, "; ");
}

// Processor time of a run, a stage that another recipe shares counted in each.
double cpu_minutes(const std::vector<KeptRun>& runs) {
  double seconds = 0;
  for (const KeptRun& run : runs)
    for (const StageResult& stage : run.stages) seconds += stage.cpu_seconds;
  return seconds / 60 / static_cast<double>(runs.size());
}

std::string not_run(const Claims& claims) {
  return claims.outdated > 0 ? "not run since it was changed" : "not run";
}

Table claims_table() {
  return Table({"task", "claim", "measured", "verdict", "CPU minutes a seed"});
}

void add_claims(Table& table, const Claims& claims, const std::string& system) {
  auto row = [&](std::vector<std::string> cells) {
    if (!system.empty()) cells.insert(cells.begin(), system);
    table.row(std::move(cells));
  };
  const std::string task = System::task(claims.recipe);
  if (claims.runs.empty()) {
    for (const ExpectOptions& expected : claims.options.expect)
      row({task, expected.claim.empty() ? expected.stage.name : expected.claim, "", not_run(claims),
           ""});
    if (claims.options.expect.empty()) row({task, "", "", not_run(claims), ""});
    return;
  }
  const std::string minutes = fixed(cpu_minutes(claims.runs), 1);
  for (const Expectation& expectation : claims.expectations)
    row({task, claim_of(expectation), expectation.text, verdict_of(expectation), minutes});
  if (claims.expectations.empty()) row({task, "", "see its scores", "", minutes});
}

Table scores_table(const std::vector<Claims>& all) {
  Table table({"task", "stage", "metric", "mean", "deviation", "seeds", "n", "parameters"});
  for (const Claims& claims : all) {
    if (claims.runs.empty()) continue;
    const std::vector<std::vector<StageResult>> runs = stages_of(claims.runs);
    for (size_t s = 0; s < runs.front().size(); ++s) {
      const StageResult& stage = runs.front()[s];
      for (size_t m = 0; m < stage.test.size(); ++m) {
        std::vector<double> values;
        for (const auto& stages : runs) values.push_back(stages[s].test[m].value);
        const Spread found = spread(values);
        table.row({System::task(claims.recipe), stage.name, title(stage.test[m]),
                   fixed(found.mean, 4), runs.size() > 1 ? fixed(found.deviation, 4) : "",
                   str(runs.size()), with_commas(stage.test[m].n),
                   with_commas(stage.census.parameters)});
      }
    }
  }
  return table;
}

// Runs of one recipe must have the same stages with the same scores to be put together.
bool is_like(const KeptRun& one, const KeptRun& other) {
  return std::equal(one.stages.begin(), one.stages.end(), other.stages.begin(), other.stages.end(),
                    [](const StageResult& a, const StageResult& b) {
                      return a.name == b.name && a.test.size() == b.test.size() &&
                             a.validation.size() == b.validation.size();
                    });
}

}  // namespace

std::string System::task(const fs::path& recipe) {
  return (recipe.parent_path().filename() / recipe.stem()).generic_string();
}

Claims claims_of(const fs::path& recipe, const std::vector<KeptRun>& kept) {
  Claims claims{recipe, read_options(recipe), {}, {}, 0};
  const std::string hash = recipe_hash(recipe);
  for (const KeptRun& run : kept) {
    if (run.recipe != recipe.generic_string()) continue;
    if (run.hash == hash && (claims.runs.empty() || is_like(claims.runs.front(), run)))
      claims.runs.push_back(run);
    else
      ++claims.outdated;
  }
  if (!claims.runs.empty())
    claims.expectations = judge(claims.options.expect, mean_stages(stages_of(claims.runs)),
                                static_cast<int64_t>(claims.runs.size()), scores_in(claims.runs));
  return claims;
}

Table summary(const std::vector<std::pair<std::string, std::vector<Claims>>>& systems) {
  Table table({"system", "task", "claim", "measured", "verdict", "CPU minutes a seed"});
  for (const auto& [name, all] : systems)
    for (const Claims& claims : all) add_claims(table, claims, name);
  return table;
}

std::string page(const std::string& system, const std::vector<Claims>& all) {
  Table claimed = claims_table();
  std::set<std::string> where;
  for (const Claims& claims : all) {
    add_claims(claimed, claims, {});
    if (!claims.runs.empty()) where.insert(processors(claims.runs));
  }
  std::string text = str("`compress reproduce configs/papers/", system, "`");
  if (!where.empty()) text += " on " + join({where.begin(), where.end()}, "; ");
  text += ":\n\n" + claimed.markdown();
  const Table scores = scores_table(all);
  if (!scores.empty()) text += "\nTest parts:\n\n" + scores.markdown();
  return text;
}

}  // namespace compress::pipeline
