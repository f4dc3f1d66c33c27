// `compress plan`: what a run would do, from configs, tensor headers and row counts alone.

#include "checks.h"
#include "compress/base/error.h"
#include "compress/base/log.h"
#include "compress/base/place.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/checkpoint/vocabulary.h"
#include "compress/data/classes.h"
#include "compress/nn/architecture.h"
#include "compress/teacher/teacher.h"
#include "stages.h"
#include "workbench.h"

namespace compress::pipeline {

namespace {

// A model as shapes: tensors of zeros that nobody wrote to.
nn::ModelState shapes_of(const std::filesystem::path& folder) {
  nn::ModelState state;
  state.config = checkpoint::load_config(folder);
  for (const auto& [name, shape] : checkpoint::tensor_shapes(folder))
    state.tensors[name] = torch::zeros(shape);
  return state;
}

std::string model_line(const nn::ModelConfig& config, int64_t parameters) {
  return compress::str(config.family, ", ", config.layers, " layers, ", config.hidden_size,
                       " wide, ", config.attention_heads, " heads, head ",
                       nn::head_name(config.head),
                       config.labels.empty() ? "" : " {" + join(config.labels, ", ") + "}", ", ",
                       with_commas(parameters), " parameters");
}

// Bytes kept for backward with every row at its longest: an upper bound.
double activation_bytes(const nn::ModelConfig& c, int64_t tokens, nn::Precision precision) {
  double element = precision == nn::Precision::float32 ? 4 : 2;
  double per_layer =
      (10.0 * static_cast<double>(c.hidden_size) + 2.0 * static_cast<double>(c.intermediate_size)) *
      element;
  return static_cast<double>(tokens) *
         (static_cast<double>(c.layers) * per_layer + 4.0 * 3 * static_cast<double>(c.hidden_size));
}

// Tokens of the longest row; of a sequence-to-sequence row both texts'.
int64_t longest_row(const data::DatasetOptions& data, const nn::ModelConfig& config) {
  const std::optional<int64_t> places = nn::learned_places(config);
  auto at_most = [&](int64_t length) { return places ? std::min(length, *places) : length; };
  return at_most(data.max_length) +
         (data.task == "sequence_to_sequence" ? at_most(data.max_target_length) : 0);
}

// Logits over a vocabulary and their gradient, where every token has them.
double logit_bytes(const nn::ModelConfig& c, int64_t tokens) {
  const bool every = nn::predicts_tokens(c.head) && c.head != nn::HeadKind::masked_lm;
  return every ? 8.0 * static_cast<double>(tokens) * static_cast<double>(c.vocab_size) : 0;
}

class Planner {
 public:
  explicit Planner(const Recipe& recipe) : recipe_(recipe) {}

  std::string run() {
    check_models(recipe_);
    out_ = "# Resolved recipe\n\n" + recipe_.resolved + "\n# Plan\n";
    for (const StageOptions& stage : recipe_.options.stages) {
      out_ += compress::str("\n## ", stage.name, "\n");
      if (stage.train) plan_train(stage);
      if (stage.evaluate)
        out_ +=
            compress::str("evaluate ", stage.evaluate->model, " on ", stage.evaluate->data, "\n");
      if (stage.exports)
        out_ += compress::str("export ", stage.exports->model, " as ",
                              join(stage.exports->formats, ", "), "\n");
    }
    return out_;
  }

 private:
  nn::ModelState& source(const std::string& name) {
    auto it = states_.find(name);
    if (it == states_.end()) it = states_.emplace(name, shapes_of(name)).first;
    return it->second;
  }

  // The tokenizer of a stage's model is that of the folder that the first stage began with.
  void meet_tokenizer(const std::string& stage, const std::string& from,
                      const nn::ModelConfig& config) {
    const auto earlier = tokenizer_folders_.find(from);
    const std::string folder = earlier == tokenizer_folders_.end() ? from : earlier->second;
    tokenizer_folders_[stage] = folder;
    if (checkpoint::gguf_file(folder).empty() && checkpoint::tokenizer_files(folder).empty())
      return;
    auto& tokenizer = tokenizers_[folder];
    if (!tokenizer) tokenizer = checkpoint::load_tokenizer(folder);
    if (const std::string gap = checkpoint::missing_rows(*tokenizer, config); !gap.empty())
      log::warn(compress::str(stage, ": ", gap));
  }

  void plan_train(const StageOptions& stage) {
    const train::TrainOptions& options = *stage.train;
    const data::DatasetOptions& data = recipe_.dataset(options.data);
    nn::ModelState state = source(options.model.from);
    std::unique_ptr<nn::Model> before = nn::build(state, 0);
    const std::vector<std::string> labels = with_place(recipe_.mark({"data", options.data}).text(),
                                                       [&] { return data::label_names(data); });
    const std::string head = prepare_state(state, options.model, data, labels);
    std::unique_ptr<nn::Model> student = nn::build(state, 0);
    meet_tokenizer(stage.name, options.model.from, student->config());

    train::Job job;
    job.stage = stage.name;
    job.options = &options;
    job.student = student.get();
    job.rows = data::count_rows(data, "train");
    job.device = train::resolve_device(options.device, nullptr,
                                       recipe_.stage_mark(stage.name, {"train", "device"}).text());
    job.precision = train::resolve_precision(options.precision, job.device);
    if (!data.validation.empty()) job.evaluate = [] { return train::Score(); };
    std::unique_ptr<nn::Model> teacher;
    if (options.teacher) {
      teacher = nn::build(source(options.teacher->from), 0);
      job.taught_by = &teacher->config();
      teacher::check_fit(student->config(), teacher->config(), reads_teacher_logits(options),
                         tokens_of(options, student->config()),
                         recipe_.stage_mark(stage.name, {"train", "teacher", "from"}));
    }
    const train::Binding binding(job);
    write_train(stage, *before, *student, binding, job, teacher ? teacher->params().numel() : 0,
                head);
    if (data.labels.empty())
      if (const std::string warning = data::unlabelled_warning(labels); !warning.empty())
        out_ += "warning       " + warning + "\n";
    roots_[stage.name] = root(options.model.from);
    nn::ModelState after = student->state();
    states_[stage.name] = std::move(after);
  }

  // The folder that a model's tokenizer comes from.
  std::string root(const std::string& name) const {
    const auto it = roots_.find(name);
    return it == roots_.end() ? name : it->second;
  }
  // Of the student's tokenizer, where it matters: 0 where the teacher has as many embeddings.
  int64_t tokens_of(const train::TrainOptions& options, const nn::ModelConfig& student) {
    if (source(options.teacher->from).config.vocab_size == student.vocab_size) return 0;
    return checkpoint::load_tokenizer(root(options.model.from))->vocabulary_size();
  }

  void write_train(const StageOptions& stage, const nn::Model& before, const nn::Model& student,
                   const train::Binding& binding, const train::Job& job, int64_t teacher_parameters,
                   const std::string& head) {
    const train::TrainOptions& options = *stage.train;
    const train::Plan plan = train::plan(job, binding);
    out_ += compress::str("model before  ", options.model.from, ": ",
                          model_line(before.config(), before.params().numel()), "\n");
    out_ += compress::str("model after   ", model_line(student.config(), student.params().numel()),
                          "\n");
    for (const std::string& edit : student.history()) out_ += "  " + edit + "\n";
    if (!head.empty()) out_ += "  " + head + "\n";
    if (options.teacher)
      out_ += compress::str("teacher       ", options.teacher->from, ": ",
                            with_commas(teacher_parameters), " parameters, frozen\n");
    if (options.teacher && options.teacher->cache)
      out_ += compress::str("its cache     ", options.teacher->cache->folder, ": ",
                            wanted_answers(options, binding).text(), "\n");
    const Progress& p = plan.progress;
    out_ += compress::str(
        "length        ", options.length.text(), " = ", with_commas(p.total_steps), " updates of ",
        options.batch, " rows (", recipe_.dataset(options.data).concatenate ? "about " : "",
        with_commas(job.rows), " rows, ", with_commas(p.steps_per_epoch), " updates an epoch), ",
        nn::precision_name(job.precision), " on ", job.device.str(), "\n");
    for (const std::string& note : plan.notes) out_ += note + "\n";
    if (plan.auxiliary_parameters > 0)
      out_ += compress::str("trained helpers that are not exported: ",
                            with_commas(plan.auxiliary_parameters), " parameters\n");
    write_matches(plan);
    const int64_t longest = longest_row(recipe_.dataset(options.data), student.config());
    const double element = job.precision == nn::Precision::float32 ? 4 : 2;
    const double weights = static_cast<double>(student.params().numel()) * 4;
    const int64_t tokens = options.batch * longest / options.accumulate;
    const double activations = activation_bytes(student.config(), tokens, job.precision) +
                               logit_bytes(student.config(), tokens);
    const double teacher = static_cast<double>(teacher_parameters) * (4 + element);
    out_ += compress::str("memory        weights ", human_bytes(weights),
                          ", gradients, moments, masks and averages ",
                          human_bytes(static_cast<double>(plan.state_bytes)), ", teacher ",
                          human_bytes(teacher), ", activations at most ", human_bytes(activations),
                          " (every row ", longest, " tokens long)\n");
    out_ += compress::str("on disk       ", human_bytes(weights), " of weights\n");
  }

  void write_matches(const train::Plan& plan) {
    if (plan.matches.empty()) return;
    Table table({"tensor", "shape", "weights", "constraint"});
    int64_t total = 0;
    for (const constraint::Match& match : plan.matches) {
      std::vector<std::string> shape;
      for (int64_t size : match.shape) shape.push_back(compress::str(size));
      table.row({match.tensor, join(shape, " x "), with_commas(match.count), match.what});
      total += match.count;
    }
    out_ += "\n" + table.text() +
            compress::str(plan.matches.size(), " matches, ", with_commas(total), " weights\n\n");
  }

  const Recipe& recipe_;
  std::string out_;
  std::map<std::string, nn::ModelState> states_;
  std::map<std::string, std::string> roots_;  // of stages
  std::map<std::string, std::unique_ptr<text::Tokenizer>> tokenizers_;
  std::map<std::string, std::string> tokenizer_folders_;  // by the stage whose model they go with
};

}  // namespace

std::string plan_text(const Recipe& recipe) {
  return Planner(recipe).run();
}

}  // namespace compress::pipeline
