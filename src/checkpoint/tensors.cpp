#include <cstring>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"

namespace compress::checkpoint {

namespace {

struct Pair {
  storage::Dtype stored;
  torch::ScalarType type;
};
constexpr Pair pairs[] = {{storage::Dtype::f64, torch::kFloat64},
                          {storage::Dtype::f32, torch::kFloat32},
                          {storage::Dtype::f16, torch::kFloat16},
                          {storage::Dtype::bf16, torch::kBFloat16},
                          {storage::Dtype::i64, torch::kInt64},
                          {storage::Dtype::i32, torch::kInt32},
                          {storage::Dtype::i16, torch::kInt16},
                          {storage::Dtype::i8, torch::kInt8},
                          {storage::Dtype::u8, torch::kUInt8},
                          {storage::Dtype::boolean, torch::kBool},
                          {storage::Dtype::f8_e4m3, torch::kFloat8_e4m3fn},
                          {storage::Dtype::f8_e5m2, torch::kFloat8_e5m2}};

}  // namespace

storage::Dtype stored_dtype(torch::ScalarType type) {
  for (const Pair& pair : pairs)
    if (pair.type == type) return pair.stored;
  throw Error(ErrorKind::internal,
              compress::str("a tensor of type ", type, " cannot be kept in a safetensors file"));
}

torch::Tensor view(const storage::TensorView& stored) {
  torch::ScalarType type = torch::kFloat32;
  for (const Pair& pair : pairs)
    if (pair.stored == stored.dtype) type = pair.type;
  if (stored.bytes == 0 ||
      reinterpret_cast<uintptr_t>(stored.data) % storage::element_size(stored.dtype) != 0) {
    torch::Tensor copy = torch::empty(stored.shape, type);
    if (stored.bytes > 0) std::memcpy(copy.mutable_data_ptr(), stored.data, stored.bytes);
    return copy;
  }
  // from_blob asks for a pointer that may be written through; the map is private, and nobody
  // writes.
  return torch::from_blob(const_cast<void*>(stored.data), stored.shape, type);
}

}  // namespace compress::checkpoint
