#include "step.h"

#include <algorithm>
#include <cmath>

#include "compress/base/error.h"
#include "compress/base/random.h"
#include "compress/base/strings.h"
#include "compress/nn/device.h"

namespace compress::train {

using torch::Tensor;

namespace {

// The rows (or examples) of one of `count` parts.
std::pair<int64_t, int64_t> rows_of(const data::Batch& batch, int64_t part, int64_t count) {
  const int64_t rows = batch.examples();
  return {rows * part / count, rows * (part + 1) / count};
}

uint64_t dropout_seed(uint64_t seed, const Progress& progress) {
  return stream_seed(seed, "dropout", static_cast<uint64_t>(progress.step), 0);
}

// Adds the losses of one part of an update to those of the parts before.
void add(const PassLosses& part, PassLosses& sum) {
  if (part.total.defined()) sum.total = sum.total.defined() ? sum.total + part.total : part.total;
  for (const auto& [name, value] : part.terms) {
    const auto known = std::find_if(sum.terms.begin(), sum.terms.end(),
                                    [&](const auto& term) { return term.first == name; });
    if (known == sum.terms.end())
      sum.terms.emplace_back(name, value);
    else
      known->second = known->second + value;
  }
}

}  // namespace

Step::Step(const Job& job, Binding& binding, Exchange& exchange, LossScale* scale,
           std::unique_ptr<GraphStep> graphs)
    : job_(job),
      binding_(binding),
      exchange_(exchange),
      scale_(scale),
      graphs_(std::move(graphs)),
      teachers_(job, binding) {}

bool Step::update(const std::vector<data::Batch>& packed, Progress& progress) {
  Roles& roles = binding_.roles();
  begin(packed, progress);
  roles.mover->gradients(progress, *this);
  teachers_.end();
  if (scale_ != nullptr) exchange_.largest(scale_->found());
  const bool stop = check_finite();
  if (job_.options->clip > 0) optim::clip_gradients(binding_.trained(), job_.options->clip);
  roles.optimizer->step(rate_factor(progress), progress.step);
  if (scale_ != nullptr) scale_->update();
  ++progress.step;
  for (const Keyed& keyed : binding_.parts()) keyed.part->after_update(progress);
  if (progress.step % progress.steps_per_epoch == 0)
    binding_.scene().values->settle(job_.processes);
  clear_gradients();
  return stop;
}

void Step::begin(const std::vector<data::Batch>& packed, const Progress& progress) {
  progress_ = progress;
  data::Batch host = packed.front();  // augments write to the host's memory
  augment::apply_all(*binding_.roles().augments, host, job_.seed, progress.step);
  exchange_.count_labels(host);
  for (const Keyed& keyed : binding_.parts())
    if (keyed.part->before_update(progress) && graphs_) graphs_->forget();
  teachers_.begin(packed, host, progress);
  batch_ = graphs_ ? graphs_->place(host, numbers_, progress) : host.to(job_.device);
  losses_ = {};
  place_ = Place::own;
  reported_ = 0;
  binding_.refresh(job_.precision);
  if (scale_ != nullptr) scale_->begin();
}

int64_t Step::parts() const {
  const int64_t rows = batch_.update_examples() / exchange_.world();
  return std::clamp<int64_t>(job_.options->accumulate, 1, std::max<int64_t>(rows, 1));
}

data::Batch Step::part(int64_t index) const {
  if (parts() == 1) return batch_;
  const auto [begin, end] = rows_of(batch_, index, parts());
  return data::slice(batch_, begin * batch_.choices, end * batch_.choices);
}

Tensor Step::pass(const Ask& ask) {
  if (place_ != Place::own) binding_.weights().refresh(job_.precision);
  if (place_ == Place::restored) place_ = Place::own;
  const int64_t first = std::max<int64_t>(ask.part, 0), end = ask.part < 0 ? parts() : first + 1;
  const bool overlap = ask.gradient && ask.shared && ask.part < 0 && parts() == 1;
  std::vector<Tensor> rows;
  for (int64_t index = first; index < end; ++index) {
    PassLosses losses = run(index, ask, overlap, index > first);
    if (ask.rows) rows.push_back(losses.rows);
    if (is_reported(index, ask)) {
      ++reported_;
      add(losses, losses_);
    }
  }
  if (ask.gradient && ask.shared) exchange_.average_gradients(/*rows_only=*/overlap);
  if (ask.gradient && scale_ != nullptr) scale_->unscale(binding_.trained());
  return ask.rows ? at::cat(rows) : Tensor();
}

PassLosses Step::run(int64_t index, const Ask& ask, bool overlap, bool add) {
  const data::Batch batch = part(index);
  Ask of_part = ask;
  if (ask.weights.defined() && ask.part < 0) {
    const auto [begin, end] = rows_of(batch_, index, parts());
    of_part.weights = ask.weights.narrow(0, begin, end - begin);
  }
  if (!graphs_ || !graphs_->staged()) return compute(index, batch, of_part, nullptr, overlap, add);
  Teachers::Said answers;
  const bool kept = teachers_.answers_by_example();
  if (kept) {
    answers = ask_teachers(index, batch);
    answers.front().logits = graphs_->stage(answers.front().logits, "teacher logits");
  }
  return graphs_->run(dropout_seed(job_.seed, progress_), [&] {
    return compute(index, batch, of_part, kept ? &answers : nullptr, overlap, add);
  });
}

PassLosses Step::compute(int64_t index, const data::Batch& part, const Ask& ask,
                         const Teachers::Said* answers, bool overlap, bool add) {
  torch::AutoGradMode with_gradients(ask.gradient);
  const nn::Pass how{true, dropout_seed(job_.seed, progress_), job_.precision};
  const Teachers::Said said = answers != nullptr ? *answers : ask_teachers(index, part);
  const nn::Outputs student = job_.student->forward(part, binding_.needs().student, how);
  if (is_reported(index, ask)) {
    torch::NoGradGuard no_grad;
    for (const Keyed& keyed : binding_.parts()) keyed.part->after_pass(part, student);
  }
  PassLosses losses;
  for (size_t i = 0; i < binding_.roles().objectives.size(); ++i) {
    const auto& objective = binding_.roles().objectives[i];
    const objective::Signals signals{part, student, teachers_.heard(said, i), progress_, &numbers_};
    const double weight = signals.at(objective->weight());
    if (weight == 0) continue;
    const objective::Losses units = objective->compute(signals);
    const Tensor value = units.share(part, ask.weights);
    losses.total = losses.total.defined() ? losses.total + value * weight : value * weight;
    losses.terms.emplace_back(objective->label(), value.detach());
    if (!ask.rows) continue;
    const Tensor rows = units.of_rows(part) * weight;
    losses.rows = losses.rows.defined() ? losses.rows + rows : rows;
  }
  if (ask.rows && !losses.rows.defined())
    losses.rows = torch::zeros({part.examples()}, part.token_ids.options().dtype(torch::kFloat));
  if (!losses.total.defined() || !ask.gradient) return losses;  // or every weight is zero by now
  exchange_.backward(scale_ != nullptr ? scale_->scaled(losses.total) : losses.total, overlap);
  losses.total = losses.total.detach();
  binding_.weights().collect_gradients(add);
  binding_.helpers().collect_gradients(add);
  return losses;
}

bool Step::is_reported(int64_t index, const Ask& ask) const {
  return index == reported_ && place_ == Place::own && !ask.weights.defined();
}

Teachers::Said Step::ask_teachers(int64_t index, const data::Batch& part) {
  if (!teachers_.any()) return {};
  const auto [begin, end] = rows_of(batch_, index, parts());
  return teachers_.ask(part, parts() == 1, begin * batch_.choices, end * batch_.choices,
                       graphs_ && graphs_->staged());
}

double Step::rate_factor(const Progress& progress) const {
  const Roles& roles = binding_.roles();
  return optim::rate_factor(*roles.schedule, roles.averaging.get(),
                            roles.optimizer->learning_rate(), progress);
}

bool Step::check_finite() {
  const bool asked = job_.stop != nullptr && job_.stop->load();
  // Reading the loss waits for the device; there the check runs every tenth update.
  if (nn::reading_waits(job_.device) && progress_.step % 10 != 0)
    return exchange_.world() == 1 && asked;
  const bool finite = !losses_.total.defined() || std::isfinite(losses_.total.item<double>());
  const Exchange::Agreement all = exchange_.agree(finite, asked);
  if (all.finite) return all.stop;
  if (finite)
    throw Error(ErrorKind::diverged,
                str("the loss of another process is not finite at step ", progress_.step,
                    " of stage '", job_.stage, "'"),
                {}, "its message names the examples");
  std::vector<std::string> ids;
  for (int64_t id : batch_.example_ids) ids.push_back(job_.data->place(id));
  if (ids.size() > 8) {
    size_t rest = ids.size() - 8;
    ids.resize(8);
    ids.push_back(str("and ", rest, " more"));
  }
  throw Error(ErrorKind::diverged,
              str("the loss is ", losses_.total.item<double>(), " at step ", progress_.step,
                  " of stage '", job_.stage, "'; the batch's examples: ", join(ids, ", ")),
              {}, "lower the learning rate, add warm-up, or look at these examples");
}

NamedValues Step::losses() const {
  NamedValues values;
  values.emplace_back("loss", losses_.total.defined() ? losses_.total.item<double>() : 0.0);
  for (const auto& [name, value] : losses_.terms)
    values.emplace_back("loss/" + name, value.item<double>());
  exchange_.sum(values);  // each process's share of a mean over the batch
  return values;
}

}  // namespace compress::train
