// Values of rows on disk: one safetensors file a name.

#include <cstring>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/strings.h"
#include "compress/roles/row_store.h"
#include "compress/storage/safetensors.h"

namespace compress::roles {

using torch::Tensor;

namespace {

std::filesystem::path file_of(const std::filesystem::path& folder, const std::string& name) {
  return folder / (name + ".safetensors");
}

constexpr std::pair<storage::Dtype, torch::ScalarType> types[] = {
    {storage::Dtype::f32, torch::kFloat32},
    {storage::Dtype::f16, torch::kFloat16},
    {storage::Dtype::i32, torch::kInt32}};

[[noreturn]] void refuse(const std::filesystem::path& file, const std::string& what) {
  throw Error(ErrorKind::model, what, file.string(), "run the stage that leaves it again");
}

// The tensor in the map, or a copy where the file has it unaligned.
Tensor viewed(const storage::TensorView& stored, torch::ScalarType type) {
  if (stored.bytes == 0 ||
      reinterpret_cast<uintptr_t>(stored.data) % storage::element_size(stored.dtype) != 0) {
    Tensor copy = torch::empty(stored.shape, type);
    if (stored.bytes > 0) std::memcpy(copy.mutable_data_ptr(), stored.data, stored.bytes);
    return copy;
  }
  // from_blob asks for a pointer that may be written through; the map is private, and nobody
  // writes.
  return torch::from_blob(const_cast<void*>(stored.data), stored.shape, type);
}

std::span<const std::byte> bytes_of(const Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()};
}

}  // namespace

void RowStore::save(const std::filesystem::path& folder) const {
  make_folder(folder);
  for (const auto& [name, column] : columns_) {
    if (!column.values.defined()) continue;
    storage::Dtype type = storage::Dtype::f32;
    for (const auto& [stored, kept] : types)
      if (kept == column.values.scalar_type()) type = stored;
    const Tensor offsets =
        column.offsets.defined() ? column.offsets : torch::arange(rows_ + 1, torch::kInt64);
    const Tensor values = column.values.contiguous();
    storage::SafetensorsWriter writer(file_of(folder, name),
                                      {{"values", type, values.sizes().vec()},
                                       {"offsets", storage::Dtype::i64, {offsets.size(0)}}});
    writer.write("values", bytes_of(values));
    writer.write("offsets", bytes_of(offsets));
    writer.commit();
  }
}

void RowStore::open(const std::filesystem::path& folder, const std::string& name) {
  const std::filesystem::path file = file_of(folder, name);
  if (!std::filesystem::is_regular_file(file)) refuse(file, "there are no such values of rows");
  auto reader = std::make_shared<const storage::SafetensorsReader>(file);
  Column column;
  for (const storage::TensorView& tensor : reader->tensors()) {
    if (tensor.name == "offsets") {
      if (tensor.dtype != storage::Dtype::i64 || tensor.shape.size() != 1)
        refuse(file, "'offsets' is no list of whole numbers");
      column.offsets = viewed(tensor, torch::kInt64);
      continue;
    }
    if (column.values.defined()) refuse(file, "more than one tensor of values");
    for (const auto& [stored, kept] : types)
      if (stored == tensor.dtype && !tensor.shape.empty()) column.values = viewed(tensor, kept);
    if (!column.values.defined()) refuse(file, "values of a type or shape that rows do not have");
  }
  if (!column.values.defined() || !column.offsets.defined())
    refuse(file, "no values of rows with their offsets");
  const int64_t rows = column.offsets.size(0) - 1;
  if (rows_ > 0 && rows != rows_)
    refuse(file, str("values of ", rows, " rows, and the data has ", rows_));
  if (!are_offsets(column.offsets, rows, column.values.size(0)))
    refuse(file, "offsets that do not rise from 0 to the number of values");
  rows_ = rows;
  columns_[name] = std::move(column);
  readers_.push_back(std::move(reader));
}

}  // namespace compress::roles
