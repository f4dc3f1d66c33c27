#include "compress/base/work_line.h"

#include <chrono>
#include <cmath>

#include "compress/base/log.h"
#include "compress/base/strings.h"

namespace compress {

namespace {

constexpr double terminal_seconds = 0.2;  // between two lines that take each other's place

double monotonic_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void print_to_log(std::string_view line, bool rewrite) {
  rewrite ? log::progress(line) : log::info(line);
}

}  // namespace

WorkLine::WorkLine(std::string name, int64_t rows, Options options)
    : name_(std::move(name)), rows_(rows), options_(std::move(options)) {
  if (!options_.terminal) options_.terminal = log::on_terminal();
  if (!options_.clock) options_.clock = monotonic_seconds;
  if (!options_.print) options_.print = print_to_log;
  started_ = printed_ = options_.clock();
}

WorkLine::~WorkLine() {
  if (shown_) options_.print("", true);
}

void WorkLine::update(int64_t done, std::optional<double> part) {
  if (name_.empty() || done <= 0 || done >= rows_) return;
  const double now = options_.clock(), elapsed = now - started_;
  const bool terminal = *options_.terminal;
  const double wait = !terminal ? options_.plain_seconds
                      : shown_  ? terminal_seconds
                                : options_.quiet_seconds;
  if (now - printed_ < wait) return;
  printed_ = now;
  shown_ = terminal;
  const double rate = static_cast<double>(done) / elapsed;
  const double through = part.value_or(static_cast<double>(done) / static_cast<double>(rows_));
  options_.print(str(name_, ": row ", with_commas(done), " of ", with_commas(rows_), " (",
                     fixed(std::floor(100 * through), 0), "%)  ", fixed(rate, rate < 10 ? 1 : 0),
                     " rows/s  ", human_seconds(elapsed * (1 - through) / through), " left"),
                 terminal);
}

}  // namespace compress
