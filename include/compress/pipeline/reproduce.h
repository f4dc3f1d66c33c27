#pragma once
// Runs the recipes of published systems, keeps their results, and makes tables of what is kept.

#include <atomic>
#include <filesystem>
#include <string>
#include <vector>

#include "compress/pipeline/run.h"

namespace compress::pipeline {

// Where things are. A system is a folder with `quick/*.yaml` and, where it has more to run,
// `full/*.yaml`; its results are in <results>/<system>.jsonl, its page is
// <documents>/papers/<system>.md.
struct ReproduceOptions {
  // Systems, folders of systems, or single recipes below `quick` or `full`.
  std::vector<std::filesystem::path> places = {"configs/papers"};
  std::vector<int64_t> seeds = {1, 2, 3};
  bool full = false;   // run `full` as well
  bool fresh = false;  // forget what runs of these recipes had finished or saved
  std::filesystem::path folder = "runs/papers", results = "docs/results", documents = "docs";
  const std::atomic<bool>* stop = nullptr;
};

// Runs each recipe once with each seed, in <folder>/<system>/<recipe>/seed-<n>; stages of equal
// identity are run once across recipes; finished ones are skipped. Keeps each run when it ends. A
// recipe that fails is told, and the others go on. Returns the expectations of all recipes, judged
// on the seeds. Errors: Error{recipe} where there is no recipe; at the end the first one's, where
// recipes failed.
std::vector<Expectation> reproduce(const ReproduceOptions& options);

// Makes the tables of kept results: between `<!-- results -->` and `<!-- /results -->` of the pages
// of the systems in the places, and of <documents>/results.md and, with counts of verdicts,
// <documents>/systems.md, unless the places leave out a system that has results. `check`: writes
// nothing, Error{expectation} naming the pages that are not what the results give. Results of a
// recipe that was changed since do not count. Returns the table of these systems as text.
std::string write_result_tables(const ReproduceOptions& options, bool check);

}  // namespace compress::pipeline
