// How failures reach the user: one form on stderr, one exit code each kind.

#include "compress/data/torch.h"

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <new>

#include "compress/base/error.h"
#include "compress/base/log.h"
#include "compress/base/strings.h"
#include "compress/cli/commands.h"

namespace compress::cli {

namespace {

constexpr const char* please_report =
    "this is a bug of compress: please report it with the command, the recipe and this text";
constexpr const char* use_less_memory =
    "lower `batch` or `max_length`, or raise `accumulate`; `compress plan` estimates the memory";

int report(const Error& error) {
  log::progress("");  // wipes a running line
  std::string kind = kind_name(error.kind());
  if (ends_with(kind, " error")) kind.resize(kind.size() - 6);
  std::string text = str(log::prefix(), "error: ", kind, ": ", error.message(), "\n");
  if (!error.where().empty()) text += "  at: " + error.where() + "\n";
  if (!error.hint().empty()) text += "  hint: " + error.hint() + "\n";
  std::fwrite(text.data(), 1, text.size(), stderr);
  return exit_code(error.kind());
}

// LibTorch tells a full memory, on the CPU and on a GPU, and a failing driver by words alone.
Error translated(const c10::Error& error) {
  const std::string text = error.what_without_backtrace();
  auto says = [&](const char* words) { return text.find(words) != std::string::npos; };
  if (says("out of memory") || says("can't allocate memory") || says("not enough memory"))
    return Error(ErrorKind::device, str("out of memory: ", first_line(text)), {}, use_less_memory);
  if (says("CUDA") || says("cuDNN") || says("cuBLAS"))
    return Error(ErrorKind::device, std::string(first_line(text)), {},
                 "`--set ...device=cpu` avoids the GPU");
  return Error(ErrorKind::internal, std::string(first_line(text)), {}, please_report);
}

}  // namespace

int report_failure(const std::exception_ptr& failure) noexcept {
  try {
    std::rethrow_exception(failure);
  } catch (const Error& error) {
    bool ours = error.kind() == ErrorKind::internal && error.hint().empty();
    if (!ours) return report(error);
    return report(Error(error.kind(), error.message(), error.where(), please_report));
  } catch (const c10::Error& error) {
    return report(translated(error));
  } catch (const std::bad_alloc&) {
    return report(Error(ErrorKind::device, "out of memory", {}, use_less_memory));
  } catch (const std::filesystem::filesystem_error& error) {
    return report(Error(ErrorKind::disk, error.code().message(), error.path1().string(),
                        "check that it exists and may be read and written"));
  } catch (const std::exception& error) {
    return report(
        Error(ErrorKind::internal, std::string(first_line(error.what())), {}, please_report));
  } catch (...) {
    return report(Error(ErrorKind::internal, "an unknown exception", {}, please_report));
  }
}

void print(std::string_view text) {
  errno = 0;
  bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  written = std::fflush(stdout) == 0 && written;
  if (!written && errno != EPIPE)
    throw Error(ErrorKind::disk, "cannot write to the standard output", {},
                "check the disk that it goes to");
}

std::string suggestion(const std::string& name, const std::vector<std::string>& candidates,
                       const std::string& label) {
  std::string near = nearest(name, candidates);
  return near.empty() ? label + ": " + join(candidates, ", ") : "did you mean '" + near + "'?";
}

}  // namespace compress::cli
