// What a training stage would do: the model before and after, updates, matches, memory.

#include <algorithm>
#include <deque>
#include <numeric>
#include <set>

#include "compress/base/error.h"
#include "compress/base/place.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/data/classes.h"
#include "compress/data/compose.h"
#include "compress/nn/architecture.h"
#include "compress/surgery/surgery.h"
#include "compress/teacher/teacher.h"
#include "materials/heads.h"
#include "materials/mixture.h"
#include "materials/score.h"
#include "materials/workbench.h"
#include "materials/workshop.h"
#include "recipe/planning.h"
#include "stages/train.h"

namespace compress::pipeline {

namespace {

std::string model_line(const nn::ModelConfig& config, int64_t parameters) {
  return str(config.family, ", ", config.layers, " layers, ", config.hidden_size, " wide, ",
             config.attention_heads, " heads, head ", nn::head_name(config.head),
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

// Logits over a vocabulary and their gradient, where every token has them.
double logit_bytes(const nn::ModelConfig& c, int64_t tokens) {
  const bool every = nn::predicts_tokens(c.head) && c.head != nn::HeadKind::masked_lm;
  return every ? 8.0 * static_cast<double>(tokens) * static_cast<double>(c.vocab_size) : 0;
}

// The part of a component's options that refers to what an earlier stage measures first.
std::string measured_by(const recipe::Component& component) {
  for (const recipe::Referred& found : recipe::references_of(component))
    if (found.to == recipe::Refers::numbers) return found.reference;
  return {};
}

// One stage on shapes.
class TrainPlan {
 public:
  TrainPlan(const StageOptions& stage, Planning& planning)
      : stage_(stage),
        options_(stage.kind.as<train::TrainOptions>()),
        data_(planning.recipe().dataset(options_.data)),
        planning_(planning) {}

  void run() {
    nn::ModelState state = planning_.model(options_.model.from);
    if (planning_.tells()) tell_before(state);
    labels_ = planning_.labels(options_.data);
    const bool open = set_open_edits_aside();
    PlanWorkshop workshop(
        [this](const std::string& name) { return planning_.model(name); },
        [this](const std::string& name) { return planning_.tokenizer_folder(name); },
        options_.model.from);
    const nn::TensorMap before = state.tensors;
    surgery::apply(edited_.surgery, state, workshop);
    leave_zeros(before, state.tensors);
    heads_ = prepare_head(state, edited_, data_, labels_);
    student_ = nn::build(state, 0);
    promise_scores();
    if (open)
      tell_open();
    else
      bind();
    nn::ModelState after = student_->state();
    planning_.leave_model(stage_.name, options_.model.from, std::move(after), open);
  }

 private:
  void tell_before(const nn::ModelState& state) {
    const std::unique_ptr<nn::Model> before = nn::build(state, 0);
    planning_.line(str("model before  ", options_.model.from, ": ",
                       model_line(before->config(), before->params().numel())));
  }

  // Surgery by numbers that are not measured yet is left out. True where shapes are open for that.
  bool set_open_edits_aside() {
    edited_ = options_.model;
    std::erase_if(edited_.surgery, [&](const recipe::Component& edit) {
      const std::string measuring = measured_by(edit);
      if (measuring.empty()) return false;
      planning_.line(str("open          ", edit.name(), " reads the numbers of stage '", measuring,
                         "', which are known when that has run"));
      return true;
    });
    bool open = edited_.surgery.size() < options_.model.surgery.size() ||
                planning_.is_open(options_.model.from);
    for (const auto& [name, teacher] : model_teachers(options_))
      open = open || planning_.is_open(teacher->from);
    return open;
  }

  // What edits only moved is known as well as before; what they put in may be zeros. Masks and
  // rounding leave some.
  void leave_zeros(const nn::TensorMap& before, const nn::TensorMap& after) {
    std::set<const void*> old;
    for (const auto& [name, tensor] : before) old.insert(tensor.unsafeGetTensorImpl());
    bool moved = true;
    for (const auto& [name, tensor] : after)
      if (old.contains(tensor.unsafeGetTensorImpl()))
        began_.insert(name);
      else
        moved = moved && tensor.dim() != 2;
    if (!moved || !options_.pruning.empty() || options_.quantization)
      planning_.leave_zeros(stage_.name);
  }

  void promise_scores() {
    const nn::ModelConfig scored = nn::with_head(student_->config(), options_.evaluate.head);
    planning_.promise(stage_.name,
                      promised_scores(data_, metric_list(options_.evaluate, scored, data_)));
    static const train::EvaluationOptions usual;
    const train::EvaluationOptions& how = options_.evaluate;
    if (data_.validation.empty() && (how.every != usual.every || how.before))
      planning_.warn(options_.data.mark,
                     "`evaluate` says when the validation part is scored, and there is none",
                     "name the data set's `validation`");
  }

  void tell_open() {
    planning_.line(
        "open          the shapes of this stage's models depend on it: its methods are "
        "bound when it begins");
  }

  void bind() {
    job_.stage = stage_.name;
    job_.options = &options_;
    job_.student = student_.get();
    job_.rows = rows_of_epoch();
    job_.device = train::resolve_device(options_.device, nullptr, options_.device.mark.text());
    job_.precision = train::resolve_precision(options_.precision, job_.device);
    if (!data_.validation.empty()) job_.evaluate = [] { return train::Score(); };
    for (const auto& [name, options] : model_teachers(options_)) {
      teachers_.push_back({name, options, fitting_teacher(name, *options), {}});
      job_.given.push_back(
          {name, &teachers_.back().model->config(), nullptr, options->reads(), nullptr});
    }
    const train::Binding binding(job_);
    check_zeros(binding);
    warn_of_rate(binding);
    check_marks(options_.data, planning_.recipe(), binding);
    if (options_.helpers && !planning_.is_open(*options_.helpers)) {
      train::check_helpers(options_, planning_.helpers(*options_.helpers), binding);
      planning_.line(str("helpers       those of stage '", *options_.helpers, "' go on"));
    }
    planning_.leave_helpers(stage_.name, train::helpers_of(binding));
    for (Teacher& teacher : teachers_)
      if (teacher.options->cache)
        teacher.kept = wanted_answers(*teacher.options, teacher.name, binding).text();
    if (planning_.tells()) tell(train::plan(job_, binding));
  }

  // Zeros that are held must have been left by an earlier stage, or be in the folder.
  void check_zeros(const train::Binding& binding) const {
    const recipe::ModelReference& from = options_.model.from;
    for (const auto& constraint : binding.roles().constraints)
      if (constraint->needs_zeros() && !holds_new_zeros(*constraint) && planning_.is_dense(from))
        throw Error(
            ErrorKind::recipe,
            str("'", constraint->name(), "' needs a model with zeros, and '", from, "' has none",
                planning_.recipe().stage(from) == nullptr
                    ? ""
                    : ": no stage that it comes from left any"),
            constraint->mark().text(), "start from a pruned model, or prune before");
  }

  // Weights that the stage makes itself may be zeros where a plan has no values of them.
  bool holds_new_zeros(const constraint::Constraint& constraint) const {
    const std::vector<constraint::Match> held = constraint.matches();
    return std::any_of(held.begin(), held.end(), [&](const constraint::Match& match) {
      if (began_.contains(match.tensor)) return false;
      const torch::Tensor& values = student_->params().find(match.tensor)->latent;
      return values.is_meta() || at::count_nonzero(values).item<int64_t>() < values.numel();
    });
  }

  void warn_of_rate(const train::Binding& binding) const {
    const optim::Schedule& schedule = *binding.roles().schedule;
    double highest = 0;
    Progress at = Progress::begin(binding.scene().length);
    for (; highest < 1 - 1e-9 && at.step < at.total_steps; ++at.step)
      highest = std::max(highest, schedule.factor(at));
    if (highest < 1 - 1e-9)
      planning_.warn(schedule.mark(),
                     str("the learning rate comes to ", fixed(100 * highest, 1),
                         "% of its base in the stage's ", with_commas(at.total_steps), " updates"),
                     "is the warm-up longer than the stage?");
  }

  // Tells a mixture. Its sources' rows are counted without being read.
  int64_t rows_of_epoch() {
    if (!options_.data.mixture) return planning_.rows(options_.data, "train");
    std::vector<std::string> names;
    std::vector<int64_t> sizes;
    for (const recipe::DataReference& source : options_.data.sources()) {
      names.push_back(source.name);
      sizes.push_back(planning_.rows(source, "train"));
    }
    const std::vector<int64_t> counts = with_place(options_.data.mixture->mark.text(), [&] {
      return data::mixed_counts(names, sizes, shares_of(*options_.data.mixture));
    });
    planning_.line(
        str("mixture       ", mixture_text(names, counts, sizes), "; scored on ", options_.data));
    return std::accumulate(counts.begin(), counts.end(), int64_t{0});
  }

  std::unique_ptr<nn::Model> fitting_teacher(const std::string& name,
                                             const train::TeacherOptions& how) {
    const recipe::ModelReference& from = how.from;
    const nn::ModelConfig& student = student_->config();
    std::unique_ptr<nn::Model> model = nn::build(planning_.model(from), 0);
    // Tokens of the tokenizer matter where the teacher has another number of embeddings.
    int64_t tokens = 0;
    if (!how.own_tokens() && model->config().vocab_size != student.vocab_size)
      tokens = checkpoint::load_tokenizer(planning_.tokenizer_folder(options_.model.from))
                   ->vocabulary_size();
    teacher::check_fit(student, model->config(), reads_teacher_logits(options_, name), tokens,
                       from.mark, how.own_tokens());
    return model;
  }

  void tell(const train::Plan& plan) {
    tell_models();
    const Progress& p = plan.progress;
    planning_.line(str("length        ", options_.length.text(), " = ", with_commas(p.total_steps),
                       " updates of ", options_.batch, " rows (",
                       data::counts_are_guesses(data_) ? "about " : "", with_commas(job_.rows),
                       " rows, ", with_commas(p.steps_per_epoch), " updates an epoch), ",
                       nn::precision_name(job_.precision), " on ", job_.device.str()));
    for (const std::string& note : plan.notes) planning_.line(note);
    if (plan.auxiliary_parameters > 0)
      planning_.line("trained helpers that are not exported: " +
                     with_commas(plan.auxiliary_parameters) + " parameters");
    tell_matches(plan);
    tell_memory(plan);
    if (!data_.labels.empty()) return;
    if (const std::string warning = data::unlabelled_warning(labels_); !warning.empty())
      planning_.line("warning       " + warning);
  }

  void tell_models() {
    const nn::ModelConfig& config = student_->config();
    planning_.line("model after   " + model_line(config, student_->params().numel()));
    for (const std::string& edit : student_->history()) planning_.line("  " + edit);
    for (const std::string& head : heads_) planning_.line("  " + head);
    for (const Teacher& teacher : teachers_) {
      const train::TeacherOptions& how = *teacher.options;
      planning_.line(str("teacher       ", how.from, ": ",
                         with_commas(teacher.model->params().numel()), " parameters, frozen",
                         options_.teacher ? "" : ", as '" + teacher.name + "'",
                         how.own_tokens() ? ", with its own tokenizer" : "",
                         how.reads() == teacher::View::unmasked ? ", on unmasked rows" : "",
                         how.drops() ? ", with dropout" : ""));
      if (how.cache) planning_.line(str("its cache     ", how.cache->folder, ": ", teacher.kept));
    }
  }

  void tell_matches(const train::Plan& plan) {
    if (plan.matches.empty()) return;
    Table table({"tensor", "shape", "weights", "constraint"});
    int64_t total = 0;
    for (const constraint::Match& match : plan.matches) {
      std::vector<std::string> shape;
      for (int64_t size : match.shape) shape.push_back(str(size));
      table.row({match.tensor, join(shape, " x "), with_commas(match.count), match.what});
      total += match.count;
    }
    planning_.line("\n" + table.text() +
                   str(plan.matches.size(), " matches, ", with_commas(total), " weights\n"));
  }

  void tell_memory(const train::Plan& plan) {
    const nn::ModelConfig& config = student_->config();
    int64_t longest = 0;
    for (const recipe::DataReference& source : options_.data.sources())
      longest = std::max(longest, data::longest_row(planning_.recipe().dataset(source),
                                                    nn::learned_places(config)));
    const double element = job_.precision == nn::Precision::float32 ? 4 : 2;
    const double weights = static_cast<double>(student_->params().numel()) * 4;
    const int64_t tokens = options_.batch * longest / options_.accumulate;
    const double activations =
        activation_bytes(config, tokens, job_.precision) + logit_bytes(config, tokens);
    int64_t parameters = 0;
    for (const Teacher& each : teachers_) parameters += each.model->params().numel();
    const double teacher = static_cast<double>(parameters) * (4 + element);
    planning_.line(str("memory        weights ", human_bytes(weights),
                       ", gradients, moments, masks and averages ",
                       human_bytes(static_cast<double>(plan.state_bytes)), ", teacher ",
                       human_bytes(teacher), ", activations at most ", human_bytes(activations),
                       " (every row ", longest, " tokens long)"));
    planning_.line("on disk       " + human_bytes(weights) + " of weights");
  }

  const StageOptions& stage_;
  const train::TrainOptions& options_;
  const data::DatasetOptions& data_;
  Planning& planning_;
  train::ModelOptions edited_;   // without surgery that cannot be done yet
  std::set<std::string> began_;  // tensors that training begins with as the source has them
  std::vector<std::string> labels_;
  struct Teacher {
    std::string name;
    const train::TeacherOptions* options;
    std::unique_ptr<nn::Model> model;
    std::string kept;  // what its cache keeps
  };
  std::deque<Teacher> teachers_;
  std::vector<std::string> heads_;  // what became of the model's heads
  std::unique_ptr<nn::Model> student_;
  train::Job job_;
};

}  // namespace

void TrainStage::plan(Planning& planning) const {
  TrainPlan(stage_, planning).run();
}

}  // namespace compress::pipeline
