#include "trainer.h"

#include "compress/base/clock.h"
#include "compress/base/error.h"
#include "compress/base/log.h"
#include "compress/base/place.h"
#include "compress/base/random.h"
#include "compress/base/strings.h"
#include "compress/nn/device.h"

namespace compress::train {

Trainer::Trainer(const Job& job) : job_(job), options_(*job.options), processes_(job.processes) {
  progress_.steps_per_epoch = data::steps_per_epoch(job.rows, options_.batch);
  progress_.total_steps =
      options_.length.resolve(progress_.steps_per_epoch, progress_.steps_per_epoch);
  if (progress_.total_steps <= 0)
    throw Error(
        ErrorKind::recipe,
        compress::str("stage '", job.stage, "' has no update: `for` is ", options_.length.text()),
        options_.mark.text(), "give a longer duration");
  prepare_device(job.device);
  if (job.data != nullptr) job.student->to(job.device);
  // Finding the rows that a batch touches would wait for a device; there every row has a gradient.
  if (nn::reading_waits(job.device))
    for (nn::Parameter& parameter : weights().list()) parameter.row_gradient = false;
  bind_objectives();
  bind_constraints();
  bind_optimizer();
  bind_graphs();
  check_order();
}

// Constraints hooked themselves into the student's parameters and end here.
Trainer::~Trainer() {
  if (optimizer_) optimizer_->settle();
  for (nn::Parameter& parameter : weights().list()) {
    parameter.transforms.clear();
    parameter.input = nullptr;
  }
}

void Trainer::bind_objectives() {
  int64_t vocabulary = job_.student->config().vocab_size;
  if (job_.teacher != nullptr) vocabulary = std::min(vocabulary, job_.teacher->config().vocab_size);
  for (const recipe::Component& component : options_.augment) {
    augments_.push_back(augment::make(component));
    if (job_.tokenizer != nullptr)
      with_place(component.mark.text(),
                 [&] { augments_.back()->bind(*job_.tokenizer, vocabulary); });
  }
  std::vector<recipe::Component> components = options_.objectives;
  if (components.empty()) components.push_back(objective::registry().defaults("labels"));
  for (const recipe::Component& component : components) {
    std::unique_ptr<objective::Objective> objective = objective::make(component);
    if (objective->needs_teacher() && job_.teacher == nullptr)
      throw Error(ErrorKind::recipe,
                  compress::str("objective '", objective->name(), "' needs a teacher"),
                  component.mark.text(), "add `teacher:` to the stage");
    objective->bind(job_.student->config(),
                    job_.teacher != nullptr ? &job_.teacher->config() : nullptr, auxiliary_,
                    job_.seed);
    captures_ = captures_ | objective->captures();
    if (objective->needs_teacher()) {
      needs_teacher_ = true;
      teacher_captures_ = teacher_captures_ | objective->captures();
    }
    objectives_.push_back(std::move(objective));
  }
  if (job_.data != nullptr) auxiliary_.to(job_.device);
  if (job_.teacher != nullptr && !needs_teacher_)
    throw Error(
        ErrorKind::recipe,
        compress::str("stage '", job_.stage, "' has a teacher that no objective uses"),
        options_.teacher ? options_.teacher->mark.text() : options_.mark.text(),
        "add soft_labels, logits_mse or hidden_states to `objectives`, or remove `teacher`");
}

void Trainer::bind_constraints() {
  for (const recipe::Component& component : options_.pruning)
    constraints_.push_back(constraint::make(component));
  if (options_.quantization)
    constraints_.push_back(constraint::make_quantization(*options_.quantization));
  for (auto& constraint : constraints_) {
    constraint->share(processes_);
    constraint->bind(*job_.student, progress_);
  }
}

void Trainer::bind_optimizer() {
  recipe::Component optimizer =
      options_.optimizer ? options_.optimizer : optim::optimizer_registry().defaults("adamw");
  recipe::Component schedule =
      options_.schedule ? options_.schedule : optim::schedule_registry().defaults("linear");
  optimizer_ = optim::optimizers().maker(optimizer)(optimizer);
  schedule_ = optim::schedules().maker(schedule)(schedule);
  trained_ = weights().trainable();
  for (nn::Parameter& parameter : auxiliary_.list()) trained_.push_back(&parameter);
  optimizer_->bind(trained_);
  if (job_.precision == nn::Precision::fp16) {
    scale_ = std::make_unique<LossScale>(job_.device);
    optimizer_->skip_where(scale_->found(), scale_->skipped());
  }
  if (options_.sharpness) {
    sharpness_ = optim::sharpnesses().maker(options_.sharpness)(options_.sharpness);
    sharpness_->bind(weights().trainable(), job_.precision);
  }
  if (options_.averaging) {
    averaging_ = optim::averagings().maker(options_.averaging)(options_.averaging);
    averaging_->bind(weights().trainable(), progress_);
    // A constraint acts between the update and the average: then only rows that wait are left to
    // the optimizer, and constraints never hold embeddings.
    if (optim::Snapshots* snapshots = averaging_->snapshots())
      averaging_->leave(optimizer_->follow(*snapshots, !constraints_.empty()));
  }
}

void Trainer::check_order() const {
  if (!averaging_) return;
  for (const auto& constraint : constraints_) {
    if (averaging_->starts_at() >= constraint->pattern_fixed_from()) continue;
    throw Error(ErrorKind::recipe,
                compress::str("averaging starts at update ", averaging_->starts_at(),
                              ", but pruning changes its pattern until update ",
                              constraint->pattern_fixed_from()),
                options_.averaging.mark.text(),
                "an average over changing patterns is not sparse: start it after pruning ends");
  }
}

Plan Trainer::plan() const {
  Plan plan;
  plan.progress = progress_;
  int64_t trainable = 0, copies = 3;  // gradient and two moments
  for (const nn::Parameter* parameter : trained_) trainable += parameter->numel();
  if (sharpness_) ++copies;
  if (averaging_) ++copies;
  if (options_.evaluate.keep == "best" && job_.evaluate) ++copies;
  plan.state_bytes = trainable * copies * 4;
  for (const nn::Parameter& parameter : auxiliary_.list())
    plan.auxiliary_parameters += parameter.numel();
  for (const auto& objective : objectives_) {
    std::string summary = objective->summary();
    plan.notes.push_back("objective " + objective->name() +
                         (summary.empty() ? "" : ": " + summary));
  }
  for (const auto& constraint : constraints_)
    for (constraint::Match& match : constraint->matches()) {
      plan.state_bytes += match.count;
      plan.matches.push_back(std::move(match));
    }
  return plan;
}

Result Trainer::run() {
  load_state();
  check_equal();
  started_ = std::chrono::steady_clock::now();
  const int64_t first = progress_.step;
  if (job_.metrics != nullptr) job_.metrics->start_stage(job_.stage, first > 0 ? first : -1);
  std::optional<TensorBoardWriter> events;
  if (!job_.events.empty()) events.emplace(job_.events, first > 0 ? first : -1);
  data::SamplerOptions order{options_.batch, job_.seed, options_.length_window, true};
  if (processes_ != nullptr) order.rank = processes_->rank(), order.world = processes_->world();
  data::Loader loader(*job_.data, order, first, job_.device.is_cuda());
  ProgressLine line(job_.stage, progress_);
  const int64_t evaluate_every = std::max<int64_t>(
      1, options_.evaluate.every.resolve(progress_.steps_per_epoch, progress_.total_steps));
  const int64_t save_every = std::max<int64_t>(
      1, options_.checkpoint.every.resolve(progress_.steps_per_epoch, progress_.total_steps));
  int64_t samples = 0;
  double training = 0;  // seconds inside updates

  if (first == 0 && job_.evaluate && options_.evaluate.before) evaluate();
  while (progress_.step < progress_.total_steps && !finished_early()) {
    auto began = std::chrono::steady_clock::now();
    data::Batch batch = loader.next();
    double rate = optimizer_->learning_rate() * rate_factor();
    update(batch);
    if (job_.after_update) job_.after_update(progress_.step);
    // Where updates are only queued, their time is that until a reading, which comes before other
    // work.
    const bool scored = job_.evaluate && progress_.step % evaluate_every == 0;
    const bool saved = !job_.state_file.empty() && progress_.step % save_every == 0;
    if (nn::reading_waits(job_.device) &&
        (scored || saved || progress_.step % 10 == 0 || progress_.step == progress_.total_steps))
      (void)losses();
    training += seconds_since(began);
    const int64_t rows = batch.update_examples();
    samples += rows;

    const bool last = progress_.step == progress_.total_steps;
    if (progress_.step % 10 == 0 || last) shown_ = losses();
    auto read = [this] { return processes_ == nullptr ? losses() : shown_; };
    if (!job_.quiet) line.update(progress_, rows, rate, read);
    if (progress_.step % 10 == 0 || last) {
      NamedValues values = shown_;
      values.emplace_back("learning_rate", rate);
      if (job_.metrics != nullptr)
        job_.metrics->write(progress_.step, progress_.epoch(), seconds(), values);
      if (events) events->write(progress_.step, values);
    }
    if (progress_.step % 100 == 0 || last) check_equal();
    if (job_.evaluate && (progress_.step % evaluate_every == 0 || last)) evaluate();
    const bool stop = stop_wanted();
    if (stop || (progress_.step % save_every == 0 && !last)) save_state();
    if (stop && !last)
      throw Error(ErrorKind::interrupted,
                  compress::str("stopped at step ", progress_.step, " of stage '", job_.stage,
                                "'; its state is saved"),
                  {}, "run the same command again to go on from there");
    if ((last || finished_early()) && !job_.quiet) line.finish(progress_, rate, read);
  }

  Result result;
  result.steps = progress_.step;
  if (!score_before_.empty())
    result.notes.push_back("before training, on validation: " + score_before_);
  result.samples_per_second = training > 0 ? static_cast<double>(samples) / training : 0;
  if (finished_early())
    result.notes.push_back(
        compress::str("stopped early at step ", progress_.step, " of ", progress_.total_steps));
  if (scale_ && scale_->skipped_updates() > 0)
    result.notes.push_back(
        compress::str("left out ", scale_->skipped_updates(),
                      " updates whose gradients were not finite in fp16; the loss scale ends at ",
                      scale_->scale()));
  restore_best(result);
  result.seconds = seconds();
  for (auto& constraint : constraints_) {
    constraint->finish();
    result.notes.push_back(constraint->report());
    nn::Json scheme = constraint->export_scheme();
    if (!scheme.is_null()) result.scheme = std::move(scheme);
  }
  result.earlier_seconds = earlier_seconds_;
  return result;
}

bool Trainer::finished_early() const {
  return options_.evaluate.patience > 0 && best_.evaluations_since >= options_.evaluate.patience;
}

void Trainer::evaluate() {
  optimizer_->settle();
  bool averaged = averaging_ && averaging_->ready();
  if (averaged) averaging_->swap();
  Score score = job_.evaluate();
  keep_if_best(score);
  if (averaged) averaging_->swap();
  std::vector<std::string> parts;
  for (const auto& [name, value] : score.values) parts.push_back(name + " " + fixed(value, 4));
  if (progress_.step == 0) score_before_ = join(parts, "  ");
  log::info(compress::str(job_.stage, "  step ", progress_.step, "  validation",
                          averaged ? " (averaged weights)" : "", ": ", join(parts, "  ")));
  NamedValues values;
  for (const auto& [name, value] : score.values) values.emplace_back("validation/" + name, value);
  if (job_.metrics != nullptr)
    job_.metrics->write(progress_.step, progress_.epoch(), seconds(), values);
}

// A score counts once the pattern of zeros is final and averaging has begun: earlier weights are
// not what is asked for.
void Trainer::keep_if_best(const Score& score) {
  for (const auto& constraint : constraints_)
    if (progress_.step < constraint->pattern_fixed_from()) return;
  if (averaging_ && !averaging_->ready()) return;
  bool better = !best_.score || (score.higher_is_better ? score.selected > *best_.score
                                                        : score.selected < *best_.score);
  if (!better) {
    ++best_.evaluations_since;
    return;
  }
  best_.score = score.selected;
  best_.step = progress_.step;
  best_.evaluations_since = 0;
  if (options_.evaluate.keep != "best") return;
  torch::NoGradGuard no_grad;
  for (const nn::Parameter& parameter : weights().list()) {
    torch::Tensor& kept = best_.weights[parameter.name];
    if (!kept.defined())
      kept = torch::empty_like(parameter.latent, parameter.latent.options().requires_grad(false));
    kept.copy_(parameter.latent);
  }
}

void Trainer::restore_best(Result& result) {
  optimizer_->settle();
  if (averaging_ && averaging_->ready()) averaging_->swap();
  result.best = best_.score;
  result.best_step = best_.step;
  if (options_.evaluate.keep != "best" || best_.weights.empty() || best_.step == progress_.step)
    return;
  torch::NoGradGuard no_grad;
  for (nn::Parameter& parameter : weights().list())
    parameter.latent.copy_(best_.weights.at(parameter.name));
  result.notes.push_back(
      compress::str("kept the weights of step ", best_.step, ", the best on validation"));
}

constraint::Moments Trainer::moments() {
  return [this](const nn::Parameter& parameter) { return optimizer_->moments(parameter); };
}

double Trainer::seconds() const {
  return earlier_seconds_ + seconds_since(started_);
}

Plan plan(const Job& job) {
  return Trainer(job).plan();
}
Result run(const Job& job) {
  return Trainer(job).run();
}

}  // namespace compress::train
