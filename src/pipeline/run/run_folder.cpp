#include "run/run_folder.h"

#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <thread>
#include <vector>

#include "compress/base/error.h"
#include "compress/base/log.h"
#include "compress/base/strings.h"

namespace compress::pipeline {

namespace fs = std::filesystem;

namespace {

// "process 4711 on node3, since 2026-03-01 12:00:00 UTC"
std::string who_i_am() {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host = {"an unknown host"};
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  std::array<char, 32> since{};
  std::strftime(since.data(), since.size(), "%Y-%m-%d %H:%M:%S UTC", &utc);
  const char* job = std::getenv("SLURM_JOB_ID");
  return str("process ", ::getpid(), " on ", host.data(), ", since ", since.data(),
             job != nullptr ? str(", Slurm job ", job) : "");
}

// What the holder of a lock says of itself. It may have taken it only now.
std::string holder(const fs::path& file) {
  constexpr uint64_t longest = 4096;
  for (int looks = 0; looks < 20; ++looks) {
    try {
      const std::string text(first_line(read_file(file, longest)));
      if (!text.empty()) return text;
    } catch (const Error&) {
      break;  // the lock says enough
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return "another process";
}

std::vector<fs::path> folders_in(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code failed;
  for (fs::directory_iterator entry(folder, failed), end; !failed && entry != end;
       entry.increment(failed))
    if (entry->is_directory(failed)) found.push_back(entry->path());
  return found;
}

// Where a run's writers work: the folder itself, those of the stages, their stores, their models
// and the modules in these.
int64_t sweep(const fs::path& folder) {
  int64_t removed = remove_all_leftovers(folder);
  for (const fs::path& stage : folders_in(folder / "stages")) {
    removed += remove_all_leftovers(stage) + remove_all_leftovers(stage / "store") +
               remove_all_leftovers(stage / "model");
    for (const fs::path& module : folders_in(stage / "model"))
      removed += remove_all_leftovers(module);
  }
  return removed;
}

// A folder that no run has worked in may be there already, but not with files that a run would
// replace, or that are those of a model.
void refuse_foreign(const fs::path& folder) {
  std::error_code failed;
  for (const fs::path& inside : folders_in(folder))
    if (inside.filename().string().starts_with("seed-") && fs::exists(inside / "run.lock", failed))
      throw Error(ErrorKind::disk, "the folder holds the runs of several seeds", folder.string(),
                  "name a new folder with --out, or run with --seeds");
  if (fs::exists(folder / "run.lock", failed) || fs::exists(folder / "stages", failed)) return;
  for (const char* file : {"recipe.yaml", "config.json", "result.json", "result.md"})
    if (fs::exists(folder / file, failed))
      throw Error(ErrorKind::disk, str("the folder is not one of a run, and has a ", file),
                  folder.string(), "name a new folder with --out");
}

}  // namespace

void refuse_single_run(const fs::path& folder) {
  std::error_code failed;
  for (const char* own : {"run.lock", "stages"})
    if (fs::exists(folder / own, failed))
      throw Error(ErrorKind::disk, "the folder is that of a run without --seeds", folder.string(),
                  "name a new folder with --out");
}

RunFolder::RunFolder(const fs::path& folder) {
  refuse_foreign(folder);
  make_folder(folder);
  const fs::path file = folder / "run.lock";
  try {
    lock_ = FileLock::attempt(file);
  } catch (const Error& error) {
    log::warn(str(file.string(), ": ", error.message(),
                  "; two runs in this folder at a time would not notice each other"));
    return;
  }
  if (!lock_)
    throw Error(ErrorKind::disk, "another run works in this folder: " + holder(file),
                folder.string(), "wait for it or stop it, or name another folder with --out");
  lock_->note(who_i_am() + "\n");
  if (const int64_t removed = sweep(folder); removed > 0)
    log::info(str(folder.string(), ": removed ", removed,
                  removed == 1 ? " unfinished file" : " unfinished files",
                  " of a run that was killed"));
}

RunFolder::~RunFolder() {
  if (!lock_) return;
  try {
    lock_->note("");
  } catch (const Error&) {
    return;  // the lock ends all the same
  }
}

}  // namespace compress::pipeline
