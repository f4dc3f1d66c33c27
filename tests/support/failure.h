#pragma once
// Errors that tests wait for.

#include <gtest/gtest.h>

#include <functional>

#include "compress/base/error.h"

namespace compress {

// The error that `act` ends with; the test fails where it ends without one.
inline Error failure(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error was thrown";
  return Error(ErrorKind::internal, "none");
}

}  // namespace compress
