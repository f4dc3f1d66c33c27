#pragma once
// Bytes of tensors, for the writers of this module.

#include "compress/data/torch.h"

#include <cstddef>
#include <span>

namespace compress::checkpoint {

// The memory of a contiguous tensor on the CPU, which must outlive the result.
inline std::span<const std::byte> bytes_of(const torch::Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()};
}

}  // namespace compress::checkpoint
