#pragma once
// Results that outlive their run folders: one line of JSON a run in <name>.jsonl, with what the
// models had right row by row, so that tables and tests are made again from the file alone.

#include <map>
#include <string>
#include <vector>

#include "compress/eval/kept.h"
#include "compress/pipeline/run.h"
#include "report/result.h"

namespace compress::pipeline {

struct KeptRun {
  std::string recipe;  // its path, as it was named
  std::string hash;    // of what decides the results
  std::string program, processor;
  int threads = 0;
  int64_t seed = 0;
  // Names, scores, numbers and times alone.
  std::vector<StageResult> stages;
  // By "stage part metric", of metrics that are means over rows.
  std::map<std::string, eval::RowScores> rows;
};

// The key of KeptRun::rows.
std::string rows_key(const std::string& stage, const std::string& part, const std::string& metric);
// A hash of the recipe's file without what changes no result: name, description, paper, seed,
// expectations and comments.
std::string recipe_hash(const std::filesystem::path& recipe);
// What a finished run in `folder` leaves to keep.
KeptRun keep_run(const std::filesystem::path& recipe, const RunResult& result,
                 const std::filesystem::path& folder);

// The runs of a file, none where there is none. Error{data} naming the line that is no such run, or
// that has the recipe and seed of one before it.
std::vector<KeptRun> read_kept_runs(const std::filesystem::path& file);
// Puts a run in the place of the one of its recipe and seed, or behind all. Error{disk}.
void put_kept_run(const std::filesystem::path& file, const KeptRun& run);
// What the stages of the runs scored on each row, for judge(). Refers to `runs`.
ScoresOfRows scores_in(const std::vector<KeptRun>& runs);

}  // namespace compress::pipeline
