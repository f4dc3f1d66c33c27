#pragma once
// Tensors as containers hold them: a name, an element type, a shape and bytes. No LibTorch here.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace compress::storage {

enum class Dtype : uint8_t {
  f64,
  f32,
  f16,
  bf16,
  i64,
  i32,
  i16,
  i8,
  u8,
  boolean,
  f8_e4m3,
  f8_e5m2
};

// Bytes of one element.
uint64_t element_size(Dtype dtype);
// The spelling of safetensors: "F32", "BF16", "BOOL", "F8_E4M3" ...
const char* dtype_name(Dtype dtype);
std::optional<Dtype> dtype_from_name(std::string_view name);

// What is known of a tensor before its bytes are.
struct TensorInfo {
  std::string name;
  Dtype dtype = Dtype::f32;
  std::vector<int64_t> shape;  // row-major; empty for a scalar
};

// Bytes of a tensor of this type and shape; nothing when a size is negative or the product
// overflows int64.
std::optional<uint64_t> byte_size(Dtype dtype, const std::vector<int64_t>& shape);

// A tensor inside a memory map: little-endian elements at `data`, which may have any alignment
// (files of other writers need not be aligned), so copy them out byte-wise or check first. Valid
// while its reader lives.
struct TensorView {
  std::string name;
  Dtype dtype = Dtype::f32;
  std::vector<int64_t> shape;
  const void* data = nullptr;
  uint64_t bytes = 0;  // equal to the product of `shape` times the element size

  uint64_t elements() const { return bytes / element_size(dtype); }
};

// `name` in quotes for a message: cut to a readable length; control characters, and all
// but ASCII where it is not UTF-8, replaced.
std::string shown_name(std::string_view name);

}  // namespace compress::storage
