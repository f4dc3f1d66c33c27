#pragma once
// The command line. This module alone prints to stdout, installs signal handlers and chooses exit
// codes; log lines go to stderr through base/log.

#include <exception>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace CLI {
class App;
}

namespace compress::cli {

// What a subcommand does once the whole command line was read. Returns the exit code of success;
// failures throw.
using Action = std::function<int()>;

// Each adds one subcommand with its options to `app`. Parsing that subcommand sets `action`, which
// must outlive the parsing.
void add_run(CLI::App& app, Action& action);
void add_plan(CLI::App& app, Action& action);
void add_evaluate(CLI::App& app, Action& action);
void add_generate(CLI::App& app, Action& action);
void add_inspect(CLI::App& app, Action& action);
void add_export(CLI::App& app, Action& action);
void add_compare(CLI::App& app, Action& action);
void add_reproduce(CLI::App& app, Action& action);
void add_score(CLI::App& app, Action& action);
void add_explain(CLI::App& app, Action& action);
void add_schema(CLI::App& app, Action& action);
void add_bench(CLI::App& app, Action& action);
void add_tokenizer(CLI::App& app, Action& action);
void add_tokenize(CLI::App& app, Action& action);

// `compress --version`: program, commit, LibTorch, GPUs, what the processor can do, threads.
std::string version_text();

// Reads the command line and does what it says. Error{recipe} for a wrong one, with the nearest
// name as a hint.
int run_command_line(int argc, const char* const* argv);

// Tells on stderr what went wrong, and returns the exit code (docs/errors.md). Never throws.
int report_failure(const std::exception_ptr& failure) noexcept;

// Writes to stdout and flushes. A reader that left early (`compress plan a.yaml | head`) is no
// error: the text is dropped. Anything else that hinders writing is an Error{disk}.
void print(std::string_view text);

// "did you mean 'x'?" when a candidate is near, else "`label`: a, b, c".
std::string suggestion(const std::string& name, const std::vector<std::string>& candidates,
                       const std::string& label);

}  // namespace compress::cli
