// One update: forward -> named loss terms -> backward -> constraints on gradients -> clip ->
// optimizer -> constraints on weights -> averages. A pass can be replayed on the same batch with
// the same dropout.

#include "compress/base/error.h"
#include "compress/base/random.h"
#include "compress/base/strings.h"
#include "compress/nn/device.h"
#include "trainer.h"

namespace compress::train {

using torch::Tensor;

namespace {

// What a term's mean over a part weighs in that over the update.
double share_of(const objective::Objective& term, const data::Batch& part) {
  switch (term.mean()) {
    case objective::Mean::tokens:
      return part.token_share();
    case objective::Mean::labels:
      return part.label_share();
    default:
      return part.row_share();
  }
}

}  // namespace

void Trainer::update(const data::Batch& original) {
  data::Batch host = original;  // augments write to the host's memory
  augment::apply_all(augments_, host, job_.seed, progress_.step);
  for (auto& constraint : constraints_)
    if (constraint->before_step(progress_, moments()) && graphs_) graphs_->forget();
  const data::Batch batch = place(host);
  weights().refresh(job_.precision);
  auxiliary_.refresh(job_.precision);

  terms_.clear();
  total_ = Tensor();
  if (scale_) scale_->begin();
  const bool ascent = sharpness_ && sharpness_->active(progress_);
  replays_ = ascent && !staged_;  // a graph asks the teacher itself, each time it is played
  if (ascent && sharpness_->per_micro_batch()) {
    forward_backward_perturbed(batch);
  } else {
    forward_backward(batch, true, !ascent || !sharpness_->per_process());
    if (ascent) {
      ascend();
      forward_backward(batch, false, true);
      sharpness_->restore();
    }
  }
  answers_.clear();
  // A gradient that overflowed on one process leaves the update out on all.
  if (scale_ && processes_ != nullptr) processes_->maximum(scale_->found());
  check_finite(batch);
  constrain_gradients();
  if (options_.clip > 0) optim::clip_gradients(trained_, options_.clip);
  optimizer_->step(rate_factor(), progress_.step);
  if (scale_) scale_->update();
  for (auto& constraint : constraints_) constraint->on_weights();
  ++progress_.step;
  if (averaging_) averaging_->update(progress_);
  clear_gradients();
}

void Trainer::ascend() {
  constrain_gradients();
  sharpness_->ascend();
  clear_gradients();
  weights().refresh(job_.precision);
}

void Trainer::clear_gradients() {
  weights().clear_gradients();
  auxiliary_.clear_gradients();
}

int64_t Trainer::parts_of(const data::Batch& batch) const {
  const int64_t rows = batch.update_examples() / (processes_ == nullptr ? 1 : processes_->world());
  return std::clamp<int64_t>(options_.accumulate, 1, std::max<int64_t>(rows, 1));
}

void Trainer::for_each_part(const data::Batch& batch,
                            const std::function<void(const data::Batch&, int64_t)>& work) const {
  const int64_t rows = batch.examples(), parts = parts_of(batch);
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t begin = rows * part / parts * batch.choices,
                  end = rows * (part + 1) / parts * batch.choices;
    work(parts == 1 ? batch : data::slice(batch, begin, end), part);
  }
}

void Trainer::forward_backward(const data::Batch& batch, bool record, bool reduce) {
  const bool overlap = reduce && parts_of(batch) == 1;
  if (staged_) {
    play(batch, record);
  } else {
    for_each_part(batch, [&](const data::Batch& part, int64_t index) {
      backward_part(part, index > 0, record, overlap);
    });
  }
  if (reduce && !overlap) average_gradients();
  if (reduce) average_rows();
  unscale();
}

void Trainer::unscale() {
  if (scale_) scale_->unscale(trained_);
}

void Trainer::forward_backward_perturbed(const data::Batch& batch) {
  std::vector<Tensor> sums(trained_.size());
  for_each_part(batch, [&](const data::Batch& part, int64_t) {
    backward_part(part, false, true, false);
    if (!sharpness_->per_process()) {
      average_gradients();
      average_rows();
    }
    unscale();
    ascend();
    backward_part(part, false, false, false);
    unscale();
    sharpness_->restore();
    weights().refresh(job_.precision);
    torch::NoGradGuard no_grad;
    for (size_t i = 0; i < trained_.size(); ++i) {
      const Tensor& gradient = trained_[i]->latent.grad();
      if (!gradient.defined()) continue;
      sums[i] = sums[i].defined() ? sums[i].add_(gradient) : gradient.clone();
    }
    clear_gradients();
  });
  if (processes_ != nullptr) {
    std::vector<Tensor> whole;
    for (const Tensor& sum : sums)
      if (sum.defined()) whole.push_back(sum);
    processes_->average(whole);
  }
  for (size_t i = 0; i < trained_.size(); ++i) {
    if (!sums[i].defined()) continue;
    Tensor& gradient = trained_[i]->latent.mutable_grad();
    // An embedding's persistent gradient is all zero here; every row may get a value, so all rows
    // are cleared later.
    if (trained_[i]->row_gradient)
      trained_[i]->touched.push_back(
          torch::arange(trained_[i]->latent.size(0), gradient.options().dtype(torch::kInt64)));
    gradient = sums[i];
  }
}

void Trainer::backward_part(const data::Batch& part, bool accumulate, bool record, bool overlap) {
  nn::Pass pass{true, dropout_seed(), job_.precision};
  nn::Outputs teacher;
  if (needs_teacher_) teacher = given_ != nullptr ? *given_ : ask_teacher(part);
  nn::Outputs student = job_.student->forward(part, captures_, pass);
  objective::Signals signals{part, student, needs_teacher_ ? &teacher : nullptr, progress_};
  Tensor loss;
  for (size_t i = 0; i < objectives_.size(); ++i) {
    const double weight = objectives_[i]->weight(progress_);
    if (weight == 0) continue;
    Tensor value = objectives_[i]->compute(signals) * share_of(*objectives_[i], part);
    loss = loss.defined() ? loss + value * weight : value * weight;
    if (!record) continue;
    Tensor seen = value.detach();
    auto known = std::find_if(terms_.begin(), terms_.end(), [&](const auto& term) {
      return term.first == objectives_[i]->name();
    });
    if (known == terms_.end()) {
      terms_.emplace_back(objectives_[i]->name(), seen);
    } else {
      known->second = known->second + seen;
    }
  }
  if (!loss.defined()) return;  // every weight is zero at this point of its schedule
  run_backward(scale_ ? scale_->scaled(loss) : loss, overlap);
  if (record) total_ = total_.defined() ? total_ + loss.detach() : loss.detach();
  weights().collect_gradients(accumulate);
  auxiliary_.collect_gradients(accumulate);
}

uint64_t Trainer::dropout_seed() const {
  return stream_seed(job_.seed, "dropout", static_cast<uint64_t>(progress_.step), 0);
}

// The pass after an ascent reads the same batch: the teacher is not asked again.
nn::Outputs Trainer::ask_teacher(const data::Batch& part) {
  if (!replays_) return job_.teacher->signals(part, teacher_captures_);
  auto [known, fresh] = answers_.try_emplace(part.part.first_row);
  if (fresh) known->second = job_.teacher->signals(part, teacher_captures_);
  return known->second;
}

void Trainer::constrain_gradients() {
  for (auto& constraint : constraints_) constraint->on_gradients();
}

double Trainer::rate_factor() const {
  if (averaging_ && progress_.step >= averaging_->starts_at() && averaging_->holds_rate()) {
    if (std::optional<double> rate = averaging_->constant_rate())
      return *rate / optimizer_->learning_rate();
    Progress at_start = progress_;
    at_start.step = averaging_->starts_at();
    return schedule_->factor(at_start);
  }
  return schedule_->factor(progress_);
}

void Trainer::check_finite(const data::Batch& batch) {
  // Reading the loss waits for the device; there the check runs every tenth update.
  if (nn::reading_waits(job_.device) && progress_.step % 10 != 0) return;
  const bool finite = !total_.defined() || std::isfinite(total_.item<double>());
  agree(finite);
  if (finite && all_finite_) return;
  if (finite)
    throw Error(ErrorKind::diverged,
                compress::str("the loss of another process is not finite at step ", progress_.step,
                              " of stage '", job_.stage, "'"),
                {}, "its message names the examples");
  std::vector<std::string> ids;
  for (int64_t id : batch.example_ids) ids.push_back(job_.data->place(id));
  if (ids.size() > 8) {
    size_t rest = ids.size() - 8;
    ids.resize(8);
    ids.push_back(compress::str("and ", rest, " more"));
  }
  throw Error(
      ErrorKind::diverged,
      compress::str("the loss is ", total_.item<double>(), " at step ", progress_.step,
                    " of stage '", job_.stage, "'; the batch's examples: ", join(ids, ", ")),
      {}, "lower the learning rate, add warm-up, or look at these examples");
}

NamedValues Trainer::losses() const {
  NamedValues values;
  values.emplace_back("loss", total_.defined() ? total_.item<double>() : 0.0);
  if (terms_.size() > 1)
    for (const auto& [name, value] : terms_)
      values.emplace_back("loss/" + name, value.item<double>());
  if (processes_ == nullptr) return values;
  Tensor sums = torch::zeros({static_cast<int64_t>(values.size())}, torch::kFloat64);
  for (size_t i = 0; i < values.size(); ++i) sums[static_cast<int64_t>(i)] = values[i].second;
  processes_->sum(sums);  // each process's share of a mean over the batch
  for (size_t i = 0; i < values.size(); ++i)
    values[i].second = sums[static_cast<int64_t>(i)].item<double>();
  return values;
}

}  // namespace compress::train
