#include <algorithm>
#include <nlohmann/json.hpp>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/storage/packed.h"
#include "packed/coding.h"
#include "packed/zstd.h"
#include "safetensors/layout.h"

namespace compress::storage {

namespace fs = std::filesystem;
using Json = nlohmann::json;

namespace {

struct Coded {
  const char* coding = "plain";
  Blocks blocks;
  std::vector<uint64_t> bytes;      // before zstd
  std::vector<std::string> frames;  // under it
  size_t size() const {
    size_t total = 0;
    for (const std::string& frame : frames) total += frame.size();
    return total;
  }
};

Coded coded(const char* coding, const std::vector<std::string_view>& parts) {
  Coded result{coding, {}, {}, {}};
  for (std::string_view part : parts) {
    result.bytes.push_back(part.size());
    result.frames.push_back(zstd_packed(part));
  }
  return result;
}

Coded best(std::string_view bytes, uint64_t size, const std::vector<int64_t>& shape) {
  Coded found = coded("plain", {bytes});
  auto rather = [&](Coded other) {
    if (other.size() < found.size()) found = std::move(other);
  };
  if (size > 1) rather(coded("planes", {to_planes(bytes, size)}));
  const Masked masked = to_mask(bytes, size);
  // Without zeros the mask is there for nothing.
  if (masked.values.size() < bytes.size())
    rather(coded("mask", {masked.mask, to_planes(masked.values, size)}));
  if (masked.values.size() < bytes.size() && shape.size() == 2) {
    const Blocks blocks =
        best_blocks(bytes, size, static_cast<uint64_t>(shape[0]), static_cast<uint64_t>(shape[1]));
    if (blocks.high * blocks.wide > 1) {
      const Masked whole = to_block_mask(bytes, size, blocks);
      Coded other = coded("blocks", {whole.mask, to_planes(whole.values, size)});
      other.blocks = blocks;
      rather(std::move(other));
    }
  }
  return found;
}

}  // namespace

void write_packed(const fs::path& safetensors, const fs::path& file) {
  if (!has_zstd())
    throw Error(ErrorKind::recipe, "the format packed needs zstd, which this build lacks", {},
                "install libzstd-dev and build again");
  const MappedFile map(safetensors);
  const Layout layout = layout_of({map.data(), map.size()}, safetensors.string());
  std::vector<Coded> tensors;
  Json entries = Json::array();
  for (const HeaderEntry& entry : layout.entries) {
    tensors.push_back(best(layout.data.substr(entry.begin, entry.end - entry.begin),
                           element_size(entry.info.dtype), entry.info.shape));
    Json parts = Json::array();
    for (size_t i = 0; i < tensors.back().frames.size(); ++i)
      parts.push_back({tensors.back().bytes[i], tensors.back().frames[i].size()});
    Json entry_json = {tensors.back().coding, parts};
    if (tensors.back().blocks.count() > 0)
      entry_json.push_back({tensors.back().blocks.high, tensors.back().blocks.wide});
    entries.push_back(std::move(entry_json));
  }
  const std::string directory = zstd_packed(
      Json{{"version", 1}, {"header", std::string(layout.header)}, {"tensors", entries}}.dump());
  const uint64_t length = directory.size();
  std::string out = "CMPRPACK";
  out.append(reinterpret_cast<const char*>(&length), sizeof length);
  out += directory;
  for (const Coded& tensor : tensors)
    for (const std::string& frame : tensor.frames) out += frame;
  write_file(file, out);
}

uint64_t zstd_size(const fs::path& file) {
  if (!has_zstd()) return 0;
  const MappedFile map(file);
  return zstd_packed({map.data(), map.size()}).size();
}

}  // namespace compress::storage
