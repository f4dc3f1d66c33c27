#include "files/fingerprint.h"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>
#include <mutex>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/hash.h"
#include "compress/base/log.h"
#include "compress/base/strings.h"
#include "files/contents.h"
#include "files/reader.h"

namespace compress::data {

namespace fs = std::filesystem;

namespace {

constexpr uint64_t auto_cache_bytes = uint64_t{64} << 20;
constexpr const char* note_head = "compress source 1\n";

int64_t nanoseconds(const timespec& time) {
  return static_cast<int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

fs::path whole_path(const fs::path& file) {
  std::error_code failed;
  fs::path whole = fs::weakly_canonical(file, failed);
  return failed ? fs::absolute(file) : whole;
}

// What this process has hashed, by path.
class Remembered {
 public:
  std::optional<std::string> find(const fs::path& file, const Stamp& stamp) {
    std::lock_guard lock(mutex_);
    auto found = known_.find(file.string());
    if (found == known_.end() || found->second.first != stamp) return std::nullopt;
    return found->second.second;
  }
  void add(const fs::path& file, const Stamp& stamp, const std::string& sha256) {
    std::lock_guard lock(mutex_);
    known_[file.string()] = {stamp, sha256};
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::pair<Stamp, std::string>> known_;
};

Remembered& remembered() {
  static Remembered all;
  return all;
}

bool is_sha256(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// A note holds the state of the file and its hash, a line each.
std::optional<std::string> noted(const fs::path& note, const Stamp& stamp) {
  std::string text = read_note(note), head = note_head + stamp.text() + "\n";
  if (!starts_with(text, head)) return std::nullopt;
  std::string sha256 = text.substr(head.size(), 64);
  return is_sha256(sha256) ? std::optional(sha256) : std::nullopt;
}

// A lock that is only there to save work.
std::unique_ptr<FileLock> try_lock(const fs::path& file) {
  try {
    return std::make_unique<FileLock>(file);
  } catch (const Error& error) {
    log::debug(str("no lock: ", error.what()));
    return nullptr;
  }
}

Fingerprint hash_now(const fs::path& file, const fs::path& whole, const fs::path* note) {
  std::optional<Stamp> before = stamp_behind(file);
  const bool settled = before && before->settled();
  Fingerprint found{Source(file, Examine::done_before).examine_and_hash(), before};
  if (stamp_behind(file) != before)
    throw Error(ErrorKind::data, "the data file was changed while it was read", file.string(),
                "run again when nothing writes to it");
  if (!settled) return found;
  remembered().add(whole, *before, found.sha256);
  if (note != nullptr)
    write_note(*note, note_head + before->text() + "\n" + found.sha256 + "\n" + whole.string());
  return found;
}

// About how much text a part is: what is packed is taken for four times its size.
uint64_t text_bytes(const fs::path& part) {
  uint64_t bytes = 0;
  try {
    for (const fs::path& file : files_behind(part))
      if (const auto stamp = stamp_of(file))
        bytes +=
            stamp->size *
            (format_by_extension(file) == Format::parquet || without_compression(file) != file ? 4
                                                                                               : 1);
  } catch (const Error&) {  // a pattern that nothing fits, which whoever opens it will tell
  }
  return bytes;
}

std::optional<fs::path> default_folder() {
  for (auto [variable, below] : {std::pair{"COMPRESS_CACHE", ""},
                                 {"XDG_CACHE_HOME", "compress"},
                                 {"HOME", ".cache/compress"}})
    if (const char* value = std::getenv(variable); value != nullptr && *value != '\0')
      return fs::path(value) / below / "tokenised";
  return std::nullopt;
}

}  // namespace

bool Stamp::settled() const {
  using namespace std::chrono;
  const auto now = duration_cast<std::chrono::nanoseconds>(system_clock::now().time_since_epoch());
  return std::max(modified, changed) <= now.count() - 3'000'000'000;
}

std::string Stamp::text() const {
  return str(size, " ", inode, " ", device, " ", modified, " ", changed);
}

std::optional<Stamp> stamp_of(const fs::path& file) {
  struct stat info {};
  if (::stat(file.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return std::nullopt;
  return Stamp{static_cast<uint64_t>(info.st_size), static_cast<uint64_t>(info.st_ino),
               static_cast<uint64_t>(info.st_dev), nanoseconds(info.st_mtim),
               nanoseconds(info.st_ctim)};
}

std::optional<Stamp> stamp_behind(const fs::path& part) {
  if (auto plain = stamp_of(part)) return plain;
  Stamp all;
  try {
    for (const fs::path& file : files_behind(part)) {
      const std::optional<Stamp> one = stamp_of(file);
      if (!one) return std::nullopt;
      all.size += one->size;
      all.modified = std::max(all.modified, one->modified);
      all.changed = std::max(all.changed, one->changed);
      for (const uint64_t number : {one->inode, one->size, static_cast<uint64_t>(one->modified),
                                    static_cast<uint64_t>(one->changed)})
        all.inode = mix64(all.inode ^ number);
      all.device = mix64(all.device ^ one->device);
    }
  } catch (const Error&) {
    return std::nullopt;
  }
  return all;
}

Fingerprint fingerprint(const fs::path& file, const std::optional<fs::path>& cache) {
  const std::optional<Stamp> stamp = stamp_behind(file);
  const fs::path whole = whole_path(file);
  if (!stamp) return hash_now(file, whole, nullptr);  // throws what is wrong with it
  if (auto known = remembered().find(whole, *stamp)) return {*known, stamp};
  if (!cache) return hash_now(file, whole, nullptr);
  const std::string name = sha256(whole.string()).substr(0, 32);
  const fs::path note = *cache / (name + ".source");
  if (auto known = noted(note, *stamp)) return {*known, stamp};
  auto lock = try_lock(*cache / (name + ".lock"));
  if (auto known = noted(note, *stamp)) return {*known, stamp};
  return hash_now(file, whole, &note);
}

std::optional<fs::path> cache_folder(const DatasetOptions& options, const fs::path& file) {
  if (options.cache == "off") return std::nullopt;
  if (options.cache != "auto") {
    make_folder(options.cache);
    return options.cache;
  }
  if (text_bytes(file) <= auto_cache_bytes) return std::nullopt;
  std::optional<fs::path> folder = default_folder();
  if (!folder) return std::nullopt;
  try {
    make_folder(*folder);
  } catch (const Error& error) {
    log::debug(str("no cache of tokenised rows: ", error.what()));
    return std::nullopt;
  }
  return folder;
}

std::string read_note(const fs::path& file) {
  std::error_code failed;
  if (!fs::exists(file, failed)) return {};
  try {
    return read_file(file, 64 << 20);
  } catch (const Error& error) {
    log::debug(str("a note that cannot be read: ", error.what()));
    return {};
  }
}

void write_note(const fs::path& file, const std::string& text) {
  try {
    write_file(file, text);
  } catch (const Error& error) {
    log::debug(str("a note that cannot be written: ", error.what()));
  }
}

}  // namespace compress::data
