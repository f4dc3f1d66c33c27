#pragma once
// What a stage's results and its updates are functions of, and how two such descriptions differ.

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "compress/parallel/processes.h"
#include "compress/pipeline/recipe.h"
#include "compress/recipe/node.h"

namespace compress::pipeline {

// A description in words, and its hash.
struct Inputs {
  std::string text;  // YAML
  std::string identity;
};

class Identities {
 public:
  // Models below `run_folder` may change while a run goes on: see refresh().
  Identities(const Recipe& recipe, std::filesystem::path run_folder);

  // Of a stage's results: its options but for those that change no update, its seed, its data and
  // the models that it reads.
  Inputs results(const StageOptions& stage);
  // Of a training stage's updates and of how their best weights are chosen: the same with device
  // and precision as they are here, and without the test part and the teacher's floor, which are
  // looked at again in any case.
  Inputs updates(const StageOptions& stage, const parallel::Processes* processes);
  // The hash of results() as version 0.1.0 had it, which took every option.
  std::string first_format(const StageOptions& stage);
  // Hash of what a model named in the recipe is: of a stage's results(), or of the files.
  std::string model(const std::string& name);

  // The data set that a stage works on; "" for none.
  std::string dataset_of(const StageOptions& stage) const;
  // Files below the run folder were written: what depends on them is hashed anew.
  void refresh();

 private:
  recipe::Node described(const StageOptions& stage);
  std::string content(const std::string& folder);

  const Recipe& recipe_;
  std::filesystem::path run_folder_;
  // What was found already: of folders by path, of stages by name.
  std::map<std::string, std::string> contents_, first_formats_;
  std::map<std::string, Inputs> results_;
};

// Names of the earlier stages whose models a stage reads.
std::vector<std::string> sources_of(const Recipe& recipe, const StageOptions& stage);

// What tells two descriptions apart, key by key: "train.batch: 4 -> 2". One that cannot be read
// differs in itself.
std::vector<std::string> differences(const std::string& before, const std::string& after);

}  // namespace compress::pipeline
