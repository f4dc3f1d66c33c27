#pragma once
// Subcommands that several processes may run together.

#include <functional>

#include "compress/parallel/processes.h"

namespace compress::cli {

// Connects to the other processes that a launcher started (docs/cluster.md), if it did, and runs
// `work` with them (null: one process alone). All but the first say warnings and errors only, with
// their number in front. When work fails, the process ends at once with the failure's exit code:
// the engine's threads may still wait for processes that are gone.
int with_processes(const std::function<int(parallel::Processes*)>& work);

}  // namespace compress::cli
