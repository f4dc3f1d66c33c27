#pragma once
// The running line of work whose amount is known beforehand: rows that a teacher answers, rows that
// a model is scored on.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace compress {

// "student  teacher answers: row 1,280 of 8,087 (15%)  310 rows/s  22 s left". Work of less than a
// few seconds has no line. On a terminal the line is rewritten, and wiped at the end; elsewhere a
// plain line goes to the log now and then. An update without a line costs one look at the clock.
class WorkLine {
 public:
  struct Options {
    std::optional<bool> terminal;   // unset: log::on_terminal()
    double quiet_seconds = 3;       // on a terminal: before the first line
    double plain_seconds = 10;      // elsewhere: before each line
    std::function<double()> clock;  // seconds; unset: the monotonic clock
    // Where a line goes; `rewrite` says that the next line may take its place. Unset:
    // log::progress() when `rewrite`, else log::info().
    std::function<void(std::string_view line, bool rewrite)> print;
  };

  // `rows` of work, begun now; without a name (or rows) nothing is ever printed.
  WorkLine(std::string name, int64_t rows) : WorkLine(std::move(name), rows, Options{}) {}
  WorkLine(std::string name, int64_t rows, Options options);
  ~WorkLine();
  WorkLine(const WorkLine&) = delete;
  WorkLine& operator=(const WorkLine&) = delete;

  // `done` rows of all are done; `part` of the work, from 0 to 1, where rows are not alike.
  void update(int64_t done, std::optional<double> part = std::nullopt);

 private:
  std::string name_;
  int64_t rows_;
  Options options_;
  double started_, printed_;  // clock times
  bool shown_ = false;        // a line that waits to be rewritten
};

}  // namespace compress
