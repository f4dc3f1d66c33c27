#pragma once
// What subcommands that run recipes share.

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "compress/pipeline/run.h"

namespace compress::cli {

// From now on signals ask for a stop: the training loop saves its state and leaves. `shared`: of a
// run of several processes, whose launchers repeat signals.
const std::atomic<bool>* stop_on_signals(bool shared);

std::string expectations_text(const std::vector<pipeline::Expectation>& expectations);
// After everything was printed: missed numbers are a failure with a code of its own, and what could
// not be decided is one with another.
void require_held(const std::vector<pipeline::Expectation>& expectations, const std::string& place);

// "13", "13..15". Error{recipe} for anything else.
std::vector<int64_t> seeds_of(const std::vector<std::string>& texts);

}  // namespace compress::cli
