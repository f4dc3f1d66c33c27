#pragma once
// Errors that a user can act on. Thrown at borders (recipe, files, device), caught once, in `cli`.

#include <stdexcept>
#include <string>

namespace compress {

// What went wrong, by who can mend it. Each kind has a documented exit code (docs/errors.md).
enum class ErrorKind {
  internal,     // exit 1: a bug of this program
  recipe,       // exit 2: the recipe or the command line
  data,         // exit 3: a data file
  model,        // exit 4: a checkpoint, tokenizer or container file
  diverged,     // exit 5: a non-finite or otherwise useless loss
  interrupted,  // exit 6: stopped by a signal, state saved
  expectation,  // exit 7: the run finished and an expected number did not hold
  disk,         // exit 8: cannot write or no space
  device,       // exit 9: the device or a precision on it is not available
  process,      // exit 10: another process of the run ended or does not answer
  undecided,    // exit 11: the run finished and a test of an expectation could not tell
};

int exit_code(ErrorKind kind);
const char* kind_name(ErrorKind kind);

// `what` says what is wrong in one sentence; `where` is a place a person can open
// ("configs/a.yaml:12:5 (stages.student.train.lr)", "data/train.tsv:17"); `hint` says what to do.
// `where` and `hint` may be empty.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, std::string what, std::string where = {}, std::string hint = {});

  ErrorKind kind() const { return kind_; }
  const std::string& message() const { return message_; }
  const std::string& where() const { return where_; }
  const std::string& hint() const { return hint_; }

 private:
  ErrorKind kind_;
  std::string message_, where_, hint_;
};

}  // namespace compress
