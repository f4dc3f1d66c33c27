#pragma once
// Plans and runs recipes.

#include <atomic>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "compress/eval/metrics.h"
#include "compress/export/export.h"
#include "compress/pipeline/recipe.h"
#include "compress/train/train.h"

namespace compress::pipeline {

// A file that a stage left, by its path in the stage's folder.
struct FileRecord {
  std::string path;
  uint64_t bytes = 0;
  std::string sha256;
};

// Numbers of a model, and those of its tables of words, positions and segments.
struct ModelSize {
  int64_t parameters = 0, tables = 0;
};

// What a finished stage left, also kept in its stage.json.
struct StageResult {
  std::string name, kind;  // kind: its name in stage_kinds()
  std::string identity;    // hash of everything that the stage depends on
  std::string inputs;      // the same in words (YAML); "" where the version that ran it kept none
  // Files and folders inside the stage's folder that it made; `files` are the files in them. Not
  // kept in stage.json.
  std::vector<std::string> made;
  std::vector<FileRecord> files;
  // Hashes of what earlier stages left and it read, by the stage's name.
  std::map<std::string, std::string> made_from;
  bool skipped = false;  // taken from an earlier run with the same identity
  double seconds = 0, samples_per_second = 0;
  double cpu_seconds = 0;  // of this process, all threads
  int64_t steps = 0, best_step = 0;
  std::vector<Metric> validation, test;
  nn::Census census;
  int64_t tables = 0;      // numbers of the embeddings among the census's
  std::string pattern;     // of the zeros in its layers' matrices (nn::zeros_text())
  ModelSize begun;         // of the model that it trained, before its edits; 0: it trained none
  int64_t bytes = 0;       // of the weights on disk
  bool quantized = false;  // its matrices or what they read
  std::string embeddings;  // "int8", "int4 in groups of 64"; empty: float32
  nn::Json numbers;        // what numbers.json says, null without one
  std::vector<exports::Report> exports;
  std::vector<std::string> notes;

  // Takes the census of a model, the size of its tables and the pattern of its zeros.
  void count(const nn::Model& model);
};

struct Expectation {
  ExpectOptions options;
  double value = 0, bound = 0;
  bool held = false;
  bool undecided = false;  // a test could not tell
  std::string text;        // "student accuracy (test) 0.871 >= 0.850"
  // "held", "MISSED" or "undecided", eight columns wide and two spaces.
  std::string verdict() const;
};

struct RunResult {
  std::string name;
  int64_t seed = 0;
  double seconds = 0;
  std::vector<StageResult> stages;
  std::vector<Expectation> expectations;
  bool held() const;
};

struct RunOptions {
  std::filesystem::path folder;  // of the run; "" = runs/<name>
  bool fresh = false;            // forget finished stages and saved states first
  // Where runs find stages of equal identity that others finished, and leave their own; "" = none.
  std::filesystem::path shelf;
  const std::atomic<bool>* stop = nullptr;  // set by a signal handler
  // The processes that work together, all with the same recipe; null: this one alone. The folder
  // must be on a file system that all see; rank 0 writes into it. Only rank 0's result has
  // expectations.
  parallel::Processes* processes = nullptr;
};

// Binds all stages on shapes alone, as plan_text() does, then runs them in order. Finished stages
// of the same inputs whose files are whole are skipped, an interrupted one goes on from its state.
// Writes into the run folder: run.lock (held meanwhile), recipe.yaml (resolved), log.txt,
// metrics.jsonl, events/<stage>/, stages/<name>/, result.json, result.md. Expectations that do not
// hold are part of the result, not an error. Errors, besides those of the stages: Error{disk} where
// another run works in the folder, Error{recipe} before anything is trained where a saved state
// belongs to other options than the recipe's.
RunResult run(const Recipe& recipe, const RunOptions& options);

// The same recipe with several seeds, each in <folder>/seed-<n>; writes result.md and result.json
// with mean and spread.
struct SeedsResult {
  std::vector<RunResult> runs;
  std::vector<Expectation> expectations;  // judged on the means
  std::string table;  // text: stage, metric, mean, standard deviation, each seed
  bool held() const;
};
SeedsResult run_seeds(const std::filesystem::path& file, const std::vector<std::string>& overrides,
                      const std::vector<int64_t>& seeds, const RunOptions& options);

// The tables of a run, as result.md and as terminal text.
std::string result_markdown(const RunResult& result, const Recipe& recipe);
std::string result_text(const RunResult& result);

// `compress plan`: resolved recipe, and per stage the model before and after, matched tensors,
// steps, sizes, memory. Reads configs, tensor headers and row counts; no weights, no training data.
// What depends on numbers that a stage measures first is said to be open.
std::string plan_text(const Recipe& recipe);

// Steps of one training stage for timing: nothing is saved. `stage` must train from folders, not
// from earlier stages, unless `run_folder` holds them.
struct BenchResult {
  int64_t steps = 0, rows = 0;
  double seconds = 0, samples_per_second = 0;
  double seconds_to_first_step = 0;
  double mean_tokens = 0;     // of a row
  double device_peak_mb = 0;  // tensors on the card at most, in the timed updates; 0 on the CPU
};
BenchResult bench_stage(const Recipe& recipe, const std::string& stage, int64_t steps,
                        const std::filesystem::path& run_folder,
                        parallel::Processes* processes = nullptr);

// The program, for provenance: version and commit.
std::string program_version();

}  // namespace compress::pipeline
