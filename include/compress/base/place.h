#pragma once
// The place of errors that are thrown where no place is known.

#include <string>

#include "compress/base/error.h"

namespace compress {

// Returns work(); an Error{recipe} of it that names no place is given `where`.
template <class Work>
auto with_place(const std::string& where, const Work& work) {
  try {
    return work();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::recipe || !error.where().empty()) throw;
    throw Error(error.kind(), error.message(), where, error.hint());
  }
}

}  // namespace compress
