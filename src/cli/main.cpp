#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <string_view>

#include "compress/base/cpu.h"
#include "compress/base/error.h"
#include "compress/cli/commands.h"
#include "compress/nn/memory.h"

namespace {

// oneDNN compiles each shape of matrix product and keeps the last 1,024, each with half a megabyte
// of memory. The products of some twenty token counts, which come again soon, are as fast.
void keep_compiled_products() {
  setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "256", /*overwrite=*/0);
}

// Where a standard stream is closed, the next file that is opened has its number, and log lines
// would go into a model's or a run's file. Input and output stay ones that cannot be used.
void fill_closed_streams() {
  for (int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (::fcntl(stream, F_GETFD) < 0)
      (void)::open("/dev/null", stream == STDOUT_FILENO ? O_RDONLY : O_WRONLY);
}

// MKL ends the process while it is loaded, with a message of its own, where it cannot ask for the
// current folder. This runs before the constructors of libraries, so it only calls the system.
void check_current_folder(int, char**, char**) {
  char room[PATH_MAX];
  if (::getcwd(room, sizeof room) != nullptr || errno != ENOENT) return;
  constexpr std::string_view told =
      "error: disk: the current folder was deleted\n  hint: go to one that is there (cd)\n";
  (void)!::write(STDERR_FILENO, told.data(), told.size());
  ::_exit(compress::exit_code(compress::ErrorKind::disk));
}

[[gnu::section(".preinit_array"), gnu::used]] void (*const early)(int, char**,
                                                                  char**) = check_current_folder;

}  // namespace

int main(int argc, char** argv) {
  fill_closed_streams();
  compress::nn::keep_tensor_memory();
  keep_compiled_products();
  // A reader that closes our output early must not end a training run; print() drops the text. Nor
  // may the most that a file may hold (ulimit -f), which a write then tells.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    compress::cpu::limit_from_environment();
    return compress::cli::run_command_line(argc, argv);
  } catch (...) {
    return compress::cli::report_failure(std::current_exception());
  }
}
