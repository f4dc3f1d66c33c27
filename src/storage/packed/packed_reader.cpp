#include <cstring>
#include <nlohmann/json.hpp>

#include "bytes.h"
#include "compress/base/error.h"
#include "compress/storage/packed.h"
#include "packed/coding.h"
#include "packed/zstd.h"
#include "safetensors/layout.h"

namespace compress::storage {

namespace fs = std::filesystem;
using Json = nlohmann::json;

namespace {

constexpr std::string_view magic = "CMPRPACK";
constexpr uint64_t longest_directory = 100'000'000;
// No model is a thousand times larger than its file; small ones of zeros are.
constexpr uint64_t largest_growth = 1000, free_growth = uint64_t{1} << 30;

struct Part {
  uint64_t bytes = 0;
  std::string_view frame;
};

class Decoder {
 public:
  Decoder(std::string_view file, std::string place)
      : place_(std::move(place)), reader_(file, place_) {}

  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(ErrorKind::model, what, place_,
                "the file is damaged or incomplete; fetch it again");
  }

  Json directory() {
    if (reader_.left() < magic.size() || reader_.take(magic.size()) != magic)
      refuse("is no packed model");
    const auto length = reader_.number<uint64_t>();
    const std::string_view frame = reader_.take(length);
    const unsigned long long size = zstd_claim(frame, longest_directory + 1);
    if (size > longest_directory) refuse("its directory claims no size or more than 100 MB");
    std::string text(size, '\0');
    if (!zstd_unpack(frame, text.data(), text.size())) refuse("its directory is damaged");
    Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object() || json.value("version", Json()) != 1)
      refuse("is of a version that this program does not read");
    if (!json.value("header", Json()).is_string() || !json.value("tensors", Json()).is_array())
      refuse("its directory names no tensors");
    return json;
  }

  // The parts of one tensor, taken from the file.
  std::vector<Part> parts(const Json& list) {
    if (!list.is_array()) refuse("an entry of its directory is no list of parts");
    std::vector<Part> found;
    for (const Json& part : list) {
      if (!part.is_array() || part.size() != 2 || !part[0].is_number_unsigned() ||
          !part[1].is_number_unsigned())
        refuse("a part of its directory is no pair of sizes");
      found.push_back({part[0].get<uint64_t>(), reader_.take(part[1].get<uint64_t>())});
    }
    return found;
  }

  void unpack(const Part& part, char* out) const {
    if (!zstd_unpack(part.frame, out, part.bytes)) refuse("a part of it is damaged");
  }
  std::string unpacked(const Part& part) const {
    std::string bytes(part.bytes, '\0');
    unpack(part, bytes.data());
    return bytes;
  }

  // One tensor of `total` bytes.
  void decode(const Json& entry, const TensorInfo& info, uint64_t total, char* out) {
    if (!entry.is_array() || entry.size() < 2 || entry.size() > 3 || !entry[0].is_string())
      refuse("an entry of its directory is no coding with its parts");
    const auto coding = entry[0].get<std::string>();
    const std::vector<Part> list = parts(entry[1]);
    const bool blocks = coding == "blocks", mask = coding == "mask" || blocks;
    if (coding != "plain" && coding != "planes" && !mask) refuse("it has a coding without a name");
    const uint64_t size = element_size(info.dtype), count = total / size;
    const Blocks shape = blocks ? blocks_of(entry, info) : Blocks{1, count, 1, 1};
    if ((!blocks && entry.size() != 2) || list.size() != (mask ? 2u : 1u) ||
        list[0].bytes != (mask ? (shape.count() + 7) / 8 : total) ||
        (mask && list[1].bytes > total))
      refuse("the parts of a tensor are not of its size");
    if (coding == "plain") {
      unpack(list[0], out);
    } else if (!mask) {
      from_planes(unpacked(list[0]), size, out);
    } else {
      const std::string bits = unpacked(list[0]);
      const int64_t kept = ones(bits, shape.count());
      if (kept < 0 || static_cast<uint64_t>(kept) * shape.high * shape.wide * size != list[1].bytes)
        refuse("a mask does not fit what it masks");
      std::string values(list[1].bytes, '\0');
      from_planes(unpacked(list[1]), size, values.data());
      from_mask(blocks ? element_mask(bits, shape) : bits, values, count, size, out);
    }
  }

  // The blocks that an entry names, of the matrix that the header says.
  Blocks blocks_of(const Json& entry, const TensorInfo& info) const {
    Blocks blocks;
    if (entry.size() == 3 && entry[2].is_array() && entry[2].size() == 2 &&
        entry[2][0].is_number_unsigned() && entry[2][1].is_number_unsigned() &&
        info.shape.size() == 2) {
      blocks = {static_cast<uint64_t>(info.shape[0]), static_cast<uint64_t>(info.shape[1]),
                entry[2][0].get<uint64_t>(), entry[2][1].get<uint64_t>()};
      if (blocks.high > 0 && blocks.wide > 0 && blocks.rows % blocks.high == 0 &&
          blocks.columns % blocks.wide == 0)
        return blocks;
    }
    refuse("the blocks of a tensor do not divide it");
  }

  void end() const {
    if (reader_.left() != 0) refuse("bytes follow its last tensor");
  }

 private:
  std::string place_;
  ByteReader reader_;
};

}  // namespace

PackedReader::PackedReader(const fs::path& file) : TensorReader(file) {
  maps_.push_back(std::make_unique<MappedFile>(file));
  const MappedFile& map = *maps_.back();
  const std::string place = file.string();
  if (!has_zstd())
    throw Error(ErrorKind::model, "is a packed model, and this build has no zstd", place,
                "unpack it (tools/unpack.py), or install libzstd-dev and build again");
  Decoder decoder({map.data(), map.size()}, place);
  const Json directory = decoder.directory();
  Header header = parse_header(directory["header"].get<std::string>(), place);
  uint64_t total = 0;
  for (const HeaderEntry& entry : header.entries) total = std::max(total, entry.end);
  if (total > free_growth && total / largest_growth > map.size())
    decoder.refuse(str("claims ", total, " bytes of tensors in ", map.size()));
  check_layout(header.entries, total, place);
  const Json& tensors = directory["tensors"];
  if (tensors.size() != header.entries.size())
    decoder.refuse("its directory has another number of tensors than its header");
  data_.reset(new char[std::max<uint64_t>(total, 1)]);  // filled below, whole or not at all
  for (size_t i = 0; i < header.entries.size(); ++i) {
    HeaderEntry& entry = header.entries[i];
    decoder.decode(tensors[i], entry.info, entry.end - entry.begin, data_.get() + entry.begin);
    tensors_.push_back({std::move(entry.info.name), entry.info.dtype, std::move(entry.info.shape),
                        data_.get() + entry.begin, entry.end - entry.begin});
  }
  decoder.end();
  metadata_ = std::move(header.metadata);
  sort_names();
}

bool is_packed(const fs::path& file) {
  const MappedFile map(file);
  return std::string_view(map.data(), map.size()).starts_with(magic);
}

}  // namespace compress::storage
