#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "compress/base/cpu.h"
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

}  // namespace

int main(int argc, char** argv) {
  fill_closed_streams();
  compress::nn::keep_tensor_memory();
  keep_compiled_products();
  // A reader that closes our output early must not end a training run; print() drops the text.
  std::signal(SIGPIPE, SIG_IGN);
  try {
    compress::cpu::limit_from_environment();
    return compress::cli::run_command_line(argc, argv);
  } catch (...) {
    return compress::cli::report_failure(std::current_exception());
  }
}
