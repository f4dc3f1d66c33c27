#pragma once
// Data sets as their benchmarks publish them: columns, classes, names of files, metrics, and what a
// server wants to be sent. A layout is one entry of a file in src/data/layouts/: the keys of a data
// set as YAML, and for nested JSON how an object becomes rows.

#include <string>
#include <vector>

#include "compress/recipe/node.h"
#include "compress/recipe/problems.h"

namespace compress::data {

// The keys of a data set with those of its `layout` behind them, where it has one. Files are those
// of `folder`; one that is there compressed only (train.tsv.gz) is taken so.
recipe::Node with_layout(const recipe::Node& dataset, recipe::Problems& problems);

// All layouts, in the order of the documents.
struct LayoutFacts {
  std::string name;     // "glue/sst2"
  std::string summary;  // for `compress explain`
};
std::vector<LayoutFacts> layout_facts();

// A benchmark's score: the mean over its tasks of the mean of each task's metrics, where parts of
// one task (matched and mismatched) count as one. Tasks are named as the layouts are.
struct TaskScore {
  std::string layout;
  std::vector<double> metrics;
};
struct BenchmarkScore {
  double all = 0;                    // over the tasks that are there
  std::vector<std::string> missing;  // tasks of the benchmark that are not
  // The same without the tasks that are often left out (WNLI); nothing where there are none.
  double without = 0;
  std::vector<std::string> left_out;
};
// Error{recipe} for scores of no benchmark, or of two.
BenchmarkScore benchmark_score(const std::vector<TaskScore>& scores);

}  // namespace compress::data
