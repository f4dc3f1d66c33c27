#pragma once
// Hashes of data files, each computed once as long as its file stays as it is.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "compress/data/dataset.h"

namespace compress::data {

// The state of a file as its file system tells it. A program can set a modification time, but not
// the time of the last change (ctime).
struct Stamp {
  uint64_t size = 0, inode = 0, device = 0;
  int64_t modified = 0, changed = 0;  // nanoseconds
  bool operator==(const Stamp&) const = default;

  // Whether a later change must show: both times lie three seconds back or more, so that no change
  // can fall into the same tick of the file system's clock.
  bool settled() const;
  std::string text() const;
};
// Nothing where the file cannot be asked.
std::optional<Stamp> stamp_of(const std::filesystem::path& file);
// The same of what a part names: of several files (files/contents.h) their sizes together, the
// latest of their times and a hash of their other numbers. Nothing for standard input.
std::optional<Stamp> stamp_behind(const std::filesystem::path& part);

struct Fingerprint {
  std::string sha256;  // of the content, which was examined as in Source
  std::optional<Stamp> stamp;
};

// The fingerprint of a data file. Read in one pass, unless this process, or (with a cache folder)
// another one before, hashed the file in its present state; only settled states are remembered. Of
// several processes that share a folder, one hashes. Errors as Source.
Fingerprint fingerprint(const std::filesystem::path& file,
                        const std::optional<std::filesystem::path>& cache);

// The folder for tokenised rows of `file`: what options.cache says. Made when absent; nothing where
// `auto` cannot make it. Error{disk} when a named folder cannot be made.
std::optional<std::filesystem::path> cache_folder(const DatasetOptions& options,
                                                  const std::filesystem::path& file);

// Small notes in a cache folder. They only save work: one that is absent, damaged or cannot be
// written is worth nothing and no error.
std::string read_note(const std::filesystem::path& file);
void write_note(const std::filesystem::path& file, const std::string& text);

}  // namespace compress::data
