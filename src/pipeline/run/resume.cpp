// What earlier runs left in a run's folder: which stages are finished, which state goes on, and
// what is refused before anything is trained.

#include <algorithm>
#include <set>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/hash.h"
#include "compress/base/log.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "report/result.h"
#include "run/description.h"
#include "run/record.h"
#include "run/runner.h"

namespace compress::pipeline {

namespace {

// What of the inputs changed, as far as the record tells.
std::string changed(const StageResult& found, const Inputs& now) {
  const std::vector<std::string> what =
      found.inputs.empty() ? std::vector<std::string>() : differences(found.inputs, now.text);
  return "its inputs changed" + (what.empty() ? "" : " (" + join(what, "; ") + ")");
}

void runs_again(const std::string& stage, const std::string& why) {
  log::info(stage + ": " + why + ", it runs again");
}

// The stage runs again for files that somebody else removed or changed.
void warn_damaged(const std::string& stage, const std::string& what) {
  log::warn(stage + ": " + what + ": it runs again");
}

// "step 50 of 1,000", of a saved state.
std::string place_of(const std::map<std::string, std::string>& texts) {
  const auto found = texts.find("progress");
  const nn::Json json = found == texts.end()
                            ? nn::Json()
                            : nn::Json::parse(found->second, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("step")) return "an unknown step";
  return str("step ", with_commas(json.value("step", int64_t{0})), " of ",
             with_commas(json.value("total_steps", int64_t{0})));
}

}  // namespace

void Runner::open() {
  held_.emplace(folder_);
  log::add_file(folder_ / "log.txt");
  log::info(str("run ", recipe_.options.name, "  seed ", recipe_.options.seed, "  folder ",
                folder_.string()));
  if (options_.fresh) forget();
  look_back();
  write_file(folder_ / "recipe.yaml", recipe_.resolved);
  metrics_ = std::make_unique<MetricsLog>(folder_);
}

// All at once: a run that is stopped and goes on without --fresh finds nothing older than itself.
void Runner::forget() {
  for (const StageOptions& stage : recipe_.options.stages) {
    std::filesystem::remove(record_file(stage.name));
    std::filesystem::remove(state_file(stage.name));
  }
}

void Runner::look_back() {
  for (const StageOptions& stage : recipe_.options.stages)
    if (std::optional<StageResult> found = earlier(stage))
      finished_[stage.name] = std::move(*found);
  verify_sources();
  for (const StageOptions& stage : recipe_.options.stages) {
    if (!std::filesystem::exists(state_file(stage.name))) continue;
    if (!identities_.updates(stage, options_.processes)) continue;  // its kind saves none
    if (finished_.contains(stage.name))
      std::filesystem::remove(state_file(stage.name));  // killed between record and removal
    else
      check_state(stage);
  }
}

std::optional<StageResult> Runner::earlier(const StageOptions& stage) {
  if (std::optional<StageResult> found = recorded(stage)) return found;
  if (options_.fresh || !shelf_.take(identities_.results(stage).identity, stage_folder(stage.name)))
    return std::nullopt;
  return recorded(stage);
}

std::optional<StageResult> Runner::recorded(const StageOptions& stage) {
  if (!std::filesystem::exists(record_file(stage.name))) return std::nullopt;
  StageResult found;
  try {
    found = stage_from_json(nn::Json::parse(read_file(record_file(stage.name))));
  } catch (const nn::Json::exception&) {
    warn_damaged(stage.name, record_file(stage.name).string() + " cannot be read");
    return std::nullopt;
  }
  const Inputs now = identities_.results(stage);
  if (found.identity != now.identity && found.identity != identities_.first_format(stage)) {
    runs_again(stage.name, changed(found, now));
    return std::nullopt;
  }
  const std::string what =
      damage(stage_folder(stage.name), found, kind_of(stage)->leaves(), Compare::sizes);
  if (!what.empty()) {
    warn_damaged(stage.name, what);
    return std::nullopt;
  }
  found.identity = now.identity;
  found.skipped = true;
  return found;
}

// Models that a stage will read are compared as a whole: a size says little of weights. A stage
// behind one that runs may run as well.
void Runner::verify_sources() {
  std::set<std::string> verified;
  for (bool again = true; again;) {
    again = false;
    std::set<std::string> running;
    for (const StageOptions& stage : recipe_.options.stages) {
      const std::vector<std::string> sources = sources_of(recipe_.options, stage);
      const bool runs = !finished_.contains(stage.name) ||
                        std::any_of(sources.begin(), sources.end(),
                                    [&](const auto& source) { return running.contains(source); });
      if (!runs) continue;
      running.insert(stage.name);
      for (const std::string& source : sources) {
        if (!finished_.contains(source) || !verified.insert(source).second) continue;
        const std::string what = damage(stage_folder(source), finished_.at(source),
                                        kind_of(*recipe_.stage(source))->leaves(), Compare::hashes);
        if (what.empty()) continue;
        warn_damaged(source, what);
        finished_.erase(source);
        again = true;
      }
    }
  }
}

// A state is hours of training: it is used, or refused, and never replaced by a new start.
void Runner::check_state(const StageOptions& stage) {
  const std::filesystem::path file = state_file(stage.name);
  const std::string anew =
      "remove that file to train this stage anew, or run with --fresh to train all of them anew";
  std::map<std::string, std::string> texts;
  try {
    texts = checkpoint::load_state_texts(file);
  } catch (const Error& error) {
    throw Error(ErrorKind::model,
                "the saved state of stage '" + stage.name + "' cannot be read: " + error.message(),
                file.string(), anew);
  }
  const auto inputs = texts.find("inputs");
  if (inputs == texts.end())
    throw Error(ErrorKind::recipe,
                "the saved state of stage '" + stage.name +
                    "' is of an earlier version of the program, which did not keep its options",
                file.string(), anew);
  const Inputs now = identities_.updates(stage, options_.processes).value();
  const std::vector<std::string> what = differences(inputs->second, now.text);
  if (what.empty()) return;
  throw Error(ErrorKind::recipe,
              str("stage '", stage.name, "' was stopped at ", place_of(texts),
                  " with other inputs: ", join(what, "; ")),
              file.string(), "undo the change to go on from there; else " + anew);
}

bool Runner::holds(const StageOptions& stage, const Inputs& inputs) {
  const auto found = finished_.find(stage.name);
  if (found == finished_.end()) return false;
  if (found->second.identity != inputs.identity) {
    runs_again(stage.name, changed(found->second, inputs));
    return false;
  }
  const std::map<std::string, std::string> now = artefacts_read(stage);
  for (const auto& [name, hash] : found->second.made_from) {
    const auto model = now.find(name);
    if (model == now.end() || model->second == hash) continue;
    runs_again(stage.name,
               kind_of(*recipe_.stage(name))->leaves().model
                   ? "the model of stage '" + name + "' is not the one that it was made from"
                   : "what stage '" + name + "' left is not what it was made from");
    return false;
  }
  return true;
}

std::map<std::string, std::string> Runner::artefacts_read(const StageOptions& stage) const {
  std::map<std::string, std::string> hashes;
  for (const std::string& source : sources_of(recipe_.options, stage))
    if (const auto found = artefacts_.find(source);
        found != artefacts_.end() && !found->second.empty())
      hashes[source] = found->second;
  return hashes;
}

std::string Runner::state_identity(const StageOptions& stage, const Inputs& updates) {
  std::string text = updates.identity;
  for (const auto& [name, hash] : artefacts_read(stage)) text += " " + name + " " + hash;
  text = sha256(text);  // what the first process knows of models counts
  return options_.processes == nullptr ? text : options_.processes->from_first(text);
}

}  // namespace compress::pipeline
