#pragma once
// The safetensors container (https://github.com/huggingface/safetensors, "Format"): a little-endian
// u64 header length, a JSON header, then the tensors' bytes. One file, or a folder of shards under
// an index, as Hugging Face models are kept.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "compress/base/files.h"
#include "compress/storage/tensor.h"
#include "compress/storage/tensor_reader.h"

namespace compress::storage {

// Memory-maps the file or files and checks all of it before the first view is handed out: header
// length (at most 100 MB and inside the file), JSON (no duplicate key, no unknown field), types,
// shapes, and offsets that cover the data without hole or overlap. What does not hold throws
// Error{model} with the file (and tensor) as its place.
class SafetensorsReader : public TensorReader {
 public:
  // `path` is a .safetensors file, an index (*.index.json), or a folder with model.safetensors or
  // model.safetensors.index.json (the former wins, as in the Hugging Face loader). Every tensor of
  // the shards that the index names is read; the index must not name one that its shard lacks.
  // Tensors come in the order of the bytes; metadata() is "__metadata__".
  explicit SafetensorsReader(const std::filesystem::path& path);

 private:
  void add_file(const std::filesystem::path& file);
};

// Writes tensors as their bytes arrive: memory stays at one piece. All tensors are declared first,
// then their bytes follow in the declared order (append, write), or in any order (write_part).
// Inside a file the tensors lie by falling element size, so that each is aligned. Nothing appears
// before commit(), which flushes and renames (an index comes last). Disk failures throw
// Error{disk}; a declaration or a sequence of bytes that makes no sense is Error{internal}.
class SafetensorsWriter {
 public:
  // One file at `file`. The metadata is {"format": "pt"} and the pairs given.
  SafetensorsWriter(const std::filesystem::path& file, std::vector<TensorInfo> tensors,
                    std::map<std::string, std::string> metadata = {});
  // Inside `folder`: model.safetensors when all data fits in `max_shard_bytes` (which counts tensor
  // bytes), else model-00001-of-0000N.safetensors and model.safetensors.index.json. A tensor is
  // never split. commit() removes the other layout's entry file if the folder holds an older model.
  static SafetensorsWriter sharded(const std::filesystem::path& folder,
                                   std::vector<TensorInfo> tensors, uint64_t max_shard_bytes,
                                   std::map<std::string, std::string> metadata = {});

  // The next bytes of the tensor whose turn it is: all or a part of it, never beyond its end.
  void append(std::span<const std::byte> bytes);
  // A whole tensor; checks that it is the turn of `name`.
  void write(std::string_view name, std::span<const std::byte> bytes);
  // Bytes `at` .. `at` + bytes.size() of a tensor, for tensors that grow together. A file is
  // written by parts or in order, never both; parts must not overlap.
  void write_part(std::string_view name, uint64_t at, std::span<const std::byte> bytes);
  // Throws Error{internal} when a tensor is not complete.
  void commit();

 private:
  struct Slot {  // where a declared tensor goes
    size_t shard = 0;
    uint64_t bytes = 0;
    uint64_t offset = 0;  // in its file, header included
  };
  struct Shard {
    std::filesystem::path path;
    std::string header;  // length field included; freed once written
    std::unique_ptr<AtomicFile> file;
  };

  SafetensorsWriter(std::vector<TensorInfo> tensors, std::map<std::string, std::string> metadata);
  void check_names() const;
  size_t assign_shards(uint64_t max_shard_bytes);  // returns how many
  void lay_out(size_t shard_count);
  AtomicFile& opened(Shard& shard);
  void skip_complete();
  std::string index() const;

  std::vector<TensorInfo> tensors_;
  std::map<std::string, std::string> metadata_;
  std::vector<Slot> slots_;
  std::vector<Shard> shards_;
  std::filesystem::path index_path_, stale_path_;  // empty: none
  size_t next_ = 0;                                // the tensor whose bytes are expected
  uint64_t done_ = 0;                              // bytes of it that came
  uint64_t parts_ = 0;                             // bytes that came by write_part
};

}  // namespace compress::storage
