#include "compress/train/telemetry.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/log.h"
#include "compress/base/strings.h"

namespace compress {

namespace {

Error disk_error(const char* what, const std::filesystem::path& path, int code) {
  return Error(ErrorKind::disk, str(what, ": ", std::strerror(code)), path.string(),
               "check the free space and the rights of the run folder");
}

}  // namespace

AppendFile::AppendFile(std::filesystem::path path) : path_(std::move(path)) {
  file_ = ::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  if (file_ < 0) throw disk_error("cannot open the file for appending", path_, errno);
}

AppendFile::~AppendFile() {
  ::close(file_);
}

void AppendFile::append(std::string_view record) {
  size_t done = 0;
  while (done < record.size()) {
    ssize_t count = ::write(file_, record.data() + done, record.size() - done);
    if (count >= 0) {
      done += static_cast<size_t>(count);
    } else if (errno != EINTR) {
      int code = errno;
      struct stat status;
      // Best effort: readers also cope with a torn record.
      if (done > 0 && ::fstat(file_, &status) == 0 &&
          ::ftruncate(file_, status.st_size - static_cast<off_t>(done)) != 0)
        log::warn(str(path_.string(), ": a partly written record could not be cut off"));
      throw disk_error("cannot append to the file", path_, code);
    }
  }
}

void AppendFile::sync() {
  // EINVAL and EROFS: a file without a disk behind it, such as a pipe.
  if (::fsync(file_) != 0 && errno != EINVAL && errno != EROFS)
    throw disk_error("cannot flush the file to the disk", path_, errno);
}

namespace {

struct KeptLines {
  std::string text;
  int64_t malformed = 0;  // other than a torn last line
};

// The lines of `text` that stay when `stage` goes on from `resume_step`.
KeptLines keep_lines(std::string_view text, const std::string& stage, int64_t resume_step) {
  KeptLines kept;
  kept.text.reserve(text.size());
  while (!text.empty()) {
    size_t end = text.find('\n');
    bool whole = end != std::string_view::npos;
    std::string_view line = text.substr(0, end);
    text.remove_prefix(whole ? end + 1 : text.size());
    nlohmann::json value = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    auto name = value.is_object() ? value.find("stage") : value.end();
    auto step = value.is_object() ? value.find("step") : value.end();
    if (name == value.end() || step == value.end() || !name->is_string() ||
        !step->is_number_integer()) {
      if (whole) ++kept.malformed;
      continue;
    }
    if (step->get<int64_t>() > resume_step && name->get_ref<const std::string&>() == stage)
      continue;
    kept.text.append(line).push_back('\n');
  }
  return kept;
}

std::string json_string(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string number(double value) {
  return std::isfinite(value) ? shortest(value) : "null";
}

}  // namespace

MetricsLog::MetricsLog(const std::filesystem::path& run_folder)
    : path_(run_folder / "metrics.jsonl") {}

void MetricsLog::start_stage(std::string stage, int64_t resume_step) {
  file_.reset();
  stage_ = std::move(stage);
  std::error_code ignored;
  if (std::filesystem::exists(path_, ignored)) {
    std::string text = read_file(path_);
    KeptLines kept = keep_lines(text, stage_, resume_step);
    if (kept.malformed > 0)
      log::warn(str(path_.string(), ": dropped ", kept.malformed, " lines that are not metrics"));
    if (kept.text != text) write_file(path_, kept.text);
  }
  file_.emplace(path_);
}

void MetricsLog::write(int64_t step, double epoch, double seconds,
                       std::span<const NamedValue> values) {
  if (!file_) throw Error(ErrorKind::internal, "MetricsLog::write() before start_stage()");
  std::string line = str("{\"stage\":", json_string(stage_), ",\"step\":", std::to_string(step),
                         ",\"epoch\":", number(epoch), ",\"seconds\":", number(seconds));
  for (const auto& [name, value] : values) {
    if (name == "stage" || name == "step" || name == "epoch" || name == "seconds")
      throw Error(ErrorKind::internal, str("a metric may not be named '", name, "'"),
                  path_.string());
    line += str(",", json_string(name), ":", number(value));
  }
  file_->append(line + "}\n");
}

void MetricsLog::sync() {
  if (file_) file_->sync();
}

namespace {

constexpr double terminal_seconds = 0.2;
constexpr double rate_seconds = 30;

std::string significant(double value, int digits) {
  if (!std::isfinite(value)) return shortest(value);
  char buffer[64];
  auto end =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::general, digits);
  return std::string(buffer, end.ptr);
}

std::string rate_text(double samples_per_second) {
  int digits = samples_per_second < 10 ? 1 : 0;
  return samples_per_second < 10000 ? fixed(samples_per_second, digits) + " samples/s"
                                    : short_count(samples_per_second) + " samples/s";
}

std::string losses_text(const NamedValues& losses, double learning_rate) {
  std::string text;
  for (const auto& [name, value] : losses) text += str("  ", name, " ", significant(value, 4));
  return text + "  lr " + significant(learning_rate, 3);
}

double monotonic_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void print_to_log(std::string_view line, bool rewrite) {
  rewrite ? log::progress(line) : log::info(line);
}

}  // namespace

std::string progress_text(std::string_view stage, const Progress& progress,
                          const NamedValues& losses, double learning_rate,
                          double samples_per_second, double seconds_left) {
  std::string text = str(stage, "  step ", with_commas(progress.step));
  if (progress.total_steps > 0)
    text += str("/", with_commas(progress.total_steps), " (",
                fixed(std::floor(100 * progress.fraction()), 0), "%)");
  if (progress.steps_per_epoch > 0) text += "  epoch " + fixed(progress.epoch(), 2);
  text += losses_text(losses, learning_rate);
  if (samples_per_second >= 0) text += "  " + rate_text(samples_per_second);
  if (seconds_left >= 0) text += "  " + human_seconds(seconds_left) + " left";
  return text;
}

void Rates::advance(double now, int64_t step) {
  const double elapsed = now - at_, fade = std::exp(-elapsed / rate_seconds);
  seconds_ = fade * seconds_ + elapsed;
  samples_ = fade * samples_ + static_cast<double>(pending_);
  steps_ = fade * steps_ + static_cast<double>(step - step_);
  at_ = now;
  step_ = step;
  pending_ = 0;
}

namespace {

ProgressOptions completed(ProgressOptions options) {
  if (!options.terminal) options.terminal = log::on_terminal();
  if (!options.clock) options.clock = monotonic_seconds;
  if (!options.print) options.print = print_to_log;
  return options;
}

}  // namespace

ProgressLine::ProgressLine(std::string stage, const Progress& start, ProgressOptions options)
    : stage_(std::move(stage)),
      options_(completed(std::move(options))),
      first_step_(start.step),
      step_(start.step),
      started_(options_.clock()),
      printed_(started_),
      rates_(started_, start.step) {}

void ProgressLine::update(const Progress& progress, int64_t samples, double learning_rate,
                          const ReadLosses& losses) {
  step_ = progress.step;
  samples_ += samples;
  rates_.add(samples);
  const double now = options_.clock();
  const bool terminal = *options_.terminal;
  const bool first = terminal && !any_line_;  // a person who watches sees the first step at once
  if (!first && now - printed_ < (terminal ? terminal_seconds : options_.plain_seconds)) return;
  const NamedValues values = losses();
  // Reading the losses waited for the device: that time belongs to the steps.
  printed_ = options_.clock();
  any_line_ = true;
  rates_.advance(printed_, step_);
  const double steps = rates_.steps_per_second();
  const double left = progress.total_steps > 0 && steps > 0
                          ? static_cast<double>(progress.total_steps - step_) / steps
                          : -1;
  options_.print(
      progress_text(stage_, progress, values, learning_rate, rates_.samples_per_second(), left),
      terminal);
}

void ProgressLine::finish(const Progress& progress, double learning_rate,
                          const ReadLosses& losses) {
  NamedValues values = losses();
  double elapsed = options_.clock() - started_;
  int64_t steps = progress.step - first_step_;
  std::string text = progress_text(stage_, progress, values, learning_rate,
                                   elapsed > 0 ? static_cast<double>(samples_) / elapsed : -1, -1);
  options_.print(str(text, "  ", with_commas(steps), steps == 1 ? " step in " : " steps in ",
                     human_seconds(elapsed)),
                 false);
}

}  // namespace compress
