#pragma once
// Zip archives whose entries are stored as they are (PKWARE APPNOTE 6.3.10, sections 4.3 and 4.4),
// with the 64-bit extensions. torch.save writes such archives so that they can be mapped.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace compress::storage {

struct ZipEntry {
  std::string_view name;
  std::string_view data;
};

// The entries by name, all of them inside `bytes`, which must outlive them. The central directory
// decides; each local header must agree with it, and no two entries may share bytes. Compressed or
// encrypted entries, archives in parts and bytes after the archive are refused. Checksums are not
// verified: torch.save can be told to leave them out. Throws Error{model} with `file` as its place.
std::vector<ZipEntry> zip_entries(std::string_view bytes, const std::string& file);

// The entry of this name, or null. `entries` are those of zip_entries().
const ZipEntry* find_entry(const std::vector<ZipEntry>& entries, std::string_view name);

}  // namespace compress::storage
