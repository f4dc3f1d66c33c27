#include "materials/workbench.h"

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/hash.h"
#include "compress/base/log.h"
#include "compress/base/place.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/checkpoint/vocabulary.h"
#include "compress/data/classes.h"
#include "compress/eval/evaluate.h"
#include "compress/nn/memory.h"
#include "compress/surgery/surgery.h"
#include "materials/heads.h"
#include "materials/mixture.h"
#include "materials/workshop.h"
#include "report/waterfall.h"
#include "stage.h"

namespace compress::pipeline {

std::string content_hash(const std::filesystem::path& folder) {
  if (std::filesystem::is_regular_file(folder)) return sha256_file(folder);
  Sha256 hash;
  std::vector<std::filesystem::path> files;
  auto add = [&](const std::filesystem::path& from) {
    for (const auto& entry : std::filesystem::directory_iterator(from))
      if (entry.is_regular_file()) files.push_back(entry.path());
  };
  add(folder);
  for (const char* module : {"1_Pooling", "2_Dense"})  // of sentence-transformers
    if (std::filesystem::is_directory(folder / module)) add(folder / module);
  std::sort(files.begin(), files.end());
  for (const std::filesystem::path& file : files)
    hash.update(file.lexically_relative(folder).string() + " " + sha256_file(file) + "\n");
  return hash.hex();
}

Workbench::Workbench(const Recipe& recipe, Folder folder, Identity identity,
                     const std::atomic<bool>* stop, parallel::Processes* processes)
    : recipe_(recipe),
      folder_(std::move(folder)),
      identity_(std::move(identity)),
      stop_(stop),
      processes_(processes) {}

void Workbench::check_stop(const std::string& what) const {
  bool stop = stop_ != nullptr && stop_->load();
  if (processes_ != nullptr) stop = processes_->any(stop);
  if (!stop) return;
  throw Error(ErrorKind::interrupted, "stopped before " + what + "; finished stages are kept", {},
              "run the same command again to go on from there");
}

nn::Json Workbench::numbers(const std::string& stage, const recipe::Mark& mark) const {
  const std::filesystem::path file = folder_(stage).parent_path() / numbers_name;
  std::error_code ignored;
  if (recipe_.stage(stage) == nullptr || !std::filesystem::is_regular_file(file, ignored))
    throw Error(ErrorKind::recipe, "stage '" + stage + "' left no numbers", mark.text(),
                "name an earlier stage that measures something");
  return checkpoint::read_json(file);
}

const text::Tokenizer& Workbench::tokenizer(const std::filesystem::path& folder) {
  auto& kept = tokenizers_[folder.string()];
  if (!kept) kept = checkpoint::load_tokenizer(folder);
  return *kept;
}

const data::Split& Workbench::training_split(const train::TrainingData& data,
                                             const std::filesystem::path& tokenizer_folder) {
  if (!data.mixture) return split(data, "train", tokenizer_folder);
  const text::Tokenizer& words = tokenizer(tokenizer_folder);
  const std::string key =
      recipe::to_yaml(recipe::Type<train::TrainingData>::write(data)) + words.hash();
  auto it = splits_.find(key);
  if (it != splits_.end()) return it->second;
  const std::vector<std::string> labels = data::label_names(recipe_.dataset(data));
  std::vector<data::Mixture::Source> sources;
  for (const recipe::DataReference& name : data.sources()) {
    if (!labels.empty())
      check_mixed_classes(data, labels, name, data::label_names(recipe_.dataset(name)));
    sources.push_back({name.name, &split(name, "train", tokenizer_folder, labels)});
  }
  data::Split mixed = with_place(data.mixture->mark.text(), [&] {
    return data::mix(std::move(sources), shares_of(*data.mixture));
  });
  return splits_.emplace(key, std::move(mixed)).first->second;
}

const data::Split& Workbench::split(const std::string& dataset, const std::string& part,
                                    const std::filesystem::path& tokenizer_folder,
                                    const std::vector<std::string>& labels) {
  const text::Tokenizer& words = tokenizer(tokenizer_folder);
  std::string key = dataset + "/" + part + "/" + words.hash();
  for (const std::string& label : labels) key += "/" + label;
  auto it = splits_.find(key);
  if (it == splits_.end()) {
    auto load = [&] { return data::load_split(recipe_.dataset(dataset), part, words, labels); };
    it = splits_.emplace(key, with_place(recipe_.dataset(dataset).mark.text(), load)).first;
  }
  return it->second;
}

Prepared Workbench::prepare(const StageOptions& stage, TeacherCheck check) {
  const train::TrainOptions& options = stage.kind.as<train::TrainOptions>();
  Prepared prepared;
  prepared.source = folder_(options.model.from);
  train::Job& job = prepared.job;
  job.stage = stage.name;
  job.options = &options;
  job.seed = stage_seed(recipe_, stage);
  job.device = train::resolve_device(options.device, processes_, options.device.mark.text());
  job.processes = processes_;
  job.precision = train::resolve_precision(options.precision, job.device);
  nn::ModelState state = checkpoint::load_model(prepared.source);
  prepared.begun = size_of(state);
  StageWorkshop workshop(recipe_, stage, *this, prepared.source);
  const size_t before = state.history.size();
  surgery::apply(options.model.surgery, state, workshop);
  for (size_t i = before; i < state.history.size(); ++i)
    log::info(stage.name + "  " + state.history[i]);
  prepared.source = workshop.source();
  prepared.written = workshop.folder();
  job.tokenizer = &tokenizer(prepared.source);
  job.data = &training_split(options.data, prepared.source);
  job.rows = job.data->epoch_rows();
  if (job.data->mixture != nullptr) {
    prepared.notes.push_back(mixture_text(*job.data));
    log::info(stage.name + "  " + prepared.notes.back());
  }
  job.stop = stop_;
  for (const std::string& head :
       prepare_head(state, options.model, recipe_.dataset(options.data), job.data->labels)) {
    log::info(stage.name + "  " + head);
    prepared.notes.push_back(head);
  }
  if (job.data->skipped > 0)
    prepared.notes.push_back("rows of the training part left out by skip_labels: " +
                             with_commas(job.data->skipped));
  prepared.student = nn::build(state, job.seed);
  state.tensors.clear();  // the student has its own: a large table would be there twice
  job.student = prepared.student.get();
  check_vocabulary(stage, prepared);
  job.left = [this](const recipe::StoreReference& left) {
    return folder_(left).parent_path() / store_name;
  };
  if (options.helpers) {
    job.helpers = folder_(*options.helpers).parent_path() / helpers_name;
    if (!std::filesystem::exists(job.helpers))
      throw Error(ErrorKind::model,
                  "stage '" + options.helpers->name +
                      "' was finished by a program that did not leave its trained helpers",
                  job.helpers.string(),
                  "remove the stage's folder, and where stages are shared the shelf, to train it "
                  "again");
  }
  load_teachers(stage, check, prepared);
  prepared.binding = std::make_unique<train::Binding>(job);
  freeze_teachers(stage, check, prepared);
  // A table of gigabytes was there twice while models were made.
  nn::release_kept_memory();
  return prepared;
}

// Rows that the student cannot read are found before it is trained, those of other parts too.
void Workbench::check_vocabulary(const StageOptions& stage, const Prepared& prepared) {
  const train::Job& job = prepared.job;
  const nn::ModelConfig& config = prepared.student->config();
  eval::check_rows(*job.data, config, job.tokenizer);
  const std::string gap = checkpoint::missing_rows(*job.tokenizer, config);
  if (gap.empty()) return;
  log::warn(stage.name + ": " + gap);
  const std::string& name = stage.kind.as<train::TrainOptions>().data;
  const data::DatasetOptions& data = recipe_.dataset(name);
  for (const auto& [part, origin] :
       {std::pair{"validation", &data.validation}, {"test", &data.test}})
    if (!origin->empty())
      eval::check_rows(split(name, part, prepared.source), config, job.tokenizer);
}

}  // namespace compress::pipeline
