#include "compress/pipeline/run.h"

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/hash.h"
#include "compress/base/log.h"
#include "compress/base/random.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "stages.h"

namespace compress::pipeline {

namespace {

// Stage results are reused only while the program's formats are the same.
constexpr const char* identity_version = "1";

bool in_progress(const std::filesystem::path& folder) {
  return std::filesystem::exists(folder / "state.safetensors");
}

}  // namespace

Runner::Runner(const Recipe& recipe, const RunOptions& options)
    : recipe_(recipe),
      options_(options),
      folder_(options.folder.empty() ? std::filesystem::path("runs") / recipe.options.name
                                     : options.folder),
      bench_(
          recipe, [this](const std::string& model) { return model_folder(model); },
          [this](const std::string& model) { return model_identity(model); }, options.stop,
          options.processes) {}

RunResult Runner::run() {
  if (first()) {
    make_folder(folder_);
    log::add_file(folder_ / "log.txt");
    write_file(folder_ / "recipe.yaml", recipe_.resolved);
    metrics_ = std::make_unique<MetricsLog>(folder_);
  }
  RunResult result;
  result.name = recipe_.options.name;
  result.seed = recipe_.options.seed;
  log::info(compress::str("run ", recipe_.options.name, "  seed ", result.seed, "  folder ",
                          folder_.string()));
  for (const StageOptions& stage : recipe_.options.stages) {
    result.stages.push_back(run_stage(stage));
    result.seconds += result.stages.back().seconds;
  }
  if (!first()) return result;
  result.expectations = judge(recipe_.options.expect, result.stages);
  write_file(folder_ / "result.json", to_json(result, recipe_).dump(2) + "\n");
  write_file(folder_ / "result.md", result_markdown(result, recipe_));
  log::close_file();
  return result;
}

std::optional<StageResult> Runner::earlier(const std::string& name,
                                           const std::string& identity) const {
  const std::filesystem::path record = stage_folder(name) / "stage.json";
  if (options_.fresh || !std::filesystem::exists(record)) return std::nullopt;
  nn::Json json = nn::Json::parse(read_file(record), nullptr, false);
  if (json.is_discarded() || json.value("identity", "") != identity) {
    log::info(compress::str(name, ": its inputs changed, it runs again"));
    return std::nullopt;
  }
  StageResult found = stage_from_json(json);
  found.skipped = true;
  return found;
}

StageResult Runner::run_stage(const StageOptions& stage) {
  StageResult result;
  result.name = stage.name;
  result.identity = identity(stage);
  identities_[stage.name] = result.identity;
  const std::filesystem::path record = stage_folder(stage.name) / "stage.json";
  std::optional<StageResult> finished;
  if (first()) finished = earlier(stage.name, result.identity);
  if (parallel::as_first(options_.processes, finished.has_value())) {
    log::info(compress::str(stage.name, ": unchanged since an earlier run, skipped"));
    return finished.value_or(result);
  }
  bench_.check_stop("stage '" + stage.name + "'");
  parallel::first_only(options_.processes, [&] {
    make_folder(stage_folder(stage.name));
    if (options_.fresh) std::filesystem::remove(stage_folder(stage.name) / "state.safetensors");
    std::filesystem::remove(record);
  });
  if (stage.train) result = run_train(stage, std::move(result));
  if (stage.evaluate) result = run_evaluate(stage, std::move(result));
  if (stage.exports) result = run_export(stage, std::move(result));
  parallel::first_only(options_.processes, [&] {
    write_file(record, to_json(result).dump(2) + "\n");
    if (in_progress(stage_folder(stage.name)))
      std::filesystem::remove(stage_folder(stage.name) / "state.safetensors");
  });
  return result;
}

std::filesystem::path Runner::model_folder(const std::string& name) const {
  return recipe_.stage(name) != nullptr ? stage_folder(name) / "model"
                                        : std::filesystem::path(name);
}

std::string Runner::model_identity(const std::string& name) {
  if (auto it = identities_.find(name); it != identities_.end()) return it->second;
  return identities_[name] = content_hash(name);
}

std::string Runner::dataset_of(const StageOptions& stage) const {
  if (stage.train) return stage.train->data;
  if (stage.evaluate) return stage.evaluate->data;
  if (!stage.exports->data.empty()) return stage.exports->data;
  const StageOptions* source = recipe_.stage(stage.exports->model);
  return source != nullptr && source->train ? source->train->data : "";
}

std::string Runner::identity(const StageOptions& stage) {
  Sha256 hash;
  hash.update(identity_version);
  hash.update(compress::str("seed ", stage_seed(recipe_, stage), "\n"));
  hash.update(recipe::to_yaml(recipe::write_struct(StageOptions::options().info(), &stage)));
  const std::string dataset = dataset_of(stage);
  if (!dataset.empty()) {
    const data::DatasetOptions& data = recipe_.dataset(dataset);
    for (const char* part : {"train", "validation", "test"}) {
      const std::string& file = part == std::string("train")  ? data.train
                                : part == std::string("test") ? data.test
                                                              : data.validation;
      if (!file.empty()) hash.update(data::source_hash(data, part));
    }
  }
  if (stage.train) {
    hash.update(model_identity(stage.train->model.from));
    if (stage.train->teacher) hash.update(model_identity(stage.train->teacher->from));
  }
  if (stage.evaluate) hash.update(model_identity(stage.evaluate->model));
  if (stage.exports) hash.update(model_identity(stage.exports->model));
  return hash.hex();
}

nn::Json Runner::provenance() const {
  return {{"program", program_version()},
          {"recipe", recipe_.options.name},
          {"paper", recipe_.options.paper},
          {"seed", recipe_.options.seed},
          {"resolved_recipe", recipe_.resolved}};
}

uint64_t stage_seed(const Recipe& recipe, const StageOptions& stage) {
  auto seed = static_cast<uint64_t>(stage.train && stage.train->seed ? *stage.train->seed
                                                                     : recipe.options.seed);
  return stream_seed(seed, "stage/" + stage.name);
}

uint64_t folder_bytes(const std::filesystem::path& folder) {
  uint64_t total = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) total += entry.file_size();
  return total;
}

uint64_t weight_bytes(const std::filesystem::path& folder) {
  uint64_t total = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.is_regular_file() && entry.path().extension() == ".safetensors")
      total += entry.file_size();
  return total;
}

RunResult run(const Recipe& recipe, const RunOptions& options) {
  return Runner(recipe, options).run();
}

}  // namespace compress::pipeline
