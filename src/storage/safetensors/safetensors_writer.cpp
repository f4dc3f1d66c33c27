#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/storage/safetensors.h"

namespace compress::storage {

namespace fs = std::filesystem;

namespace {

[[noreturn]] void misuse(const std::string& what, const std::string& name) {
  throw Error(ErrorKind::internal, what, "tensor " + shown_name(name));
}

std::string json_string(const std::string& text) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    throw Error(ErrorKind::internal, "is not UTF-8 and cannot be a name in a safetensors file",
                shown_name(text));
  }
}

std::string shard_name(size_t number, size_t count) {
  char text[64];
  std::snprintf(text, sizeof text, "model-%05zu-of-%05zu.safetensors", number, count);
  return text;
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(std::vector<TensorInfo> tensors,
                                     std::map<std::string, std::string> metadata)
    : tensors_(std::move(tensors)), metadata_(std::move(metadata)), slots_(tensors_.size()) {
  metadata_.emplace("format", "pt");  // readers of the Hugging Face library ask for it
  check_names();
  uint64_t total = 0;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    std::optional<uint64_t> bytes = byte_size(tensors_[i].dtype, tensors_[i].shape);
    if (!bytes || __builtin_add_overflow(total, *bytes, &total) || total > uint64_t{1} << 62)
      misuse("has an impossible shape", tensors_[i].name);
    slots_[i].bytes = *bytes;
  }
}

SafetensorsWriter::SafetensorsWriter(const fs::path& file, std::vector<TensorInfo> tensors,
                                     std::map<std::string, std::string> metadata)
    : SafetensorsWriter(std::move(tensors), std::move(metadata)) {
  shards_.resize(1);
  shards_[0].path = file;
  lay_out(1);
  skip_complete();
}

SafetensorsWriter SafetensorsWriter::sharded(const fs::path& folder,
                                             std::vector<TensorInfo> tensors,
                                             uint64_t max_shard_bytes,
                                             std::map<std::string, std::string> metadata) {
  SafetensorsWriter writer(std::move(tensors), std::move(metadata));
  size_t count = writer.assign_shards(max_shard_bytes);
  fs::path single = folder / "model.safetensors", index = folder / "model.safetensors.index.json";
  writer.shards_.resize(count);
  for (size_t i = 0; i < count; ++i)
    writer.shards_[i].path = count == 1 ? single : folder / shard_name(i + 1, count);
  if (count > 1) writer.index_path_ = index;
  writer.stale_path_ = count > 1 ? single : index;
  writer.lay_out(count);
  writer.skip_complete();
  return writer;
}

void SafetensorsWriter::check_names() const {
  std::vector<std::string_view> names;
  for (const TensorInfo& tensor : tensors_) names.push_back(tensor.name);
  std::sort(names.begin(), names.end());
  auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) misuse("is declared twice", std::string(*twice));
  if (std::binary_search(names.begin(), names.end(), "__metadata__"))
    misuse("has the name that the format keeps for itself", "__metadata__");
}

size_t SafetensorsWriter::assign_shards(uint64_t max_shard_bytes) {
  size_t shard = 0;
  uint64_t used = 0;
  for (Slot& slot : slots_) {
    if (used > 0 && used + slot.bytes > max_shard_bytes) {
      ++shard;
      used = 0;
    }
    slot.shard = shard;
    used += slot.bytes;
  }
  return shard + 1;
}

void SafetensorsWriter::lay_out(size_t shard_count) {
  std::vector<std::vector<size_t>> members(shard_count);
  for (size_t i = 0; i < slots_.size(); ++i) members[slots_[i].shard].push_back(i);
  for (size_t s = 0; s < shard_count; ++s) {
    // Falling element sizes keep every tensor aligned without padding, which the format does not
    // allow.
    std::stable_sort(members[s].begin(), members[s].end(), [&](size_t a, size_t b) {
      return element_size(tensors_[a].dtype) > element_size(tensors_[b].dtype);
    });
    std::string pairs;
    for (const auto& [key, value] : metadata_)
      pairs += (pairs.empty() ? "" : ",") + json_string(key) + ":" + json_string(value);
    std::string header = "{\"__metadata__\":{" + pairs + "}";
    uint64_t at = 0;
    for (size_t i : members[s]) {
      slots_[i].offset = at;
      std::vector<std::string> sizes;
      for (int64_t size : tensors_[i].shape) sizes.push_back(std::to_string(size));
      header += str(",", json_string(tensors_[i].name), ":{\"dtype\":\"",
                    dtype_name(tensors_[i].dtype), "\",\"shape\":[", join(sizes, ","),
                    "],\"data_offsets\":[", at, ",", at + slots_[i].bytes, "]}");
      at += slots_[i].bytes;
    }
    header += "}";
    header.resize((header.size() + 7) / 8 * 8, ' ');
    uint64_t length = header.size();
    shards_[s].header.assign(reinterpret_cast<const char*>(&length), 8);
    shards_[s].header += header;
    for (size_t i : members[s]) slots_[i].offset += shards_[s].header.size();
  }
}

AtomicFile& SafetensorsWriter::opened(Shard& shard) {
  if (!shard.file) {
    shard.file = std::make_unique<AtomicFile>(shard.path);
    shard.file->append(std::exchange(shard.header, {}));
  }
  return *shard.file;
}

// Moves on over tensors that have all their bytes, empty ones included.
void SafetensorsWriter::skip_complete() {
  while (next_ < slots_.size() && done_ == slots_[next_].bytes) {
    ++next_;
    done_ = 0;
  }
}

void SafetensorsWriter::append(std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  if (next_ == slots_.size())
    misuse("bytes come after the last tensor", tensors_.empty() ? "" : tensors_.back().name);
  const Slot& slot = slots_[next_];
  if (bytes.size() > slot.bytes - done_)
    misuse(str("gets ", done_ + bytes.size(), " bytes of ", slot.bytes), tensors_[next_].name);
  if (parts_ > 0) misuse("is written in order after others in parts", tensors_[next_].name);
  AtomicFile& file = opened(shards_[slot.shard]);
  if (done_ == 0) file.seek(slot.offset);
  file.append({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  done_ += bytes.size();
  skip_complete();
}

void SafetensorsWriter::write(std::string_view name, std::span<const std::byte> bytes) {
  // Empty tensors have no turn of their own: append() has passed them already.
  if (bytes.empty()) {
    auto empty = std::find_if(tensors_.begin(), tensors_.end(),
                              [&](const TensorInfo& t) { return t.name == name; });
    if (empty != tensors_.end() && slots_[static_cast<size_t>(empty - tensors_.begin())].bytes == 0)
      return;
  }
  if (next_ == tensors_.size() || tensors_[next_].name != name || done_ != 0)
    misuse("is written out of the declared order", std::string(name));
  if (bytes.size() != slots_[next_].bytes)
    misuse(str("gets ", bytes.size(), " bytes of ", slots_[next_].bytes), tensors_[next_].name);
  append(bytes);
}

void SafetensorsWriter::write_part(std::string_view name, uint64_t at,
                                   std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  auto found = std::find_if(tensors_.begin(), tensors_.end(),
                            [&](const TensorInfo& tensor) { return tensor.name == name; });
  if (found == tensors_.end()) misuse("is not declared", std::string(name));
  const Slot& slot = slots_[static_cast<size_t>(found - tensors_.begin())];
  if (at > slot.bytes || bytes.size() > slot.bytes - at)
    misuse(str("gets bytes ", at, " to ", at + bytes.size(), " of ", slot.bytes), found->name);
  AtomicFile& file = opened(shards_[slot.shard]);
  file.seek(slot.offset + at);
  file.append({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  parts_ += bytes.size();
}

void SafetensorsWriter::commit() {
  uint64_t total = 0;
  for (const Slot& slot : slots_) total += slot.bytes;
  if (parts_ > 0 && parts_ != total)
    misuse(str("and the others have ", parts_, " of ", total, " bytes at the end"),
           tensors_.front().name);
  if (parts_ == 0 && next_ != slots_.size())
    misuse(str("has ", done_, " of ", slots_[next_].bytes, " bytes at the end"),
           tensors_[next_].name);
  for (Shard& shard : shards_) opened(shard).commit();  // also one whose tensors have no bytes
  if (!index_path_.empty()) write_file(index_path_, index());
  if (stale_path_.empty()) return;
  std::error_code code;
  fs::remove(stale_path_, code);
  if (code)
    throw Error(ErrorKind::disk, "cannot remove the older model: " + code.message(),
                stale_path_.string());
}

std::string SafetensorsWriter::index() const {
  nlohmann::json document;
  uint64_t total = 0;
  nlohmann::json& weights = document["weight_map"] = nlohmann::json::object();
  for (size_t i = 0; i < tensors_.size(); ++i) {
    total += slots_[i].bytes;
    weights[tensors_[i].name] = shards_[slots_[i].shard].path.filename().string();
  }
  document["metadata"]["total_size"] = total;
  return document.dump(2) + "\n";
}

}  // namespace compress::storage
