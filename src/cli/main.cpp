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

}  // namespace

int main(int argc, char** argv) {
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
