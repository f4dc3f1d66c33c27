#pragma once
// Files that are whole or absent. Everything a run keeps is written through here.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace compress {

// Whole file as bytes. Throws Error{disk} naming the path when it is missing, a folder, unreadable
// or larger than `limit` bytes (0 = no limit).
std::string read_file(const std::filesystem::path& path, uint64_t limit = 0);

// Writes to a temporary file beside `path`, flushes it to the disk and renames it over `path`: a
// reader sees the old file or the new one, never a part. A device, a pipe or what /dev/stdout is
// has no content to keep and is written to as it stands. Throws Error{disk}.
void write_file(const std::filesystem::path& path, std::string_view bytes);

// write_file for content that does not fit in memory: append piece by piece, then commit(). Without
// a commit nothing appears at `path`. A failed append or commit throws Error{disk}.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  void append(std::string_view bytes);
  void seek(uint64_t offset);  // the next append goes there; bytes never written read as zeros
  void commit();

 private:
  std::filesystem::path path_, temporary_;
  int descriptor_ = -1;
};

// Removes what processes that were killed while they wrote `path` have left beside it. Only where
// nobody else writes it at the time (under a FileLock). What cannot be removed stays: nothing is
// lost but room.
void remove_leftovers(const std::filesystem::path& path);
// The same for all that AtomicFile and AtomicFolder left in `folder` itself, told by their names
// (".<name>.<process>-<number>.tmp", ".partial", ".old"). Says how many there were.
int64_t remove_all_leftovers(const std::filesystem::path& folder);

// Makes the folder and its parents. Throws Error{disk}.
void make_folder(const std::filesystem::path& path);

// A folder that appears at `path` only on commit(): work goes into path() beside it. Uncommitted
// work is removed.
class AtomicFolder {
 public:
  explicit AtomicFolder(std::filesystem::path target);
  ~AtomicFolder();
  AtomicFolder(const AtomicFolder&) = delete;
  AtomicFolder& operator=(const AtomicFolder&) = delete;
  const std::filesystem::path& path() const { return work_; }
  // Flushes the content to the disk and replaces an existing target. Throws Error{disk}.
  void commit();

 private:
  std::filesystem::path target_, work_;
  bool committed_ = false;
};

// Held by one process at a time: waits until the file at `path` (made when absent) can be locked.
// The lock ends with the object, or with the process however that ends. Throws Error{disk}, also
// where the file system knows no locks.
class FileLock {
 public:
  explicit FileLock(const std::filesystem::path& path);
  // Does not wait: null where another process holds the lock. Errors as above.
  static std::unique_ptr<FileLock> attempt(const std::filesystem::path& path);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  bool waited() const { return waited_; }  // another process held it
  // Makes `text` the file's content, for those who find it locked; what a killed holder wrote stays
  // until the next one. Throws Error{disk}.
  void note(std::string_view text);

 private:
  FileLock() = default;

  std::filesystem::path path_;
  int descriptor_ = -1;
  bool waited_ = false;
};

// Read-only memory map of a whole file. Throws Error{model} when it cannot be opened or mapped.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  const char* data() const { return data_; }
  uint64_t size() const { return size_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  const char* data_ = nullptr;
  uint64_t size_ = 0;
};

}  // namespace compress
