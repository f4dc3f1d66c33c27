#include "recipe/planning.h"

#include "compress/base/log.h"
#include "compress/base/place.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/checkpoint/delta.h"
#include "compress/checkpoint/dense.h"
#include "compress/checkpoint/vocabulary.h"
#include "compress/data/check_labels.h"
#include "compress/nn/architecture.h"
#include "compress/nn/outline.h"
#include "compress/pipeline/run.h"
#include "recipe/configs.h"
#include "stage.h"

namespace compress::pipeline {

namespace {

// `outlined`: a folder without weights is read by its configuration.
nn::ModelState shapes_of(const std::filesystem::path& folder, bool outlined) {
  nn::ModelState state;
  state.config = checkpoint::load_config(folder);
  if (outlined && nn::family(state.config.family).has_layers() &&
      !checkpoint::has_weights(folder)) {
    log::warn(str(folder.string(), ": no weights are there, the plan goes by config.json alone"));
    return nn::outline(state.config);
  }
  for (const auto& [name, shape] : checkpoint::tensor_shapes(folder))
    state.tensors[name] = torch::empty(shape, torch::kMeta);
  return state;
}

void tell_paper(Planning& planning) {
  const PaperOptions& paper = planning.recipe().options.paper;
  if (paper.title.empty()) return;
  planning.line("\n## paper\n" + paper.text());
  for (const PublishedNumber& number : paper.numbers)
    planning.line(str("published     ", shortest(number.value), "  ", number.what));
  for (const std::string& choice : paper.unverified) planning.line("not verified  " + choice);
}

void plan_stages(Planning& planning) {
  for (const StageOptions& stage : planning.recipe().options.stages) {
    planning.line(str("\n## ", stage.name));
    with_place(stage.mark.text(), [&] { kind_of(stage)->plan(planning); });
  }
  check_expectations(planning.recipe().options, planning.promises());
}

}  // namespace

nn::ModelState& Planning::model(const std::string& name) {
  auto it = states_.find(name);
  if (it == states_.end()) it = states_.emplace(name, shapes_of(name, tells_)).first;
  return it->second;
}

std::string Planning::tokenizer_folder(const std::string& model) const {
  const auto it = roots_.find(model);
  return it == roots_.end() ? model : it->second;
}

void Planning::leave_model(const std::string& stage, const std::string& from, nn::ModelState state,
                           bool open) {
  roots_[stage] = tokenizer_folder(from);
  if (tells_) warn_of_gaps(stage, state.config);
  if (open) open_.insert(stage);
  if (zeros_.contains(from)) zeros_.insert(stage);
  states_[stage] = std::move(state);
}

bool Planning::is_dense(const std::string& model) {
  if (zeros_.contains(model)) return false;
  const std::string folder = tokenizer_folder(model);  // the first one of all that it was made of
  auto it = dense_.find(folder);
  if (it == dense_.end()) it = dense_.emplace(folder, checkpoint::is_dense(folder)).first;
  return it->second;
}

void Planning::warn(const recipe::Mark& mark, const std::string& what, const std::string& hint) {
  const std::string text = str(mark.text(), ": ", what, " (", hint, ")");
  if (tells_)
    line("warning       " + text);
  else
    log::warn_as_one(text);
}

void Planning::warn_of_gaps(const std::string& stage, const nn::ModelConfig& config) {
  const std::string folder = checkpoint::tokenizer_home(roots_.at(stage)).string();
  if (checkpoint::gguf_file(folder).empty() && checkpoint::tokenizer_files(folder).empty()) return;
  auto& tokenizer = tokenizers_[folder];
  if (!tokenizer) tokenizer = checkpoint::load_tokenizer(folder);
  if (const std::string gap = checkpoint::missing_rows(*tokenizer, config); !gap.empty())
    log::warn(str(stage, ": ", gap));
}

const std::vector<std::string>& Planning::labels(const std::string& name) {
  auto it = labels_.find(name);
  if (it != labels_.end()) return it->second;
  const data::DatasetOptions& data = recipe_.dataset(name);
  auto find = [&] {
    std::vector<std::string> names = data::label_names(data);
    for (const auto& [part, origin] : data::parts_of(data))
      if (!origin->file.empty() && (part != "train" || !data.labels.empty()))
        data::check_labels(data, part, names);
    return names;
  };
  return labels_.emplace(name, with_place(data.mark.text(), find)).first->second;
}

int64_t Planning::rows(const std::string& dataset, const std::string& part) {
  const data::DatasetOptions& data = recipe_.dataset(dataset);
  for (const auto& [name, origin] : data::parts_of(data)) {
    const auto made = made_rows_.find(origin->stage.name);
    if (name == part && made != made_rows_.end())
      return std::min(made->second, data::part_options(data, part).limit.value_or(made->second));
  }
  const std::string key = dataset + "/" + part;
  const auto found = counted_.find(key);
  if (found != counted_.end()) return found->second;
  return counted_[key] = data::count_rows(data, part);
}

void bind_all(const Recipe& recipe) {
  Planning planning(recipe, false);
  plan_stages(planning);
}

std::string plan_text(const Recipe& recipe) {
  check_models(recipe);
  Planning planning(recipe, true);
  tell_paper(planning);
  plan_stages(planning);
  return "# Resolved recipe\n\n" + recipe.resolved + "\n# Plan\n" + planning.text();
}

}  // namespace compress::pipeline
