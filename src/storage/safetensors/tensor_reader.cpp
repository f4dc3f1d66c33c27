#include "compress/storage/tensor_reader.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/storage/packed.h"
#include "compress/storage/safetensors.h"
#include "compress/storage/torch_file.h"
#include "safetensors/safetensors_json.h"

namespace compress::storage {

namespace fs = std::filesystem;

namespace {

constexpr uint64_t longest_index = 100'000'000;

}  // namespace

void TensorReader::read_shards(std::string_view suffix,
                               const std::function<void(const fs::path&)>& add_file) {
  std::map<std::string, std::string> weights =
      parse_index(read_file(path_, longest_index), path_.string(), suffix);
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : weights) shards.insert(shard);
  std::map<std::string, size_t> first;  // shard -> its first tensor in tensors_
  for (const std::string& shard : shards) {
    first[shard] = tensors_.size();
    std::error_code failed;
    if (!fs::exists(path_.parent_path() / shard, failed))
      throw Error(ErrorKind::model, "the shard " + shown_name(shard) + " is not there",
                  path_.string(), "the index names it; fetch it as well");
    add_file(path_.parent_path() / shard);
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
                  path_.string(),
                  "the index and the shards are of different models; fetch them again");
  }
}

// Sorting finds duplicates as well, and crafted names cannot make it slow as they could a hash
// table.
void TensorReader::sort_names() {
  by_name_.resize(tensors_.size());
  std::iota(by_name_.begin(), by_name_.end(), size_t{0});
  auto name = [&](size_t at) -> const std::string& { return tensors_[at].name; };
  std::sort(by_name_.begin(), by_name_.end(),
            [&](size_t a, size_t b) { return name(a) < name(b); });
  auto twice = std::adjacent_find(by_name_.begin(), by_name_.end(),
                                  [&](size_t a, size_t b) { return name(a) == name(b); });
  if (twice != by_name_.end())
    throw Error(ErrorKind::model, str("the tensor ", shown_name(name(*twice)), " is there twice"),
                path_.string(), "the file is damaged or incomplete; fetch it again");
}

const TensorView* TensorReader::find(std::string_view name) const {
  auto at = std::lower_bound(
      by_name_.begin(), by_name_.end(), name,
      [&](size_t position, std::string_view wanted) { return tensors_[position].name < wanted; });
  return at != by_name_.end() && tensors_[*at].name == name ? &tensors_[*at] : nullptr;
}

const TensorView& TensorReader::at(std::string_view name) const {
  if (const TensorView* view = find(name)) return *view;
  std::vector<std::string> names;
  for (const TensorView& view : tensors_) names.push_back(view.name.substr(0, 200));
  std::string near = nearest(name, names);
  throw Error(ErrorKind::model, str("has no tensor ", shown_name(name)), path_.string(),
              near.empty() ? "" : str("the nearest name is ", shown_name(near)));
}

std::vector<fs::path> TensorReader::files() const {
  std::vector<fs::path> paths;
  for (const auto& map : maps_) paths.push_back(map->path());
  return paths;
}

uint64_t TensorReader::total_bytes() const {
  uint64_t total = 0;
  for (const TensorView& view : tensors_) total += view.bytes;
  return total;
}

std::unique_ptr<TensorReader> open_tensors(const fs::path& path) {
  std::error_code code;  // a path that cannot be looked at is reported when it is opened
  fs::path entry = path;
  if (fs::is_directory(path, code)) {
    entry.clear();
    for (const char* name : {"model.safetensors", "model.safetensors.index.json",
                             "pytorch_model.bin", "pytorch_model.bin.index.json", packed_name})
      if (entry.empty() && fs::exists(path / name, code)) entry = path / name;
    if (entry.empty())
      throw Error(ErrorKind::model, "the folder has no model.safetensors and no pytorch_model.bin",
                  path.string(),
                  "a model folder has its weights in one of the two, or in shards with an index");
  }
  std::string name = entry.string();
  if (ends_with(name, ".index.json") ? ends_with(name, ".bin.index.json") : is_torch_file(entry))
    return std::make_unique<TorchReader>(entry);
  if (!ends_with(name, ".index.json") && is_packed(entry))
    return std::make_unique<PackedReader>(entry);
  return std::make_unique<SafetensorsReader>(entry);
}

}  // namespace compress::storage
