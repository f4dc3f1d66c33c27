#pragma once
// The program's log: one line an event, to the terminal (stderr) and, once a run folder exists, to
// its log file. spdlog stays behind this header (LibTorch carries another version of its formatting
// library).

#include <filesystem>
#include <string>
#include <string_view>

namespace compress::log {

enum class Level { debug, info, warning, error };

// The lowest level that the terminal shows (info at the start). The log file holds info and above
// whatever the terminal shows, and debug lines only when the level is debug.
void set_level(Level level);
// Which of several processes this is: "[process 3] " then stands in front of every later line on
// the terminal, and prefix() is that text; report() uses it as well.
void set_process(int64_t rank);
const std::string& prefix();
// Appends every later line to `file` as well. Throws Error{disk} when it cannot be opened.
void add_file(const std::filesystem::path& file);
void close_file();
void debug(std::string_view line);
void info(std::string_view line);
void warn(std::string_view line);
// A warning that all processes of a run would give alike: the first one does.
void warn_as_one(std::string_view line);
void error(std::string_view line);
// Rewrites one status line on a terminal (cut to its width, wiped before the next log line); off a
// terminal it is a plain line. Not written to the log file. An empty line wipes the status.
void progress(std::string_view line);
bool on_terminal();

}  // namespace compress::log
