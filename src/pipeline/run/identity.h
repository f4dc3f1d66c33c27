#pragma once
// What a stage's results and its updates are functions of.

#include <filesystem>
#include <map>
#include <optional>
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

  // Of a stage's results: its options but for those that change none, its seed, and all that it
  // reads: data, models, what earlier stages leave.
  Inputs results(const StageOptions& stage);
  // Of the updates of a stage that saves its state, with device and precision as they are here;
  // nothing for other stages.
  std::optional<Inputs> updates(const StageOptions& stage, const parallel::Processes* processes);
  // The hash of results() as version 0.1.0 had it, which took every option.
  std::string first_format(const StageOptions& stage);
  // Hash of what a model named in the recipe is: of a stage's results(), or of the files.
  std::string model(const std::string& name);

  // Files below the run folder were written: what depends on them is hashed anew.
  void refresh();

 private:
  recipe::Node described(const StageOptions& stage);
  void describe_data(const recipe::Referred& input, const std::string& key, recipe::Node& node);
  std::string rows(const data::DatasetOptions& data, const std::string& part,
                   const data::Origin& origin);
  std::string content(const std::string& folder);

  const Recipe& recipe_;
  std::filesystem::path run_folder_;
  // What was found already: of folders by path, of stages by name.
  std::map<std::string, std::string> contents_, first_formats_;
  std::map<std::string, Inputs> results_;
};

}  // namespace compress::pipeline
