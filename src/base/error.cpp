#include "compress/base/error.h"

#include <utility>

namespace compress {

namespace {

std::string compose(const std::string& what, const std::string& where, const std::string& hint) {
  std::string text = where.empty() ? what : where + ": " + what;
  if (!hint.empty()) text += "\n  hint: " + hint;
  return text;
}

}  // namespace

int exit_code(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::internal:
      return 1;
    case ErrorKind::recipe:
      return 2;
    case ErrorKind::data:
      return 3;
    case ErrorKind::model:
      return 4;
    case ErrorKind::diverged:
      return 5;
    case ErrorKind::interrupted:
      return 6;
    case ErrorKind::expectation:
      return 7;
    case ErrorKind::disk:
      return 8;
    case ErrorKind::device:
      return 9;
    case ErrorKind::process:
      return 10;
    case ErrorKind::undecided:
      return 11;
  }
  return 1;
}

const char* kind_name(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::internal:
      return "internal error";
    case ErrorKind::recipe:
      return "recipe error";
    case ErrorKind::data:
      return "data error";
    case ErrorKind::model:
      return "model file error";
    case ErrorKind::diverged:
      return "diverged";
    case ErrorKind::interrupted:
      return "interrupted";
    case ErrorKind::expectation:
      return "expectation missed";
    case ErrorKind::disk:
      return "disk error";
    case ErrorKind::device:
      return "device error";
    case ErrorKind::process:
      return "lost process";
    case ErrorKind::undecided:
      return "undecided";
  }
  return "error";
}

Error::Error(ErrorKind kind, std::string what, std::string where, std::string hint)
    : std::runtime_error(compose(what, where, hint)),
      kind_(kind),
      message_(std::move(what)),
      where_(std::move(where)),
      hint_(std::move(hint)) {}

}  // namespace compress
