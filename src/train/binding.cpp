#include "compress/train/binding.h"

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/place.h"
#include "compress/base/strings.h"
#include "compress/data/loader.h"
#include "compress/nn/device.h"
#include "device.h"
#include "helpers.h"

namespace compress::train {

namespace {

Length length_of(const Job& job) {
  const TrainOptions& options = *job.options;
  Length length;
  length.steps_per_epoch = data::steps_per_epoch(job.rows, options.batch);
  length.total_steps = options.length.resolve(length.steps_per_epoch, length.steps_per_epoch);
  if (length.total_steps <= 0)
    throw Error(ErrorKind::recipe,
                str("stage '", job.stage, "' has no update: `for` is ", options.length.text()),
                options.mark.text(), "give a longer duration");
  return length;
}

// Rows that examples are of, whatever an epoch of a mixture takes of them.
int64_t rows_of(const Job& job) {
  return job.data != nullptr ? job.data->rows() : job.rows;
}

std::vector<roles::Voice> voices_of(const Job& job) {
  std::vector<roles::Voice> voices;
  for (const Given& given : job.given)
    voices.push_back({given.name, given.config != nullptr ? given.config : &given.teacher->config(),
                      given.view == teacher::View::own});
  return voices;
}

// Those that are made of the student speak with its configuration.
void make_teachers(const TrainOptions& options, roles::Scene& scene, Roles& roles) {
  for (const auto& named : options.teachers) {
    std::unique_ptr<teacher::Teacher> made = teacher::make(named.value);
    if (made == nullptr) continue;
    made->called(named.name, named.mark);
    scene.teachers.push_back({named.name, &scene.student});
    roles.teachers.push_back(std::move(made));
  }
}

// Each is read, and what is read of one with tokens of its own has a counterpart.
void check_teachers(const Job& job, const Binding& binding) {
  const TrainOptions& options = *job.options;
  const roles::Scene& scene = binding.scene();
  for (const roles::Voice& voice : scene.teachers) {
    if (!binding.needs().teachers.contains(voice.name)) {
      recipe::Mark mark = options.mark;
      for (const auto& named : teachers_of(options))
        if (named.name == voice.name) mark = named.mark;
      throw Error(
          ErrorKind::recipe,
          str("stage '", job.stage, "' has a teacher '", voice.name, "' that no objective uses"),
          mark.text(), "add an objective that reads a teacher, or remove the teacher");
    }
    if (!voice.own_tokens) continue;
    for (const auto& objective : binding.roles().objectives)
      for (const auto& [name, asked] : objective->needs().teachers)
        if (name == voice.name)
          teacher::check_own_tokens(asked, scene.student, objective->name(), name,
                                    objective->mark());
  }
}

// What one augment chose would have no label behind the next, and be guessed as [MASK].
void check_labels(const augment::Augments& list) {
  const augment::Augment* first = nullptr;
  for (const auto& augment : list) {
    if (!augment->labels_tokens()) continue;
    if (first != nullptr)
      throw Error(ErrorKind::recipe,
                  str(augment->name(), " chooses the tokens that are guessed, as ", first->name(),
                      " does: those of the first would have no label"),
                  augment->mark().text(), "leave one of them out");
    first = augment.get();
  }
}

// Freezes what the recipe does not train.
void freeze(const ModelOptions& model, nn::ParamTable& weights) {
  if (model.train.value.empty()) return;
  const std::string place = model.train.mark.text();
  const std::vector<std::string> unmatched = weights.train_only(model.train.value);
  if (!unmatched.empty()) {
    std::vector<std::string> known = {"attention", "ffn", "encoder", "linear", "all"};
    for (const nn::Parameter& parameter : weights.list()) {
      known.emplace_back(nn::role_name(parameter.role));
      known.push_back(parameter.name);
    }
    throw Error(
        ErrorKind::recipe, "`train` names '" + unmatched.front() + "', which matches nothing",
        place,
        did_you_mean(
            unmatched.front(), known,
            "name roles (attachment, norm, head), groups of them, or globs over tensor names"));
  }
  if (weights.trainable().empty())
    throw Error(ErrorKind::recipe, "`train` leaves no parameter that can be trained", place);
}

}  // namespace

Binding::Binding(const Job& job)
    : student_(*job.student),
      values_(rows_of(job)),
      scene_{.student = job.student->config(),
             .weights = job.student->params(),
             .helpers = helpers_,
             .teachers = voices_of(job),
             .tokenizer = job.tokenizer,
             .processes = job.processes,
             .length = length_of(job),
             .accumulate = job.options->accumulate,
             .seed = job.seed,
             .precision = job.precision,
             .moments =
                 [this](const nn::Parameter& parameter) {
                   return roles_.optimizer->moments(parameter);
                 },
             .model = job.student,
             .rows = rows_of(job),
             .values = job.data != nullptr ? &values_ : nullptr,
             .left = job.left} {
  prepare_device(job.device);
  if (job.data != nullptr) job.student->to(job.device);
  // Finding the rows that a batch touches would wait for a device; there every row has a gradient.
  if (nn::reading_waits(job.device))
    for (nn::Parameter& parameter : weights().list()) parameter.row_gradient = false;
  freeze(job.options->model, weights());
  make_teachers(*job.options, scene_, roles_);
  roles_.augments = std::make_shared<augment::Augments>();
  for (const recipe::Component& component : job.options->augment) {
    augment::Augments& list = *roles_.augments;
    list.push_back(augment::make(component));
    add(str("augment", list.size() - 1), *list.back());
  }
  check_labels(*roles_.augments);
  bind_objectives(job);
  check_teachers(job, *this);
  bind_constraints(*job.options);
  bind_optimizer(job);
  // Behind constraints and the optimizer, whose weights theirs follow.
  for (const auto& made : roles_.teachers) add("teacher." + made->name(), *made);
  check_order(job);
}

Binding::~Binding() {
  if (roles_.optimizer) roles_.optimizer->settle();
  for (const Keyed& keyed : parts_)
    if (const nn::Plugs* plugs = keyed.part->plugs()) student_.unplug(plugs);
  for (nn::Parameter& parameter : weights().list()) {
    parameter.transforms.clear();
    parameter.input = nullptr;
  }
}

void Binding::refresh(nn::Precision precision) {
  weights().refresh(precision);
  helpers_.refresh(precision);
}

void Binding::clear_gradients() {
  weights().clear_gradients();
  helpers_.clear_gradients();
}

void Binding::add(std::string key, roles::Part& part) {
  with_place(part.mark().text(), [&] { part.bind(scene_); });
  needs_ |= part.needs();
  if (nn::Plugs* plugs = part.plugs()) student_.plug(plugs);
  parts_.push_back({std::move(key), &part});
}

void Binding::bind_objectives(const Job& job) {
  std::vector<recipe::Component> components = job.options->objectives;
  if (components.empty()) components.push_back(objective::default_objective());
  for (const recipe::Component& component : components) {
    roles_.objectives.push_back(objective::make(component));
    const auto same =
        std::count_if(roles_.objectives.begin(), roles_.objectives.end(),
                      [&](const auto& objective) { return objective->name() == component.name(); });
    roles_.objectives.back()->listed_as(same == 1 ? component.name()
                                                  : str(component.name(), "_", same));
    add(str("objective", roles_.objectives.size() - 1), *roles_.objectives.back());
  }
  for (const auto& objective : roles_.objectives)
    if (objective->whole_batch() && scene_.accumulate > 1)
      throw Error(ErrorKind::recipe,
                  "objective '" + objective->name() +
                      "' compares the rows of a batch with each other, so that a batch cannot be "
                      "computed in parts",
                  objective->mark().text(), "remove `accumulate`, or use a smaller batch");
  take_helpers(job, helpers_);
  if (job.data != nullptr) helpers_.to(job.device);
}

void Binding::bind_constraints(const TrainOptions& options) {
  for (const recipe::Component& component : options.pruning)
    roles_.constraints.push_back(constraint::make_pruning(component));
  if (options.quantization)
    roles_.constraints.push_back(constraint::make_quantization(*options.quantization));
  for (size_t i = 0; i < roles_.constraints.size(); ++i)
    add(str("constraint", i), *roles_.constraints[i]);
}

void Binding::bind_optimizer(const Job& job) {
  const TrainOptions& options = *job.options;
  trained_ = scene_.trained();
  roles_.optimizer = roles::make(
      optim::optimizers(), options.optimizer ? options.optimizer : optim::default_optimizer());
  add("optimizer", *roles_.optimizer);
  roles_.schedule = roles::make(optim::schedules(),
                                options.schedule ? options.schedule : optim::default_schedule());
  add("schedule", *roles_.schedule);
  roles_.mover =
      options.sharpness ? roles::make(optim::movers(), options.sharpness) : optim::plain_mover();
  add("mover", *roles_.mover);
  if (!options.averaging) return;
  roles_.averaging = roles::make(optim::averagings(), options.averaging);
  add("averaging", *roles_.averaging);
  // A constraint acts between the update and the average: then only rows that wait are left to the
  // optimizer, and constraints never hold embeddings.
  if (optim::Snapshots* snapshots = roles_.averaging->snapshots())
    roles_.averaging->leave(roles_.optimizer->follow(*snapshots, !roles_.constraints.empty()));
}

void Binding::check_order(const Job& job) const {
  if (!roles_.averaging) return;
  for (const auto& constraint : roles_.constraints) {
    if (roles_.averaging->starts_at() >= constraint->pattern_fixed_from()) continue;
    throw Error(
        ErrorKind::recipe,
        str("averaging starts at update ", roles_.averaging->starts_at(),
            ", but pruning changes its pattern until update ", constraint->pattern_fixed_from()),
        job.options->averaging.mark.text(),
        "an average over changing patterns is not sparse: start it after pruning ends");
  }
}

Plan plan(const Job& job, const Binding& binding) {
  Plan plan;
  plan.progress = Progress::begin(binding.scene().length);
  const Roles& roles = binding.roles();
  int64_t trainable = 0, copies = 3;  // gradient and two moments
  for (const nn::Parameter* parameter : binding.trained()) trainable += parameter->numel();
  if (roles.mover->repeats()) ++copies;
  if (roles.averaging) ++copies;
  if (job.options->evaluate.keep == "best" && job.evaluate) ++copies;
  plan.state_bytes = trainable * copies * 4;
  for (const nn::Parameter& parameter : binding.helpers().list())
    plan.auxiliary_parameters += parameter.numel();
  const nn::ParamTable& weights = binding.weights();
  const int64_t own = trainable - plan.auxiliary_parameters;
  if (!job.options->model.train.value.empty())
    plan.notes.push_back(str("trained       ", with_commas(own), " of ",
                             with_commas(weights.numel()), " parameters"));
  for (const auto& objective : roles.objectives) {
    const std::string summary = objective->summary();
    plan.notes.push_back("objective " + objective->label() +
                         (summary.empty() ? "" : ": " + summary));
  }
  for (const auto& teacher : roles.teachers) {
    plan.state_bytes += teacher->own_bytes();
    plan.notes.push_back("teacher '" + teacher->name() + "': " + teacher->summary());
  }
  for (const auto& constraint : roles.constraints)
    for (constraint::Match& match : constraint->matches()) {
      plan.state_bytes += match.count;
      plan.matches.push_back(std::move(match));
    }
  return plan;
}

Plan plan(const Job& job) {
  return plan(job, Binding(job));
}

}  // namespace compress::train
