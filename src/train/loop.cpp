// The loop of a training stage.

#include <algorithm>
#include <chrono>
#include <optional>

#include "compress/base/clock.h"
#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/data/loader.h"
#include "compress/nn/device.h"
#include "state.h"
#include "step.h"

namespace compress::train {

namespace {

// What is due after an update.
struct Tick {
  bool last, log, compare, score, save;
};

// Writes what an update gave, where and as often as a stage tells it.
class Reporter {
 public:
  Reporter(const Job& job, const Step& step, const Progress& start)
      : job_(job), step_(step), line_(job.stage, start) {
    const int64_t resumed = start.step > 0 ? start.step : -1;
    if (job.metrics != nullptr) job.metrics->start_stage(job.stage, resumed);
    if (!job.events.empty()) events_.emplace(job.events, resumed);
  }

  void update(const Progress& progress, const Tick& tick, int64_t rows, double rate,
              double seconds) {
    if (tick.log) shown_ = step_.losses();
    if (!job_.quiet) line_.update(progress, rows, rate, [this] { return losses(); });
    if (!tick.log) return;
    NamedValues values = shown_;
    values.emplace_back("learning_rate", rate);
    write(progress, seconds, values);
    if (events_) events_->write(progress.step, values);
  }

  void score(const Progress& progress, const Score& score, double seconds) {
    NamedValues values;
    for (const auto& [name, value] : score.values) values.emplace_back("validation/" + name, value);
    write(progress, seconds, values);
  }

  void finish(const Progress& progress, double rate) {
    if (!job_.quiet) line_.finish(progress, rate, [this] { return losses(); });
  }

 private:
  void write(const Progress& progress, double seconds, const NamedValues& values) {
    if (job_.metrics != nullptr)
      job_.metrics->write(progress.step, progress.epoch(), seconds, values);
  }
  // With several processes reading is a collective call, made where all make it.
  // The line leaves out the term of a loss that has one alone.
  NamedValues losses() const {
    NamedValues values = job_.processes == nullptr ? step_.losses() : shown_;
    if (values.size() == 2) values.pop_back();
    return values;
  }

  const Job& job_;
  const Step& step_;
  ProgressLine line_;
  std::optional<TensorBoardWriter> events_;
  NamedValues shown_;  // losses when they were last read
};

class Loop {
 public:
  Loop(const Job& job, Binding& binding)
      : job_(job),
        binding_(binding),
        exchange_(job.processes, binding),
        selection_(job, binding),
        standing_{Progress::begin(binding.scene().length)} {
    if (job.precision == nn::Precision::fp16) {
      scale_.emplace(job.device);
      binding.roles().optimizer->skip_where(scale_->found(), scale_->skipped());
    }
  }

  Result run();

 private:
  Tick tick_of(int64_t every_score, int64_t every_save) const;
  data::Loader loader() const;
  std::string when() const {
    return str("step ", standing_.progress.step, " of stage '", job_.stage, "'");
  }
  double seconds() const { return standing_.seconds + seconds_since(started_); }
  // `Duration`s in updates, at least one.
  int64_t updates(const Duration& duration) const {
    const Progress& length = standing_.progress;
    return std::max<int64_t>(1, duration.resolve(length.steps_per_epoch, length.total_steps));
  }
  bool stop_wanted(bool agreed) const {
    if (job_.processes != nullptr) return agreed;
    return job_.stop != nullptr && job_.stop->load();
  }
  void finish(Result& result);

  const Job& job_;
  Binding& binding_;
  Exchange exchange_;
  Selection selection_;
  std::optional<LossScale> scale_;  // fp16
  Standing standing_;
  std::chrono::steady_clock::time_point started_;
};

data::Loader Loop::loader() const {
  data::SamplerOptions order{job_.options->batch, job_.seed, job_.options->length_window, true,
                             job_.options->length_width};
  if (job_.processes != nullptr) {
    order.rank = job_.processes->rank();
    order.world = job_.processes->world();
  }
  return data::Loader(*job_.data, Teachers::views_of(job_), order, standing_.progress.step,
                      job_.device.is_cuda());
}

Tick Loop::tick_of(int64_t every_score, int64_t every_save) const {
  const int64_t step = standing_.progress.step;
  Tick tick{};
  tick.last = step == standing_.progress.total_steps;
  tick.log = step % 10 == 0 || tick.last;
  tick.compare = step % 100 == 0 || tick.last;
  tick.score = job_.evaluate && (step % every_score == 0 || tick.last);
  tick.save = !job_.state_file.empty() && step % every_save == 0 && !tick.last;
  return tick;
}

Result Loop::run() {
  Progress& progress = standing_.progress;
  LossScale* scale = scale_ ? &*scale_ : nullptr;
  Step step(job_, binding_, exchange_, scale, GraphStep::make(job_, binding_));
  StateFile state(job_, binding_, selection_, scale);
  if (std::optional<Standing> saved = state.load()) standing_ = *saved;
  exchange_.check_equal(when());
  started_ = std::chrono::steady_clock::now();
  Reporter reporter(job_, step, progress);
  data::Loader rows = loader();
  const TrainOptions& options = *job_.options;
  const int64_t every_score = updates(options.evaluate.every),
                every_save = updates(options.checkpoint.every);
  auto score = [&] { reporter.score(progress, selection_.evaluate(progress), seconds()); };
  int64_t samples = 0;
  double training = 0;  // seconds inside updates

  if (progress.step == 0 && job_.evaluate && options.evaluate.before) score();
  while (progress.step < progress.total_steps && !selection_.finished()) {
    const auto began = std::chrono::steady_clock::now();
    const std::vector<data::Batch> packed = rows.next_views();
    const double rate = binding_.roles().optimizer->learning_rate() * step.rate_factor(progress);
    const bool agreed = step.update(packed, progress);
    if (job_.after_update) job_.after_update(progress.step);
    const Tick tick = tick_of(every_score, every_save);
    // Where updates are only queued, their time is that until a reading, which comes before other
    // work.
    if (nn::reading_waits(job_.device) && (tick.log || tick.score || tick.save))
      (void)step.losses();
    training += seconds_since(began);
    const int64_t examples = packed.front().update_examples();
    samples += examples;

    reporter.update(progress, tick, examples, rate, seconds());
    if (tick.compare) exchange_.check_equal(when());
    if (tick.score) score();
    const bool stop = stop_wanted(agreed);
    if (stop || tick.save) state.save({progress, seconds()});
    if (stop && !tick.last)
      throw Error(ErrorKind::interrupted, str("stopped at ", when(), "; its state is saved"), {},
                  "run the same command again to go on from there");
    if (tick.last || selection_.finished()) reporter.finish(progress, rate);
  }

  Result result;
  result.steps = progress.step;
  result.samples_per_second = training > 0 ? static_cast<double>(samples) / training : 0;
  finish(result);
  return result;
}

void Loop::finish(Result& result) {
  const Progress& progress = standing_.progress;
  if (!selection_.before().empty())
    result.notes.push_back("before training, on validation: " + selection_.before());
  if (selection_.finished())
    result.notes.push_back(
        str("stopped early at step ", progress.step, " of ", progress.total_steps));
  if (scale_ && scale_->skipped_updates() > 0)
    result.notes.push_back(
        str("left out ", scale_->skipped_updates(),
            " updates whose gradients were not finite in fp16; the loss scale ends at ",
            scale_->scale()));
  selection_.restore(progress, result);
  result.seconds = seconds();
  for (auto& constraint : binding_.roles().constraints) {
    constraint->finish();
    result.notes.push_back(constraint->report());
    nn::Json scheme = constraint->export_scheme();
    if (!scheme.is_null()) result.scheme = std::move(scheme);
  }
  result.earlier_seconds = standing_.seconds;
}

}  // namespace

Result run(const Job& job, Binding& binding) {
  return Loop(job, binding).run();
}

Result run(const Job& job) {
  Binding binding(job);
  return run(job, binding);
}

}  // namespace compress::train
