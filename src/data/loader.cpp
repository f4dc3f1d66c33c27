#include "compress/data/loader.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

#include "compress/base/error.h"
#include "compress/base/random.h"
#include "compress/base/strings.h"
#include "pack.h"

namespace compress::data {

struct Loader::State {
  const Split& split;
  const std::vector<const Split*> views;
  const SamplerOptions options;
  const bool pin;
  const size_t depth;
  std::mutex mutex;
  std::condition_variable changed;  // of everything below
  std::deque<std::vector<Batch>> ready;
  std::exception_ptr failure;
  bool stop = false;
  std::thread thread;

  // The worker: packs the batches from `step` on until it is told to stop or one fails.
  void work(int64_t step) {
    try {
      int64_t steps = steps_per_epoch(split.epoch_rows(), options.batch);
      for (int64_t epoch = step / steps, first = step % steps;; ++epoch, first = 0) {
        const Batches batches = epoch_batches(split, options, epoch);
        for (int64_t i = first; i < steps; ++i)
          if (!hand_over(packed(batches[static_cast<size_t>(i)], draw_of(epoch)))) return;
      }
    } catch (...) {
      std::lock_guard lock(mutex);
      failure = std::current_exception();
      changed.notify_all();
    }
  }

  // What rows that are made of others are drawn by; never 0.
  uint64_t draw_of(int64_t epoch) const {
    return stream_seed(options.seed, "compose", static_cast<uint64_t>(epoch)) | 1;
  }

  std::vector<Batch> packed(std::span<const int64_t> rows, uint64_t draw) const {
    std::vector<Batch> all;
    all.push_back(share(split, rows, draw));
    for (const Split* view : views) all.push_back(share(*view, rows, draw));
    return all;
  }

  // This process's share of a batch.
  Batch share(const Split& view, std::span<const int64_t> rows, uint64_t draw) const {
    if (options.world == 1) return pack(view, rows, pin, draw);
    const auto count = static_cast<int64_t>(rows.size());
    int64_t begin = count * options.rank / options.world,
            end = count * (options.rank + 1) / options.world;
    Part part, target;  // target: of the decoder's batch
    part.counts = begin < end;
    if (!part.counts) {
      begin = 0;
      end = 1;
    }
    part.first_row = begin * view.choices;
    part.rows = count * view.choices;
    part.tokens = 0;
    int64_t answers = 0;
    target = part;
    part.labelled = 0;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t row = rows[static_cast<size_t>(i)];
      if (i == begin) {
        part.first_token = part.tokens;
        target.first_token = target.tokens;
      }
      const int64_t read = source_tokens(view, row, draw);
      part.tokens += read;
      target.tokens += packed_length(view, row, draw) - read;
      const int64_t labels = labelled_tokens(view, row, draw);
      part.labelled = labels < 0 ? -1 : part.labelled + labels;
      answers += answer_tokens(view, row, draw);
    }
    Batch batch =
        pack(view, rows.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)), pin,
             draw);
    batch.part = part;
    for (TokenMark& mark : batch.targets.marks) mark.update = answers;
    if (batch.decoder != nullptr) {
      auto decoder = std::make_shared<Batch>(*batch.decoder);
      decoder->part = target;
      batch.decoder = std::move(decoder);
    }
    return batch;
  }

  // Queues a batch once there is room; false when the loader is being destroyed.
  bool hand_over(std::vector<Batch> batch) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [this] { return stop || ready.size() < depth; });
    if (stop) return false;
    ready.push_back(std::move(batch));
    changed.notify_all();
    return true;
  }
};

Loader::Loader(const Split& split, SamplerOptions options, int64_t first_step, bool pin, int depth)
    : Loader(split, {}, options, first_step, pin, depth) {}

Loader::Loader(const Split& split, std::vector<const Split*> views, SamplerOptions options,
               int64_t first_step, bool pin, int depth)
    : state_(new State{.split = split,
                       .views = std::move(views),
                       .options = options,
                       .pin = pin,
                       .depth = static_cast<size_t>(std::max(depth, 1))}) {
  for (const Split* view : state_->views)
    if (view->rows() != split.rows())
      throw Error(ErrorKind::internal, "a view of other rows", view->file.string());
  if (split.rows() < 1) throw Error(ErrorKind::data, "a split without rows", split.file.string());
  if (options.batch < 1 || first_step < 0 || options.rank < 0 || options.rank >= options.world)
    throw Error(ErrorKind::internal,
                str("a loader for batches of ", options.batch, " from step ", first_step));
  state_->thread = std::thread(&State::work, state_.get(), first_step);
}

Loader::~Loader() {
  {
    std::lock_guard lock(state_->mutex);
    state_->stop = true;
  }
  state_->changed.notify_all();
  state_->thread.join();
}

Batch Loader::next() {
  return std::move(next_views().front());
}

std::vector<Batch> Loader::next_views() {
  std::unique_lock lock(state_->mutex);
  state_->changed.wait(lock, [this] { return !state_->ready.empty() || state_->failure; });
  if (state_->ready.empty()) std::rethrow_exception(state_->failure);
  std::vector<Batch> batch = std::move(state_->ready.front());
  state_->ready.pop_front();
  state_->changed.notify_all();
  return batch;
}

}  // namespace compress::data
