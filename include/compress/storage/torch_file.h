#pragma once
// The files of torch.save (pytorch_model.bin): the zip archives of today and the older stream of
// pickles. Nothing in a file is run. The pickle is read by a machine that knows tensors,
// parameters, dictionaries, numbers and texts; a file that names anything else is refused.

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "compress/storage/tensor_reader.h"

namespace compress::storage {

struct PickledTensor;
struct PickledStorage;
class Pickle;

// Whether the file begins like one of torch.save. False also for files that cannot be opened.
bool is_torch_file(const std::filesystem::path& path);

// Reads a state dictionary: a dict or OrderedDict of names and tensors (or parameters), in its
// order. Tensors that share memory are views of the same bytes. One whose strides are not those of
// row-major order is copied into that order when the file is opened; the copies together may not be
// larger than twice the file and 64 MB (a few bytes can claim to be an enormous tensor). Devices,
// requires_grad and hooks are left aside. Complex, quantised and sparse tensors, tensors of
// subclasses, compressed archives and big-endian files are refused. Checksums are not verified.
class TorchReader : public TensorReader {
 public:
  // `path` is a file, an index (*.bin.index.json), or a folder with pytorch_model.bin or
  // pytorch_model.bin.index.json (the former wins).
  explicit TorchReader(const std::filesystem::path& path);

 private:
  using Memory = std::map<std::string_view, std::string_view>;  // a storage's key and its bytes

  void add_file(const std::filesystem::path& file);
  void add_zip(std::string_view bytes, const std::string& file);
  void add_legacy(std::string_view bytes, const std::string& file);
  void add_tensors(const Pickle& pickle, const Memory& memory, const std::string& file);
  TensorView view_of(const std::string& name, const PickledTensor& tensor,
                     const PickledStorage& storage, std::string_view memory,
                     const std::string& file);
  void copy_row_major(TensorView& view, const std::vector<int64_t>& strides,
                      const std::string& place);

  std::vector<std::unique_ptr<std::byte[]>> copies_;
  uint64_t copied_ = 0;
};

}  // namespace compress::storage
