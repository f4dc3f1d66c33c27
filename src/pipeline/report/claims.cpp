#include "report/claims.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
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

// "+0.0310", and of a difference that was measured whether it is on the same side of 0.
std::string published(const ExpectOptions& expected, double measured) {
  if (!expected.published) return {};
  const double value = *expected.published;
  const std::string text = (value < 0 ? "" : "+") + fixed(value, 4);
  if (std::isnan(measured) || measured == 0) return text;
  return text + (value * measured > 0 ? ", same sign" : ", other sign");
}

bool any_published(const std::vector<Claims>& all) {
  return std::any_of(all.begin(), all.end(), [](const Claims& claims) {
    const auto& expect = claims.options.expect;
    return std::any_of(expect.begin(), expect.end(),
                       [](const ExpectOptions& each) { return each.published.has_value(); });
  });
}

// Claims of one system, or of several, which a first column then names; the papers' differences
// have a column where there are some.
class ClaimsTable {
 public:
  ClaimsTable(bool several, bool papers) : several_(several), papers_(papers), table_(header()) {}

  void add(const Claims& claims, const std::string& system) {
    const std::string task = System::task(claims.recipe);
    if (claims.runs.empty()) {
      for (const ExpectOptions& expected : claims.options.expect)
        row(system, {task, expected.claim.empty() ? expected.stage.name : expected.claim, "",
                     published(expected, std::nan("")), not_run(claims), ""});
      if (claims.options.expect.empty()) row(system, {task, "", "", "", not_run(claims), ""});
      return;
    }
    const std::string minutes = fixed(cpu_minutes(claims.runs), 1);
    for (const Expectation& expectation : claims.expectations)
      row(system,
          {task, claim_of(expectation), expectation.text,
           published(expectation.options, expectation.value), verdict_of(expectation), minutes});
    if (claims.expectations.empty()) row(system, {task, "", "see its scores", "", "", minutes});
  }
  Table take() { return std::move(table_); }

 private:
  static constexpr int paper_cell = 3;

  std::vector<std::string> kept(const std::string& system, std::vector<std::string> cells) const {
    if (!papers_) cells.erase(cells.begin() + paper_cell);
    if (several_) cells.insert(cells.begin(), system);
    return cells;
  }
  std::vector<std::string> header() const {
    return kept("system", {"task", "claim", "measured", "paper", "verdict", "CPU minutes a seed"});
  }
  void row(const std::string& system, std::vector<std::string> cells) {
    table_.row(kept(system, std::move(cells)));
  }

  bool several_, papers_;
  Table table_;
};

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

Table summary(const ClaimsOfSystems& systems) {
  ClaimsTable table(true, std::any_of(systems.begin(), systems.end(), [](const auto& system) {
                      return any_published(system.second);
                    }));
  for (const auto& [name, all] : systems)
    for (const Claims& claims : all) table.add(claims, name);
  return table.take();
}

Table verdicts(const ClaimsOfSystems& systems) {
  Table table({"system", "claims", "held", "MISSED", "undecided", "not run"});
  std::array<int64_t, 5> total{};
  auto row = [&](const std::string& name, const std::array<int64_t, 5>& counts) {
    std::vector<std::string> cells = {name};
    for (int64_t count : counts) cells.push_back(str(count));
    table.row(std::move(cells));
  };
  for (const auto& [name, all] : systems) {
    std::array<int64_t, 5> counts{};
    for (const Claims& claims : all) {
      if (claims.runs.empty()) counts[4] += std::ssize(claims.options.expect);
      for (const Expectation& each : claims.expectations)
        ++counts[each.undecided ? 3 : each.held ? 1 : 2];
    }
    counts[0] = std::accumulate(counts.begin() + 1, counts.end(), int64_t{0});
    row(name, counts);
    for (size_t i = 0; i < total.size(); ++i) total[i] += counts[i];
  }
  row("all", total);
  return table;
}

std::string page(const std::string& system, const std::vector<Claims>& all) {
  ClaimsTable claimed(false, any_published(all));
  std::set<std::string> where;
  for (const Claims& claims : all) {
    claimed.add(claims, system);
    if (!claims.runs.empty()) where.insert(processors(claims.runs));
  }
  std::string text = str("`compress reproduce configs/papers/", system, "`");
  if (!where.empty()) text += " on " + join({where.begin(), where.end()}, "; ");
  text += ":\n\n" + claimed.take().markdown();
  const Table scores = scores_table(all);
  if (!scores.empty()) text += "\nTest parts:\n\n" + scores.markdown();
  return text;
}

}  // namespace compress::pipeline
