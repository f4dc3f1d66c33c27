#pragma once
// Two runs, or two stages of one, side by side.

#include <filesystem>
#include <string>
#include <vector>

namespace compress::pipeline {

// A run folder (of one seed, or with seed-<n> folders inside), and one of its stages; "" = all.
struct Compared {
  std::filesystem::path folder;
  std::string stage;
};
// "runs/quickstart" or "runs/quickstart:student".
Compared compared(const std::string& text);

struct CompareOptions {
  Compared first, second;
  double p = 0.05;
  bool markdown = false;
};
// What tells their recipes apart, and a table of the scores: means over seeds that both have, and
// for metrics that are means over rows the paired difference with its interval (eval/paired.h),
// the verdict and the smallest difference that could have been seen. Error{recipe} for what is no
// run folder, stages that are not there, or no seed in common; Error{data} for damaged files.
std::string compare(const CompareOptions& options);

// The score of a benchmark (data/layouts.h) over runs or stages that were each scored on one of its
// tasks, with a table of them: means over seeds; of a run's stages on one task the last counts.
// Error{recipe} for what is no run folder or was scored on no benchmark's data.
std::string benchmark(const std::vector<Compared>& runs, bool markdown);

}  // namespace compress::pipeline
