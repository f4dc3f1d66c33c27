#include "materials/workbench.h"

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/hash.h"
#include "compress/base/log.h"
#include "compress/base/place.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/checkpoint/vocabulary.h"
#include "compress/data/classes.h"
#include "compress/data/task.h"
#include "compress/data/views.h"
#include "compress/eval/evaluate.h"
#include "compress/export/export.h"
#include "compress/generate/texts.h"
#include "compress/nn/memory.h"
#include "compress/surgery/surgery.h"
#include "materials/mixture.h"
#include "materials/workshop.h"
#include "report/waterfall.h"
#include "stage.h"

namespace compress::pipeline {

namespace {

// The head that a task asks for; none = any.
nn::HeadKind head_of(const data::DatasetOptions& data) {
  const std::string head = data::facts_of(data).head;
  return head.empty() ? nn::HeadKind::none : nn::parse_head(head);
}

exports::LoadedModel load_teacher(const std::filesystem::path& folder,
                                  const nn::ModelConfig& student, TeacherCheck check) {
  exports::LoadedModel loaded = exports::load(folder);
  if (check == TeacherCheck::score || loaded.model->config().head != nn::HeadKind::none)
    return loaded;
  nn::ModelState state = loaded.model->state();
  nn::set_head(state, student.head, student.labels);
  exports::LoadedModel fresh;
  fresh.model = nn::build(state, 0);
  return fresh;
}

}  // namespace

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

namespace {

// A head that no task trains is neither trained as something else nor replaced without being asked.
void check_trained(const nn::ModelConfig& source, nn::HeadKind wanted,
                   const train::ModelOptions& options) {
  if (options.head.empty() && nn::class_of(wanted) == nn::HeadKind::classification)
    eval::check_task(source, options.from);
}

}  // namespace

bool scores_teacher(const nn::ModelConfig& teacher, const data::DatasetOptions& data,
                    const std::vector<std::string>& labels) {
  if (data.validation.empty() || teacher.head == nn::HeadKind::none ||
      teacher.head != head_of(data))
    return false;
  return !nn::has_classes(teacher.head) || data::match_classes(labels, teacher.labels);
}

void require_one_tokenizer(const text::Tokenizer& student, const text::Tokenizer& teacher,
                           const std::string& name, const recipe::Mark& mark) {
  if (student.hash() != teacher.hash()) refuse_teacher(name, mark);
}

void refuse_teacher(const std::string& name, const recipe::Mark& mark) {
  throw Error(ErrorKind::recipe,
              str("the teacher '", name, "' has another tokenizer than the student"), mark.text(),
              "teacher and student must read the same tokens, or the teacher its own: set "
              "`tokenizer: own` on it");
}

namespace {

// The heads that a recipe lists, with the data's classes where they have no others.
std::vector<std::string> prepare_more_heads(nn::ModelState& state,
                                            const train::ModelOptions& options,
                                            const std::vector<std::string>& labels) {
  std::vector<nn::HeadSpec> specs;
  for (const recipe::Named<train::HeadOptions>& named : options.heads) {
    if (!nn::is_name_part(named.name))
      throw Error(ErrorKind::recipe, "a head cannot be called '" + named.name + "'",
                  named.mark.text(), "letters, digits, '_' and '-', at most 64 of them");
    nn::HeadSpec spec{.name = named.name,
                      .kind = nn::parse_head(named.value.kind),
                      .labels = named.value.labels,
                      .layers = named.value.layers};
    const bool is_there = state.config.find_head(spec.name) != nullptr;
    if (spec.labels.empty() && nn::has_classes(spec.kind) && (!is_there || !labels.empty()))
      spec.labels = labels;
    specs.push_back(std::move(spec));
  }
  const recipe::Mark& mark = options.heads.front().mark;
  return with_place(mark.text(), [&] { return nn::set_more_heads(state, std::move(specs)); });
}

}  // namespace

std::vector<std::string> prepare_head(nn::ModelState& state, const train::ModelOptions& options,
                                      const data::DatasetOptions& data,
                                      const std::vector<std::string>& labels) {
  nn::HeadKind wanted = options.head.empty() ? head_of(data) : nn::parse_head(options.head);
  if (wanted == nn::HeadKind::none && options.head.empty()) wanted = state.config.head;
  if (wanted == nn::HeadKind::masked_lm && data::reads_on(data::task_of(data)))
    throw Error(ErrorKind::recipe,
                "a masked LM that sees the whole row would learn to copy the next token",
                options.mark.text(),
                "set `task: unlabelled` on the data set and `augment: {masking: {}}` on the stage");
  check_trained(state.config, wanted, options);
  for (const recipe::Component& edit : options.surgery)
    if (surgery::traits(edit).embedding_head && wanted != nn::HeadKind::embedding)
      throw Error(ErrorKind::recipe, edit.name() + " needs a model with the embedding head",
                  edit.mark.text(), "add head: embedding to the model");
  std::vector<std::string> classes = nn::has_classes(wanted) ? labels : std::vector<std::string>{};
  // Texts without labels leave a trained head its own classes.
  if (classes.empty() && wanted == state.config.head) classes = state.config.labels;
  if (classes.empty() && nn::has_classes(wanted))
    throw Error(
        ErrorKind::recipe,
        str("the head '", nn::head_name(wanted), "' needs class names, and the data set has none"),
        options.mark.text(), "start from a model that has this head");
  std::vector<std::string> notes;
  auto note = [&](std::string text) {
    if (!text.empty()) notes.push_back(std::move(text));
  };
  with_place(options.mark.text(),
             [&] { note(nn::set_head(state, wanted, std::move(classes), options.pooling)); });
  if (!options.heads.empty())
    for (std::string& text : prepare_more_heads(state, options, labels)) note(std::move(text));
  return notes;
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

void Workbench::load_teachers(const StageOptions& stage, TeacherCheck check, Prepared& prepared) {
  const train::TrainOptions& options = stage.kind.as<train::TrainOptions>();
  train::Job& job = prepared.job;
  const nn::ModelConfig& student = prepared.student->config();
  for (const auto& [name, how] : model_teachers(options)) {
    Taught taught{.name = name, .options = how, .tokenizer = prepared.source};
    const std::filesystem::path from = folder_(how->from);
    const data::Split* rows = job.data;
    if (how->own_tokens()) {
      taught.tokenizer = from;
      rows = &training_split(options.data, from);
      with_place(how->mark.text(), [&] { data::require_same_rows(*job.data, *rows); });
      if (student.head == nn::HeadKind::token_classification)
        with_place(how->mark.text(), [&] { data::require_same_labels(*job.data, *rows); });
    } else {
      require_one_tokenizer(*job.tokenizer, tokenizer(from), how->from, how->from.mark);
    }
    exports::LoadedModel loaded = load_teacher(from, student, check);
    taught.quantization = std::move(loaded.quantization);
    taught.model = std::move(loaded.model);
    eval::check_rows(*rows, taught.model->config(), &tokenizer(taught.tokenizer));
    taught.model->to(job.device);
    taught.config = std::make_shared<const nn::ModelConfig>(taught.model->config());
    job.given.push_back(
        {name, taught.config.get(), nullptr, how->reads(), how->own_tokens() ? rows : nullptr});
    prepared.teachers.push_back(std::move(taught));
  }
}

void Workbench::freeze_teachers(const StageOptions& stage, TeacherCheck check, Prepared& prepared) {
  const train::TrainOptions& options = stage.kind.as<train::TrainOptions>();
  const train::Job& job = prepared.job;
  for (size_t i = 0; i < prepared.teachers.size(); ++i) {
    Taught& taught = prepared.teachers[i];
    const train::TeacherOptions& how = *taught.options;
    if (check == TeacherCheck::score) score_teacher(taught, stage, prepared);
    const bool logits = prepared.binding->needs().teachers.at(taught.name).logits;
    taught.teacher = teacher::frozen(std::move(taught.model), prepared.student->config(), logits,
                                     job.precision, how.from.mark, job.tokenizer->vocabulary_size(),
                                     {.dropout = how.drops(), .own_tokens = how.own_tokens()});
    taught.teacher->called(taught.name, how.mark);
    if (how.remember && !how.drops()) remember(options, prepared, taught);
    prepared.job.given[i].teacher = taught.teacher.get();
  }
}

// The teacher is scored before anything is trained: a wrong one (not fine-tuned, labels in another
// order) shows here.
void Workbench::score_teacher(const Taught& taught, const StageOptions& stage, Prepared& prepared) {
  const train::TrainOptions& options = stage.kind.as<train::TrainOptions>();
  const train::TeacherOptions& asked = *taught.options;
  const nn::ModelConfig& config = taught.model->config();
  const data::DatasetOptions& data = recipe_.dataset(options.data);
  if (!scores_teacher(config, data, prepared.job.data->labels)) return;
  eval::EvaluateOptions how;
  how.precision = prepared.job.precision;
  how.batch = 64;
  how.stop = stop_;
  how.processes = processes_;
  how.tokenizer = &tokenizer(taught.tokenizer);
  how.progress = stage.name + "  teacher";
  std::string select = !asked.metric.empty() ? asked.metric : options.evaluate.select;
  how.metrics = select.empty()
                    ? eval::default_metrics(config, data::metrics_of(data), data::task_of(data))
                    : std::vector<std::string>{select};
  if (eval::need_texts(how.metrics, config))
    how.write = generate::writer(taught.tokenizer, config, *how.tokenizer, how.precision,
                                 data.max_target_length);
  eval::Evaluation found =
      eval::evaluate(*taught.model, split(options.data, "validation", taught.tokenizer), how);
  const Metric& metric = found.metrics.front();
  prepared.teacher_scores.push_back(str("teacher '", asked.from, "' on validation: ", title(metric),
                                        " ", fixed(metric.value, 4), "  n ", metric.n));
  log::info(str(stage.name, "  ", prepared.teacher_scores.back()));
  if (!asked.floor) return;
  bool good =
      higher_is_better(metric.name) ? metric.value >= *asked.floor : metric.value <= *asked.floor;
  if (!good)
    throw Error(
        ErrorKind::recipe,
        str("the teacher '", asked.from, "' scores ", title(metric), " ", fixed(metric.value, 4),
            " on validation, and the recipe's floor is ", shortest(*asked.floor)),
        asked.floor->mark.text(), "train the teacher on this task first, or check its labels");
}

}  // namespace compress::pipeline
