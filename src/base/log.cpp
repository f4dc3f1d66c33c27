#include "compress/base/log.h"

// Formatting and logging come from headers only: the shared libfmt would meet LibTorch's copy in
// one process.
#define FMT_HEADER_ONLY
#include <spdlog/logger.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <mutex>
#include <string>

#include "compress/base/error.h"
#include "compress/base/strings.h"

namespace compress::log {

namespace {

struct State {
  std::mutex mutex;
  Level level = Level::info;
  std::string prefix;
  bool first = true;  // of the processes
  std::unique_ptr<spdlog::logger> file;
  bool status_shown = false;
  bool file_failed = false;
};

// Never destroyed: a thread may log while the process ends.
State& state() {
  static State* instance = new State;
  return *instance;
}

spdlog::level::level_enum spdlog_level(Level level) {
  switch (level) {
    case Level::debug:
      return spdlog::level::debug;
    case Level::info:
      return spdlog::level::info;
    case Level::warning:
      return spdlog::level::warn;
    case Level::error:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

const char* level_name(Level level) {
  switch (level) {
    case Level::debug:
      return "debug: ";
    case Level::info:
      return "";
    case Level::warning:
      return "warning: ";
    case Level::error:
      return "error: ";
  }
  return "";
}

// One write a line, so that lines of several processes on one terminal do not interleave.
void to_terminal(State& s, const std::string& text) {
  std::string out = s.status_shown ? "\r\033[K" + text : text;
  s.status_shown = false;
  std::fwrite(out.data(), 1, out.size(), stderr);
  std::fflush(stderr);
}

void write(Level level, std::string_view line) {
  State& s = state();
  std::lock_guard lock(s.mutex);
  if (s.file) s.file->log(spdlog_level(level), spdlog::string_view_t(line.data(), line.size()));
  if (level >= s.level) to_terminal(s, str(s.prefix, level_name(level), line, "\n"));
}

// The first `columns` code points.
std::string_view clipped(std::string_view text, size_t columns) {
  size_t at = 0;
  for (size_t seen = 0; at < text.size(); ++at)
    if ((text[at] & 0xC0) != 0x80 && seen++ == columns) break;
  return text.substr(0, at);
}

size_t terminal_columns() {
  winsize size{};
  bool known = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
  return known ? size.ws_col - 1u : 79u;
}

}  // namespace

void set_level(Level level) {
  State& s = state();
  std::lock_guard lock(s.mutex);
  s.level = level;
  if (s.file) s.file->set_level(level == Level::debug ? spdlog::level::debug : spdlog::level::info);
}

void set_process(int64_t rank) {
  State& s = state();
  std::lock_guard lock(s.mutex);
  s.prefix = str("[process ", rank, "] ");
  s.first = rank == 0;
}

const std::string& prefix() {
  return state().prefix;
}

void add_file(const std::filesystem::path& file) {
  std::shared_ptr<spdlog::sinks::basic_file_sink_mt> sink;
  try {
    sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(file.string(), /*truncate=*/false);
  } catch (const spdlog::spdlog_ex& problem) {
    throw Error(ErrorKind::disk, str("cannot open the log file: ", problem.what()), file.string(),
                "check the folder's permissions and free space");
  }
  auto logger = std::make_unique<spdlog::logger>("compress", std::move(sink));
  logger->set_pattern("%Y-%m-%d %H:%M:%S.%e %l %v");
  logger->flush_on(spdlog::level::debug);  // the last lines before a crash are those that matter
  State& s = state();
  std::lock_guard lock(s.mutex);
  logger->set_level(s.level == Level::debug ? spdlog::level::debug : spdlog::level::info);
  // Runs inside write(), with the mutex held. A full disk must not end a run for its log: say it
  // once.
  logger->set_error_handler([](const std::string& problem) {
    State& inner = state();
    if (!inner.file_failed) to_terminal(inner, str("warning: the log file: ", problem, "\n"));
    inner.file_failed = true;
  });
  s.file = std::move(logger);
  s.file_failed = false;
}

void close_file() {
  State& s = state();
  std::lock_guard lock(s.mutex);
  s.file.reset();
}

void debug(std::string_view line) {
  write(Level::debug, line);
}
void info(std::string_view line) {
  write(Level::info, line);
}
void warn(std::string_view line) {
  write(Level::warning, line);
}
void warn_as_one(std::string_view line) {
  if (state().first) warn(line);
}
void error(std::string_view line) {
  write(Level::error, line);
}

void progress(std::string_view line) {
  State& s = state();
  std::lock_guard lock(s.mutex);
  if (s.level > Level::info) return;
  if (!on_terminal()) {
    if (!line.empty()) to_terminal(s, str(line, "\n"));
    return;
  }
  to_terminal(s, std::string(clipped(line, terminal_columns())));
  s.status_shown = !line.empty();
}

bool on_terminal() {
  return ::isatty(STDERR_FILENO) == 1;
}

}  // namespace compress::log
