#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>
#include <set>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/storage/safetensors.h"
#include "safetensors_json.h"

namespace compress::storage {

namespace fs = std::filesystem;

static_assert(std::endian::native == std::endian::little, "files are mapped as they are");

namespace {

constexpr uint64_t kLongestHeader = 100'000'000;
constexpr const char* kDamaged = "the file is damaged or incomplete; fetch it again";

// The header's text; what follows it in the file is data.
std::string_view header_text(const MappedFile& map) {
  std::string file = map.path().string();
  if (map.size() < 8)
    throw Error(ErrorKind::model, "is too short for a safetensors file", file, kDamaged);
  uint64_t length = 0;
  std::memcpy(&length, map.data(), 8);
  if (length > kLongestHeader)
    throw Error(ErrorKind::model,
                str("its header claims ", length, " bytes, over the format's 100 MB"), file,
                "is this a safetensors file?");
  if (length > map.size() - 8)
    throw Error(ErrorKind::model,
                str("its header claims ", length, " bytes, beyond the end of the file"), file,
                kDamaged);
  return {map.data() + 8, length};
}

// Sorts the entries by offset and checks that they cover `size` bytes without hole or overlap, each
// with the bytes that its type and shape ask for.
void check_layout(std::vector<HeaderEntry>& entries, uint64_t size, const std::string& file) {
  std::sort(entries.begin(), entries.end(), [](const HeaderEntry& a, const HeaderEntry& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  uint64_t at = 0;
  for (const HeaderEntry& entry : entries) {
    auto refuse = [&](const std::string& what) {
      throw Error(ErrorKind::model, what, str(file, " (tensor ", shown_name(entry.info.name), ")"),
                  kDamaged);
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
                kDamaged);
}

// The file that stands for the whole model.
fs::path entry_file(const fs::path& path) {
  std::error_code code;  // a path that cannot be looked at is reported when it is opened
  if (!fs::is_directory(path, code)) return path;
  for (const char* name : {"model.safetensors", "model.safetensors.index.json"})
    if (fs::exists(path / name, code)) return path / name;
  throw Error(ErrorKind::model,
              "the folder holds no model.safetensors and no model.safetensors.index.json",
              path.string(), "give the folder of a Hugging Face model with safetensors weights");
}

}  // namespace

SafetensorsReader::SafetensorsReader(const fs::path& path) : path_(entry_file(path)) {
  if (path_.string().ends_with(".index.json"))
    read_shards(path_);
  else
    add_file(path_);
  sort_names();
}

void SafetensorsReader::read_shards(const fs::path& index) {
  std::map<std::string, std::string> weights =
      parse_index(read_file(index, kLongestHeader), index.string());
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : weights) shards.insert(shard);
  std::map<std::string, size_t> first;  // shard -> its first tensor in tensors_
  for (const std::string& shard : shards) {
    first[shard] = tensors_.size();
    add_file(index.parent_path() / shard);
  }
  sort_names();
  for (const auto& [tensor, shard] : weights) {
    const TensorView* view = find(tensor);
    auto place = view == nullptr ? 0 : static_cast<size_t>(view - tensors_.data());
    auto next = std::next(first.find(shard));
    size_t end = next == first.end() ? tensors_.size() : next->second;
    if (view == nullptr || place < first[shard] || place >= end)
      throw Error(ErrorKind::model,
                  str("the index puts the tensor ", shown_name(tensor), " in ", shard,
                      ", which does not hold it"),
                  index.string(),
                  "the index and the shards are of different models; fetch them again");
  }
}

void SafetensorsReader::add_file(const fs::path& file) {
  maps_.push_back(std::make_unique<MappedFile>(file));
  const MappedFile& map = *maps_.back();
  std::string_view text = header_text(map);
  Header header = parse_header(text, file.string());
  const char* data = text.data() + text.size();
  check_layout(header.entries, map.size() - 8 - text.size(), file.string());
  tensors_.reserve(tensors_.size() + header.entries.size());
  for (HeaderEntry& entry : header.entries)
    tensors_.push_back({std::move(entry.info.name), entry.info.dtype, std::move(entry.info.shape),
                        data + entry.begin, entry.end - entry.begin});
  metadata_.merge(header.metadata);
}

// Sorting finds duplicates as well, and crafted names cannot make it slow as they could a hash
// table.
void SafetensorsReader::sort_names() {
  by_name_.resize(tensors_.size());
  std::iota(by_name_.begin(), by_name_.end(), size_t{0});
  auto name = [&](size_t at) -> const std::string& { return tensors_[at].name; };
  std::sort(by_name_.begin(), by_name_.end(),
            [&](size_t a, size_t b) { return name(a) < name(b); });
  auto twice = std::adjacent_find(by_name_.begin(), by_name_.end(),
                                  [&](size_t a, size_t b) { return name(a) == name(b); });
  if (twice != by_name_.end())
    throw Error(ErrorKind::model, str("the tensor ", shown_name(name(*twice)), " is there twice"),
                path_.string(), kDamaged);
}

const TensorView* SafetensorsReader::find(std::string_view name) const {
  auto at = std::lower_bound(
      by_name_.begin(), by_name_.end(), name,
      [&](size_t position, std::string_view wanted) { return tensors_[position].name < wanted; });
  return at != by_name_.end() && tensors_[*at].name == name ? &tensors_[*at] : nullptr;
}

const TensorView& SafetensorsReader::at(std::string_view name) const {
  if (const TensorView* view = find(name)) return *view;
  std::vector<std::string> names;
  for (const TensorView& view : tensors_) names.push_back(view.name.substr(0, 200));
  std::string near = nearest(name, names);
  throw Error(ErrorKind::model, str("has no tensor ", shown_name(name)), path_.string(),
              near.empty() ? "" : str("the nearest name is ", shown_name(near)));
}

std::vector<fs::path> SafetensorsReader::files() const {
  std::vector<fs::path> paths;
  for (const auto& map : maps_) paths.push_back(map->path());
  return paths;
}

uint64_t SafetensorsReader::total_bytes() const {
  uint64_t total = 0;
  for (const TensorView& view : tensors_) total += view.bytes;
  return total;
}

}  // namespace compress::storage
