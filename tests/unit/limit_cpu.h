#pragma once
// Holds this executable's kernels, and LibTorch's, to the instruction set that COMPRESS_CPU names.

#include <cstdio>
#include <cstdlib>

#include "compress/base/cpu.h"
#include "compress/base/error.h"

namespace compress {
namespace {

constexpr int skipped = 77;  // ctest's SKIP_RETURN_CODE (cmake/modules.cmake)

[[maybe_unused]] const bool limited = [] {
  try {
    cpu::limit_from_environment();
  } catch (const Error& error) {
    std::puts(error.what());
    std::exit(skipped);
  }
  return true;
}();

}  // namespace
}  // namespace compress
