#include <algorithm>
#include <bit>
#include <cstring>

#include "bytes.h"
#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/storage/safetensors.h"
#include "safetensors/layout.h"

namespace compress::storage {

namespace fs = std::filesystem;

static_assert(std::endian::native == std::endian::little, "files are mapped as they are");

namespace {

constexpr uint64_t longest_header = 100'000'000;

// The header's text; what follows it in the file is data.
std::string_view header_text(std::string_view bytes, const std::string& file) {
  if (bytes.size() < 8)
    throw Error(ErrorKind::model, "is too short for a safetensors file", file, damaged_hint);
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  const std::string_view start = bytes.substr(0, 60);
  if (length > longest_header && std::all_of(start.begin(), start.end(), [](char c) {
        return (c >= ' ' && c <= '~') || c == '\n' || c == '\r' || c == '\t';
      }))
    throw Error(ErrorKind::model, "is a text that begins with " + shown_name(start), file,
                "such a text is often what a server says in place of the file; fetch it again");
  if (length > longest_header)
    throw Error(ErrorKind::model,
                str("its header claims ", length, " bytes, over the format's 100 MB"), file,
                "is this a safetensors file?");
  if (length > bytes.size() - 8)
    throw Error(ErrorKind::model,
                str("its header claims ", length, " bytes, beyond the end of the file"), file,
                damaged_hint);
  return bytes.substr(8, length);
}

}  // namespace

void check_layout(std::vector<HeaderEntry>& entries, uint64_t size, const std::string& file) {
  std::sort(entries.begin(), entries.end(), [](const HeaderEntry& a, const HeaderEntry& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  uint64_t at = 0;
  for (const HeaderEntry& entry : entries) {
    auto refuse = [&](const std::string& what) {
      throw Error(ErrorKind::model, what, str(file, " (tensor ", shown_name(entry.info.name), ")"),
                  damaged_hint);
    };
    std::optional<uint64_t> wanted = byte_size(entry.info.dtype, entry.info.shape);
    if (!wanted) refuse("the shape's product is too large");
    if (entry.end < entry.begin || entry.end - entry.begin != *wanted)
      refuse(str("its offsets ", entry.begin, " to ", entry.end, " do not hold the ", *wanted,
                 " bytes of its type and shape"));
    if (entry.begin < at) refuse(str("it overlaps another tensor at byte ", entry.begin));
    if (entry.begin > at)
      refuse(str("nothing covers the bytes ", at, " to ", entry.begin, " before it"));
    if (entry.end > size)
      refuse(str("it ends at byte ", entry.end, " of ", size, " bytes of data"));
    at = entry.end;
  }
  if (at != size)
    throw Error(ErrorKind::model, str("no tensor covers the last ", size - at, " bytes"), file,
                damaged_hint);
}

Layout layout_of(std::string_view bytes, const std::string& file) {
  const std::string_view text = header_text(bytes, file);
  Header header = parse_header(text, file);
  const std::string_view data = bytes.substr(8 + text.size());
  check_layout(header.entries, data.size(), file);
  return {text, data, std::move(header.entries), std::move(header.metadata)};
}

namespace {

// The file that stands for the whole model.
fs::path safetensors_entry(const fs::path& path) {
  std::error_code code;  // a path that cannot be looked at is reported when it is opened
  if (!fs::is_directory(path, code)) return path;
  for (const char* name : {"model.safetensors", "model.safetensors.index.json"})
    if (fs::exists(path / name, code)) return path / name;
  throw Error(ErrorKind::model,
              "the folder holds no model.safetensors and no model.safetensors.index.json",
              path.string(), "give the folder of a Hugging Face model with safetensors weights");
}

}  // namespace

SafetensorsReader::SafetensorsReader(const fs::path& path) : TensorReader(safetensors_entry(path)) {
  if (ends_with(path_.string(), ".index.json")) {
    read_shards(".safetensors", [&](const fs::path& shard) { add_file(shard); });
  } else {
    add_file(path_);
    sort_names();
  }
}

void SafetensorsReader::add_file(const fs::path& file) {
  maps_.push_back(std::make_unique<MappedFile>(file));
  const MappedFile& map = *maps_.back();
  const std::string_view bytes(map.data(), map.size());
  // The length before the header may look like any other file's first bytes.
  if (bytes.size() < 9 || bytes[8] != '{') refuse_foreign(bytes, file.string());
  Layout layout = layout_of(bytes, file.string());
  tensors_.reserve(tensors_.size() + layout.entries.size());
  for (HeaderEntry& entry : layout.entries)
    tensors_.push_back({std::move(entry.info.name), entry.info.dtype, std::move(entry.info.shape),
                        layout.data.data() + entry.begin, entry.end - entry.begin});
  metadata_.merge(layout.metadata);
}

}  // namespace compress::storage
