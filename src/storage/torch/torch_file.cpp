#include "compress/storage/torch_file.h"

#include <algorithm>
#include <fstream>

#include "bytes.h"
#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "torch/pickle.h"
#include "torch/strided.h"
#include "torch/zip.h"

namespace compress::storage {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view zip_magic("PK\x03\x04");
// What the older format begins with: 0x1950a86a20f9469cfc6c as a pickled integer of ten bytes.
constexpr std::string_view legacy_magic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19");
constexpr int64_t legacy_version = 1001;

using Kind = Value::Kind;

bool begins_legacy(std::string_view bytes) {
  return bytes.size() > 2 && bytes[0] == '\x80' &&
         bytes.substr(0, 24).find(legacy_magic) != bytes.npos;
}

// The file that stands for the whole model.
fs::path torch_entry(const fs::path& path) {
  std::error_code code;  // a path that cannot be looked at is reported when it is opened
  if (!fs::is_directory(path, code)) return path;
  for (const char* name : {"pytorch_model.bin", "pytorch_model.bin.index.json"})
    if (fs::exists(path / name, code)) return path / name;
  throw Error(ErrorKind::model,
              "the folder holds no pytorch_model.bin and no pytorch_model.bin.index.json",
              path.string());
}

// The folder inside the archive that has everything: the one with data.pkl.
std::string_view root_of(const std::vector<ZipEntry>& entries, const std::string& file) {
  std::string_view root;
  for (const ZipEntry& entry : entries) {
    size_t slash = entry.name.find('/');
    if (slash == entry.name.npos || entry.name.substr(slash) != "/data.pkl") continue;
    if (!root.empty()) throw Error(ErrorKind::model, "the zip archive has two data.pkl", file);
    root = entry.name.substr(0, slash + 1);
  }
  if (root.empty())
    throw Error(ErrorKind::model, "the zip archive has no data.pkl", file,
                "was it written by torch.save?");
  return root;
}

[[noreturn]] void refuse_big_endian(const std::string& file) {
  throw Error(ErrorKind::model, "was written on a big-endian machine", file,
              "load and save it again with torch on such a machine, as safetensors");
}

// The second and third pickle of the older format.
void check_system(const Pickle& version, const Pickle& system, const std::string& file) {
  if (version.result().kind != Kind::integer || version.result().number != legacy_version)
    throw Error(ErrorKind::model, "has an unknown version of the format before PyTorch 1.6", file);
  const Value& facts = system.result();
  if (facts.kind != Kind::dict) system.refuse("has no dictionary of the system that wrote it");
  for (size_t i = 0; i + 1 < facts.items.size(); i += 2) {
    const Value &key = system.value(facts.items[i]), &value = system.value(facts.items[i + 1]);
    if (key.text == "little_endian" && value.kind == Kind::boolean && value.number == 0)
      refuse_big_endian(file);
  }
}

uint64_t bytes_of(const PickledStorage& storage, const std::string& file) {
  uint64_t size = storage.dtype ? element_size(*storage.dtype) : 1, bytes = 0;
  if (__builtin_mul_overflow(size, storage.elements, &bytes))
    throw Error(ErrorKind::model, "has a storage of impossible size", file, damaged_hint);
  return bytes;
}

}  // namespace

bool is_torch_file(const fs::path& path) {
  char start[24] = {};
  std::ifstream in;
  // What is no file, as a pipe that nobody writes into, begins with nothing.
  std::error_code ignored;
  if (fs::is_regular_file(path, ignored)) in.open(path, std::ios::binary);
  in.read(start, sizeof start);
  std::string_view bytes(start, static_cast<size_t>(in.gcount()));
  return starts_with(bytes, zip_magic) || begins_legacy(bytes) || ends_with(path.string(), ".bin");
}

TorchReader::TorchReader(const fs::path& path) : TensorReader(torch_entry(path)) {
  if (ends_with(path_.string(), ".index.json")) {
    read_shards(".bin", [&](const fs::path& shard) { add_file(shard); });
  } else {
    add_file(path_);
    sort_names();
  }
}

void TorchReader::add_file(const fs::path& path) {
  maps_.push_back(std::make_unique<MappedFile>(path));
  std::string_view bytes(maps_.back()->data(), maps_.back()->size());
  std::string file = path.string();
  refuse_stand_in(bytes, file);
  if (starts_with(bytes, zip_magic)) {
    add_zip(bytes, file);
  } else if (begins_legacy(bytes)) {
    add_legacy(bytes, file);
  } else {
    refuse_foreign(bytes, file);
    throw Error(ErrorKind::model, "is no file of torch.save", file,
                "fetch it again; if Python reads it, convert it to safetensors there");
  }
}

void TorchReader::add_zip(std::string_view bytes, const std::string& file) {
  std::vector<ZipEntry> entries = zip_entries(bytes, file);
  std::string root(root_of(entries, file));
  const ZipEntry* order = find_entry(entries, root + "byteorder");
  if (order != nullptr && order->data != "little") refuse_big_endian(file);
  ByteReader in(find_entry(entries, root + "data.pkl")->data, file);
  Pickle pickle(in, file);
  Memory memory;
  for (const PickledStorage& storage : pickle.storages()) {
    if (memory.contains(storage.key)) continue;
    const ZipEntry* entry = find_entry(entries, str(root, "data/", storage.key));
    if (entry == nullptr)
      throw Error(ErrorKind::model, str("has no storage ", shown_name(storage.key)), file,
                  damaged_hint);
    memory[storage.key] = entry->data;
  }
  add_tensors(pickle, memory, file);
}

// Five pickles (magic number, version, system, tensors, keys of the storages), then for each key
// the number of elements and the elements.
void TorchReader::add_legacy(std::string_view bytes, const std::string& file) {
  ByteReader in(bytes, file);
  Pickle magic(in, file), version(in, file), system(in, file), pickle(in, file), keys(in, file);
  if (magic.result().kind != Kind::big || magic.result().text != legacy_magic)
    throw Error(ErrorKind::model, "is no file of torch.save", file, damaged_hint);
  check_system(version, system, file);
  std::map<std::string_view, const PickledStorage*> known;
  for (const PickledStorage& storage : pickle.storages()) known.emplace(storage.key, &storage);
  if (keys.result().kind != Kind::list) keys.refuse("has no list of storages");
  Memory memory;
  for (Ref ref : keys.result().items) {
    std::string_view key = keys.value(ref).text;
    auto found = known.find(key);
    if (keys.value(ref).kind != Kind::text || found == known.end() || memory.contains(key))
      keys.refuse("has a wrong list of storages");
    if (in.number<uint64_t>() != found->second->elements)
      throw Error(ErrorKind::model, str("gives two sizes for the storage ", shown_name(key)), file,
                  damaged_hint);
    memory[key] = in.take(bytes_of(*found->second, file));
  }
  if (in.left() != 0)
    throw Error(ErrorKind::model, str("has ", in.left(), " bytes after its last storage"), file,
                damaged_hint);
  add_tensors(pickle, memory, file);
}

void TorchReader::add_tensors(const Pickle& pickle, const Memory& memory, const std::string& file) {
  const Value& top = pickle.result();
  if (top.kind != Kind::dict) pickle.refuse("holds something else than a dictionary of tensors");
  for (size_t i = 0; i < top.items.size(); i += 2) {
    const Value &key = pickle.value(top.items[i]), &value = pickle.value(top.items[i + 1]);
    if (key.kind != Kind::text || !is_utf8(key.text)) pickle.refuse("has a name that is no text");
    std::string name(key.text);
    if (value.kind != Kind::tensor)
      throw Error(ErrorKind::model, "is something else than a tensor",
                  str(file, " (entry ", shown_name(name), ")"),
                  "only plain state dictionaries are read: torch.save(model.state_dict(), file)");
    const PickledTensor& tensor = pickle.tensors()[static_cast<size_t>(value.number)];
    const PickledStorage& storage = pickle.storages()[tensor.storage];
    auto found = memory.find(storage.key);
    if (found == memory.end())
      throw Error(ErrorKind::model, str("has no storage ", shown_name(storage.key)), file,
                  damaged_hint);
    tensors_.push_back(view_of(name, tensor, storage, found->second, file));
  }
}

TensorView TorchReader::view_of(const std::string& name, const PickledTensor& tensor,
                                const PickledStorage& storage, std::string_view memory,
                                const std::string& file) {
  std::string place = str(file, " (tensor ", shown_name(name), ")");
  auto refuse = [&](const char* what) { throw Error(ErrorKind::model, what, place, damaged_hint); };
  if (bytes_of(storage, file) != memory.size())
    refuse("its storage has another size than the pickle says");
  uint64_t size = element_size(tensor.dtype);
  std::optional<uint64_t> bytes = byte_size(tensor.dtype, tensor.shape);
  std::optional<uint64_t> reach = strided_reach(tensor.shape, tensor.strides);
  if (!bytes || !reach) refuse("its shape and strides make no sense");
  auto offset = static_cast<uint64_t>(tensor.offset);  // a negative one is beyond any end
  if (offset > memory.size() / size || *reach > memory.size() / size - offset)
    refuse("it reaches beyond its storage");
  TensorView view{name, tensor.dtype, tensor.shape, memory.data() + offset * size, *bytes};
  if (!is_row_major(tensor.shape, tensor.strides)) copy_row_major(view, tensor.strides, place);
  return view;
}

void TorchReader::copy_row_major(TensorView& view, const std::vector<int64_t>& strides,
                                 const std::string& place) {
  constexpr uint64_t always_allowed = 64'000'000;
  uint64_t files = 0;
  for (const auto& map : maps_) files += map->size();
  if (view.bytes > 2 * files + always_allowed - copied_)
    throw Error(ErrorKind::model,
                "is a repeated or overlapping view that is much larger than the file", place,
                "save tensor.contiguous() instead");
  copied_ += view.bytes;
  copies_.push_back(std::make_unique_for_overwrite<std::byte[]>(view.bytes));
  copy_strided(view.data, element_size(view.dtype), view.shape, strides, copies_.back().get());
  view.data = copies_.back().get();
}

}  // namespace compress::storage
