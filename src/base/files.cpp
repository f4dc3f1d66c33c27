#include "compress/base/files.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "compress/base/error.h"
#include "compress/base/strings.h"

namespace compress {

namespace fs = std::filesystem;

namespace {

const char* hint_for(int code) {
  switch (code) {
    case ENOENT:
    case ENOTDIR:
      return "check the path";
    case EACCES:
    case EPERM:
    case EROFS:
      return "check who owns the folder and its permissions";
    case ENOSPC:
    case EDQUOT:
      return "free some space or choose another folder";
    case EFBIG:
      return "the shell's limit (ulimit -f) or the file system allows no larger file";
    default:
      return "";
  }
}

[[noreturn]] void fail(ErrorKind kind, std::string_view action, const fs::path& path, int code) {
  throw Error(kind, str(action, ": ", std::strerror(code)), path.string(), hint_for(code));
}

// A descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return value_; }

 private:
  int value_;
};

constexpr const char* temporary_end = ".tmp";    // of an AtomicFile's work
constexpr const char* partial_end = ".partial";  // of an AtomicFolder's work
constexpr const char* replaced_end = ".old";     // of the folder that it replaces

// A name beside `path` that no other process or thread uses.
fs::path beside(const fs::path& path, const char* suffix) {
  static std::atomic<unsigned> counter{0};
  fs::path folder = path.parent_path();
  return folder /
         str(".", path.filename().string(), ".", ::getpid(), "-", counter.fetch_add(1), suffix);
}

// Whether bytes are handed on there, so that no file may take its place: a device, a pipe, what
// standard output is.
bool is_stream(const fs::path& path) {
  std::error_code code;
  const fs::file_status status = fs::status(path, code);
  if (!fs::exists(status)) return false;
  const std::string name = path.string();
  return !fs::is_regular_file(status) || name == "/dev/stdout" || name == "/dev/stderr" ||
         name.starts_with("/dev/fd/") || name.starts_with("/proc/self/fd/");
}

fs::path parent_of(const fs::path& path) {
  fs::path parent = path.parent_path();
  return parent.empty() ? fs::path(".") : parent;
}

// Flushes a file or folder. Some file systems cannot sync a folder (EINVAL): that is no failure.
void sync(const fs::path& path) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) fail(ErrorKind::disk, "cannot open", path, errno);
  if (::fsync(file.get()) != 0 && errno != EINVAL && errno != EROFS)
    fail(ErrorKind::disk, "cannot flush to the disk", path, errno);
}

// Opening a pipe with a name waits for whoever writes into it, perhaps for ever. Those of a shell,
// under /dev, have a writer.
void refuse_named_pipe(const fs::path& path) {
  const std::string name = path.string();
  std::error_code ignored;
  if (fs::is_fifo(path, ignored) && !starts_with(name, "/dev/") && !starts_with(name, "/proc/"))
    throw Error(ErrorKind::disk, "is a pipe, not a file", path.string());
}

// "folder/name/" names the same place as "folder/name".
fs::path without_trailing_slash(fs::path path) {
  return path.has_filename() ? path : path.parent_path();
}

}  // namespace

std::string read_file(const fs::path& path, uint64_t limit) {
  refuse_named_pipe(path);
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) fail(ErrorKind::disk, "cannot open", path, errno);
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) fail(ErrorKind::disk, "cannot read", path, errno);
  if (S_ISDIR(info.st_mode)) throw Error(ErrorKind::disk, "is a folder, not a file", path.string());
  auto check = [&](uint64_t size) {
    if (limit > 0 && size > limit)
      throw Error(ErrorKind::disk, str("is larger than the limit of ", limit, " bytes"),
                  path.string());
  };
  // The size is a hint only: pipes report 0 and a file may grow while it is read.
  auto expected = static_cast<uint64_t>(std::max<off_t>(info.st_size, 0));
  check(expected);
  std::string bytes;
  size_t used = 0;
  while (true) {
    if (used == bytes.size()) bytes.resize(used == 0 ? expected + 1 : used + used / 2 + 65536);
    ssize_t got = ::read(file.get(), bytes.data() + used, bytes.size() - used);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(ErrorKind::disk, "cannot read", path, errno);
    if (got == 0) break;
    used += static_cast<size_t>(got);
    check(used);
  }
  bytes.resize(used);
  return bytes;
}

void write_file(const fs::path& path, std::string_view bytes) {
  AtomicFile file(path);
  file.append(bytes);
  file.commit();
}

AtomicFile::AtomicFile(fs::path path)
    : path_(std::move(path)), temporary_(beside(path_, temporary_end)) {
  std::error_code code;
  if (!path_.has_filename() || fs::is_directory(path_, code))
    throw Error(ErrorKind::disk, "cannot write: is a folder", path_.string());
  if (is_stream(path_)) {
    temporary_.clear();
    descriptor_ = ::open(path_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
    if (descriptor_ < 0) fail(ErrorKind::disk, "cannot write", path_, errno);
    return;
  }
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail(ErrorKind::disk, "cannot write", path_, errno);
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::append(std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t done = ::write(descriptor_, bytes.data(), bytes.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) fail(ErrorKind::disk, "cannot write", path_, errno);
    bytes.remove_prefix(static_cast<size_t>(done));
  }
}

void AtomicFile::seek(uint64_t offset) {
  if (::lseek(descriptor_, static_cast<off_t>(offset), SEEK_SET) < 0)
    fail(ErrorKind::disk, "cannot write", path_, errno);
}

void AtomicFile::commit() {
  if (::fsync(descriptor_) != 0 && errno != EINVAL)
    fail(ErrorKind::disk, "cannot flush to the disk", path_, errno);
  // Network file systems report a failed write only here.
  int closed = ::close(std::exchange(descriptor_, -1));
  if (temporary_.empty()) {
    if (closed != 0) fail(ErrorKind::disk, "cannot write", path_, errno);
    return;
  }
  if (closed != 0 || ::rename(temporary_.c_str(), path_.c_str()) != 0) {
    int code = errno;
    ::unlink(temporary_.c_str());
    fail(ErrorKind::disk, "cannot write", path_, code);
  }
  sync(parent_of(path_));
}

void remove_leftovers(const fs::path& path) {
  const std::string begin = str(".", path.filename().string(), ".");  // as beside() begins
  std::error_code failed;
  std::vector<fs::path> found;
  for (fs::directory_iterator entry(parent_of(path), failed), end; !failed && entry != end;
       entry.increment(failed))
    if (const std::string name = entry->path().filename().string();
        starts_with(name, begin) && ends_with(name, temporary_end))
      found.push_back(entry->path());
  for (const fs::path& file : found) fs::remove(file, failed);
}

namespace {

bool is_number(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

// What "<name>" was where `file` is called ".<name>.<process>-<number><end>", as beside() does; ""
// for other names.
std::string name_behind(std::string_view file, std::string_view end) {
  if (!starts_with(file, ".") || !ends_with(file, end)) return {};
  file = file.substr(1, file.size() - 1 - std::min(file.size() - 1, end.size()));
  const size_t dot = file.rfind('.'), dash = file.rfind('-');
  if (dot == std::string_view::npos || dash == std::string_view::npos || dash < dot) return {};
  const bool ours =
      is_number(file.substr(dot + 1, dash - dot - 1)) && is_number(file.substr(dash + 1));
  return ours ? std::string(file.substr(0, dot)) : std::string();
}

bool is_leftover(const fs::directory_entry& entry) {
  const std::string file = entry.path().filename().string();
  std::error_code failed;
  const fs::file_type type = entry.symlink_status(failed).type();
  if (type == fs::file_type::regular) return !name_behind(file, temporary_end).empty();
  if (type != fs::file_type::directory) return false;
  if (!name_behind(file, partial_end).empty()) return true;
  // The only copy, where the process was killed between the two renamings.
  const std::string replaced = name_behind(file, replaced_end);
  return !replaced.empty() && fs::exists(entry.path().parent_path() / replaced, failed);
}

}  // namespace

int64_t remove_all_leftovers(const fs::path& folder) {
  std::error_code failed;
  std::vector<fs::path> found;
  for (fs::directory_iterator entry(folder, failed), end; !failed && entry != end;
       entry.increment(failed))
    if (is_leftover(*entry)) found.push_back(entry->path());
  for (const fs::path& path : found) fs::remove_all(path, failed);
  return static_cast<int64_t>(found.size());
}

void make_folder(const fs::path& path) {
  std::error_code code;
  fs::create_directories(path, code);
  if (code) fail(ErrorKind::disk, "cannot make the folder", path, code.value());
  // create_directories is content with a file of that name on some libraries.
  if (!fs::is_directory(path, code)) fail(ErrorKind::disk, "cannot make the folder", path, ENOTDIR);
}

AtomicFolder::AtomicFolder(fs::path target)
    : target_(without_trailing_slash(std::move(target))), work_(beside(target_, partial_end)) {
  make_folder(work_);
}

AtomicFolder::~AtomicFolder() {
  std::error_code ignored;  // a destructor has nobody to tell; the leftover's name says what it is
  if (!committed_) fs::remove_all(work_, ignored);
}

void AtomicFolder::commit() {
  std::error_code code;
  for (fs::recursive_directory_iterator it(work_, code), end; !code && it != end;
       it.increment(code))
    if (fs::file_type type = it->symlink_status(code).type();
        type == fs::file_type::regular || type == fs::file_type::directory)
      sync(it->path());
  if (code) fail(ErrorKind::disk, "cannot read the folder", work_, code.value());
  sync(work_);
  if (::rename(work_.c_str(), target_.c_str()) != 0) {
    // A target with content is swapped in one step where the system can, else moved aside first.
    if (::renameat2(AT_FDCWD, work_.c_str(), AT_FDCWD, target_.c_str(), RENAME_EXCHANGE) == 0) {
      fs::remove_all(work_, code);
    } else {
      fs::path old = beside(target_, replaced_end);
      if (::rename(target_.c_str(), old.c_str()) != 0)
        fail(ErrorKind::disk, "cannot replace", target_, errno);
      if (::rename(work_.c_str(), target_.c_str()) != 0) {
        int reason = errno;
        if (::rename(old.c_str(), target_.c_str()) != 0) reason = errno;
        fail(ErrorKind::disk, "cannot replace", target_, reason);
      }
      fs::remove_all(old, code);
    }
  }
  committed_ = true;
  sync(parent_of(target_));
}

namespace {

int open_lock(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor < 0) fail(ErrorKind::disk, "cannot open the lock file", path, errno);
  return descriptor;
}

}  // namespace

FileLock::FileLock(const fs::path& path) : path_(path), descriptor_(open_lock(path)) {
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) == 0) return;
  waited_ = errno == EWOULDBLOCK;
  while (::flock(descriptor_, LOCK_EX) != 0)
    if (errno != EINTR) {
      const int code = errno;
      ::close(descriptor_);
      fail(ErrorKind::disk, "cannot lock", path, code);
    }
}

std::unique_ptr<FileLock> FileLock::attempt(const fs::path& path) {
  std::unique_ptr<FileLock> lock(new FileLock);
  lock->path_ = path;
  lock->descriptor_ = open_lock(path);
  while (::flock(lock->descriptor_, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return nullptr;
    if (errno != EINTR) fail(ErrorKind::disk, "cannot lock", path, errno);
  }
  return lock;
}

FileLock::~FileLock() {
  ::close(descriptor_);
}

void FileLock::note(std::string_view text) {
  const auto size = static_cast<ssize_t>(text.size());
  if (::ftruncate(descriptor_, 0) != 0 ||
      ::pwrite(descriptor_, text.data(), text.size(), 0) != size)
    fail(ErrorKind::disk, "cannot write the lock file", path_, errno);
}

MappedFile::MappedFile(const fs::path& path) : path_(path) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));  // of a pipe: now
  if (file.get() < 0) fail(ErrorKind::model, "cannot open", path, errno);
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) fail(ErrorKind::model, "cannot read", path, errno);
  if (!S_ISREG(info.st_mode)) throw Error(ErrorKind::model, "is not a regular file", path.string());
  size_ = static_cast<uint64_t>(info.st_size);
  if (size_ == 0) return;  // nothing to map; data() stays null
  void* mapped = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (mapped == MAP_FAILED) fail(ErrorKind::model, "cannot map into memory", path, errno);
  data_ = static_cast<const char*>(mapped);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<char*>(data_), size_);
}

}  // namespace compress
