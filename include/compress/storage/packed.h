#pragma once
// A safetensors file whose tensors are coded so that zeros cost a bit or less, all in one file:
//
//   8 bytes   "CMPRPACK"
//   u64       length of the directory, little-endian
//   directory a zstd frame of JSON: {"version": 1, "header": the JSON header of the safetensors
//             file, "tensors": [[coding, [[bytes, stored], ...]], ...]}: one entry a tensor, in the
//             order of their bytes, with the size of each part before and under zstd, and behind
//             them [rows, columns] of a block where the coding is `blocks`
//   parts     one zstd frame each, with a checksum, one behind the other
//
//   plain     one part: the bytes
//   planes    one part: the first bytes of all elements, then the second ones, ...
//   mask      two parts: a bit an element, 1 where it is not zero, the first in the lowest bit of a
//             byte; then what is not zero, in planes
//   blocks    two parts of a matrix: a bit a block, row by row, 1 where it has anything but zeros;
//             then all elements of such blocks, in the order of the matrix, in planes
//
// tools/unpack.py makes the safetensors file of it again, byte for byte.

#include <filesystem>
#include <memory>

#include "compress/storage/tensor_reader.h"

namespace compress::storage {

// Decodes the file into memory and checks all of it first: sizes against each other and the file,
// checksums, and the header as a safetensors file's. What does not hold throws Error{model}; so
// does every file in a build without zstd.
class PackedReader : public TensorReader {
 public:
  explicit PackedReader(const std::filesystem::path& file);

 private:
  std::unique_ptr<char[]> data_;
};
// Whether a file begins as one.
bool is_packed(const std::filesystem::path& file);

// Codes a safetensors file, each tensor in the way that takes the fewest bytes. Error{recipe}
// without a place in a build without zstd.
void write_packed(const std::filesystem::path& safetensors, const std::filesystem::path& file);
// Bytes of a file under zstd; 0 in a build without it.
uint64_t zstd_size(const std::filesystem::path& file);

// The name of such a file in a model's folder.
inline constexpr const char* packed_name = "model.packed";

}  // namespace compress::storage
