#include "run/finished.h"

#include "compress/base/error.h"
#include "compress/base/library_message.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/pipeline/run.h"
#include "report/result.h"

namespace compress::pipeline {

namespace fs = std::filesystem;

const StageResult* Finished::find(const std::string& name) const {
  for (const StageResult& stage : stages)
    if (stage.name == name) return &stage;
  return nullptr;
}

const StageResult& Finished::stage(const std::string& name) const {
  if (const StageResult* found = find(name)) return *found;
  std::vector<std::string> names;
  for (const StageResult& each : stages) names.push_back(each.name);
  throw Error(ErrorKind::recipe, "the run has no stage '" + name + "'", folder.string(),
              "its stages: " + join(names, ", "));
}

namespace {

constexpr const char* write_again =
    "run its recipe again: finished stages are skipped, the result is written anew";

// An object that names the seed.
nn::Json read_result(const fs::path& file) {
  nn::Json json;
  try {
    json = checkpoint::read_json(file);
  } catch (const Error& error) {
    throw Error(ErrorKind::data, "the result of a run " + error.message(), file.string(),
                write_again);
  }
  if (!json.is_object() || !json.value("seed", nn::Json()).is_number_integer())
    throw Error(ErrorKind::data, "the result names no seed", file.string(), write_again);
  return json;
}

}  // namespace

std::map<int64_t, Finished> finished_runs(const fs::path& folder) {
  std::vector<fs::path> places;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored))
    if (starts_with(entry.path().filename().string(), "seed-") &&
        fs::is_regular_file(entry.path() / "result.json", ignored))
      places.push_back(entry.path());
  if (places.empty()) places.push_back(folder);
  std::map<int64_t, Finished> found;
  for (const fs::path& place : places) {
    if (!fs::is_regular_file(place / "result.json", ignored))
      throw Error(ErrorKind::recipe, "this is no folder of a finished run", place.string(),
                  "name a folder that `compress run` wrote to its end");
    const fs::path file = place / "result.json";
    const nn::Json json = read_result(file);
    Finished run{place, {}};
    try {
      for (const nn::Json& stage : json.at("stages")) run.stages.push_back(stage_from_json(stage));
    } catch (const nn::Json::exception& error) {
      const nn::Json by = json.value("program", nn::Json());
      throw Error(
          ErrorKind::data, "this is no result of a run: " + library_message(error.what()),
          file.string(),
          by.is_string() && by != program_version()
              ? str("it was written by ", by.get<std::string>(), ", this is ", program_version())
              : write_again);
    }
    found[json["seed"].get<int64_t>()] = std::move(run);
  }
  return found;
}

}  // namespace compress::pipeline
