#pragma once
// What a run says about itself while it trains: metrics.jsonl, TensorBoard events, one progress
// line.
//
// Values are plain doubles. Reading a loss from a device waits for the device, so callers read
// values only when a line is due; ProgressLine takes a callback for that. With several processes
// only the first one owns these objects. Nothing here is thread-safe: one thread, the training
// loop, uses an object.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "compress/base/progress.h"

namespace compress {

using NamedValue = std::pair<std::string, double>;
using NamedValues = std::vector<NamedValue>;

// A file that grows by whole records: a record that cannot be written in full is cut off again. A
// killed process loses nothing that append() returned from; sync() makes that true for the machine.
class AppendFile {
 public:
  explicit AppendFile(std::filesystem::path path);  // created when absent; throws Error{disk}
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;
  void append(std::string_view record);  // throws Error{disk}
  void sync();                           // throws Error{disk}
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int file_ = -1;
};

// `metrics.jsonl` of a run folder: one JSON object a line, shared by the stages of the run,
// {"stage": "student", "step": 120, "epoch": 0.4, "seconds": 33.1, "loss": 0.52, ...}
class MetricsLog {
 public:
  // The folder must exist. Nothing is read or written before start_stage().
  explicit MetricsLog(const std::filesystem::path& run_folder);

  // Later lines belong to `stage`. Lines of that stage with a step greater than `resume_step` are
  // dropped, so that a run which goes on from a saved state leaves each step once; -1 drops all of
  // them (the stage starts anew). A torn last line, and any line that is not an object with a stage
  // and a step, goes as well. The file is replaced atomically, and only when something is dropped.
  // Throws Error{disk}.
  void start_stage(std::string stage, int64_t resume_step);

  // Appends one line; after start_stage(). `seconds` is wall time since the stage began, as the
  // caller counts it. Names are free but for stage, step, epoch and seconds (Error{internal}). NaN
  // and infinities, which JSON lacks, become null. Throws Error{disk}.
  void write(int64_t step, double epoch, double seconds, std::span<const NamedValue> values);

  // Forces the lines to the disk. Call it before saving a state that a resume may start from.
  void sync();
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  std::string stage_;
  std::optional<AppendFile> file_;
};

// CRC-32C (Castagnoli), and the form that TFRecord files store: rotated right by 15 bits plus
// 0xa282ead8.
uint32_t crc32c(std::string_view bytes);
uint32_t masked_crc32c(std::string_view bytes);

// Scalars for TensorBoard: a file events.out.tfevents.<time>.<host>.<pid>.<n> in `folder`, made of
// TFRecord frames (length, its masked CRC, data, its masked CRC; little-endian) around Event
// messages of tensorflow's event.proto.
class TensorBoardWriter {
 public:
  // Makes the folder. With `resume_step` >= 0 the file opens with a session start, upon which
  // TensorBoard hides the points after that step that an earlier, interrupted writer left. Throws
  // Error{disk}.
  explicit TensorBoardWriter(const std::filesystem::path& folder, int64_t resume_step = -1);

  // One event with all values; tags such as "loss/soft_labels" group in TensorBoard. Stored as
  // float32. `wall_time` is in seconds since 1970; the shorter form takes it from the clock. Throws
  // Error{disk}.
  void write(int64_t step, std::span<const NamedValue> values);
  void write(int64_t step, double wall_time, std::span<const NamedValue> values);
  void sync() { file_.sync(); }
  const std::filesystem::path& path() const { return file_.path(); }

 private:
  AppendFile file_;
};

// Samples and updates a second of late: sums that fade with a time constant of half a minute.
class Rates {
 public:
  Rates(double now, int64_t step) : at_(now), step_(step) {}
  void add(int64_t samples) { pending_ += samples; }
  void advance(double now, int64_t step);
  double samples_per_second() const { return seconds_ > 0 ? samples_ / seconds_ : -1; }
  double steps_per_second() const { return seconds_ > 0 ? steps_ / seconds_ : -1; }

 private:
  double at_;  // when and where the rates were last advanced
  int64_t step_;
  int64_t pending_ = 0;  // samples since then
  double seconds_ = 0, samples_ = 0, steps_ = 0;
};

struct ProgressOptions {
  std::optional<bool> terminal;  // unset: log::on_terminal()
  double plain_seconds = 10;
  std::function<double()> clock;  // seconds; unset: the monotonic clock
  // Where a line goes; `rewrite` says that the next line may take its place. Unset:
  // log::progress() when `rewrite`, else log::info().
  std::function<void(std::string_view line, bool rewrite)> print;
};

// The running line of a stage. On a terminal it is rewritten at most five times a second; elsewhere
// (a file, a pipe) a plain line appears at most every `plain_seconds`. finish() always leaves a
// last, plain line.
class ProgressLine {
 public:
  using ReadLosses = std::function<NamedValues()>;

  // `start` is where this process begins (step 0, or the step of a resumed state): rates count from
  // there.
  ProgressLine(std::string stage, const Progress& start, ProgressOptions options = {});

  // After every step. `samples` are those of the step. `losses` (the total first, then its terms)
  // is called only when a line is printed; otherwise this costs one look at the clock.
  void update(const Progress& progress, int64_t samples, double learning_rate,
              const ReadLosses& losses);
  // After the last step, whose update() came before.
  void finish(const Progress& progress, double learning_rate, const ReadLosses& losses);

 private:
  std::string stage_;
  ProgressOptions options_;
  int64_t first_step_, step_;  // where this process began; the latest step seen
  double started_, printed_;   // clock times
  bool any_line_ = false;
  int64_t samples_ = 0;  // of this process
  Rates rates_;
};

// The text of a running line:
// "student  step 120/1,200 (10%)  epoch 0.40  loss 0.5123  labels 0.1023  lr 4.5e-05  352 samples/s
// 3 min 20 s left" A negative `samples_per_second` or `seconds_left` is not known yet and is left
// out, as is an unknown total.
std::string progress_text(std::string_view stage, const Progress& progress,
                          const NamedValues& losses, double learning_rate,
                          double samples_per_second, double seconds_left);

}  // namespace compress
