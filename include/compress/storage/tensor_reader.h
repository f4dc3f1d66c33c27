#pragma once
// What the readers of tensor containers have in common, and the choice of a reader for a path.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "compress/base/files.h"
#include "compress/storage/tensor.h"

namespace compress::storage {

// Named tensors of one file or several, memory-mapped. All checks are made when the reader is
// opened: what does not hold throws Error{model} with the file (and tensor) as its place.
class TensorReader {
 public:
  virtual ~TensorReader() = default;
  TensorReader(TensorReader&&) = default;
  TensorReader& operator=(TensorReader&&) = default;

  // In the order of the container; shards in the order of their names.
  const std::vector<TensorView>& tensors() const { return tensors_; }
  // The tensor, or null.
  const TensorView* find(std::string_view name) const;
  // The tensor; throws Error{model} with the nearest name as the hint when there is none.
  const TensorView& at(std::string_view name) const;
  // The container's own pairs of texts (safetensors has some); of several shards, the first that
  // has a key.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  // The files that are mapped (no index).
  std::vector<std::filesystem::path> files() const;
  // The tensors' bytes as views give them, headers excluded; shared memory counts for each view.
  uint64_t total_bytes() const;

 protected:
  explicit TensorReader(std::filesystem::path path) : path_(std::move(path)) {}
  // Adds every shard that the index at path_ names (file names must end in `suffix`) and checks
  // that the index and the shards agree.
  void read_shards(std::string_view suffix,
                   const std::function<void(const std::filesystem::path&)>& add_file);
  // Throws when a name is there twice.
  void sort_names();

  std::filesystem::path path_;
  std::vector<std::unique_ptr<MappedFile>> maps_;
  std::vector<TensorView> tensors_;
  std::map<std::string, std::string> metadata_;

 private:
  std::vector<size_t> by_name_;  // positions in tensors_, sorted by name
};

// The reader for a model's weights. In a folder the first of model.safetensors,
// model.safetensors.index.json, pytorch_model.bin, pytorch_model.bin.index.json and model.packed
// counts. A file
// is read as what it is (an index by its name, others by their first bytes), whatever it is called.
// Throws Error{model}, also for a folder without any of these.
std::unique_ptr<TensorReader> open_tensors(const std::filesystem::path& path);

}  // namespace compress::storage
