#include "shared/session.h"

#include <cstdio>
#include <cstdlib>
#include <thread>

#include "compress/base/error.h"
#include "compress/base/log.h"
#include "compress/base/strings.h"
#include "compress/cli/commands.h"

namespace compress::cli {

namespace {

// Processes of one machine share its cores, unless somebody has divided them.
void divide_cores(const parallel::Launch& launch) {
  if (std::getenv("OMP_NUM_THREADS") != nullptr || launch.local_world < 2) return;
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  if (at::get_num_threads() < cores) return;  // bound to some of them, or --threads was given
  at::set_num_threads(std::max(1, cores / launch.local_world));
}

int end(const std::exception_ptr& failure) {
  const int code = report_failure(failure);
  std::fflush(nullptr);
  std::_Exit(code);
}

}  // namespace

int with_processes(const std::function<int(parallel::Processes*)>& work) {
  const std::optional<parallel::Launch> launch = parallel::launch_from_environment();
  if (!launch) return work(nullptr);
  log::set_process(launch->rank);
  if (launch->rank != 0) log::set_level(log::Level::warning);
  divide_cores(*launch);
  std::unique_ptr<parallel::Processes> processes;
  try {
    processes = std::make_unique<parallel::Processes>(*launch);
    log::info(str(launch->world, " processes, started by ", launch->launcher, ", ",
                  at::get_num_threads(), " threads each"));
    const int code = work(processes.get());
    processes->barrier();
    return code;
  } catch (const Error& error) {
    // The others are through as well; whoever ended earlier would look lost to them.
    if (error.kind() == ErrorKind::expectation || error.kind() == ErrorKind::undecided)
      processes->barrier();
    [[maybe_unused]] auto* kept = processes.release();
    return end(std::current_exception());
  } catch (...) {
    [[maybe_unused]] auto* kept = processes.release();
    return end(std::current_exception());
  }
}

}  // namespace compress::cli
