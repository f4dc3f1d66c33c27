#pragma once
// Integers of four bits as compressed-tensors lays them out (`pack-quantized`): eight a word of 32
// bits, the first in the lowest bits, each plus 8; the last word of a row is filled with zeros.

#include "compress/data/torch.h"

#include <cstdint>

namespace compress::checkpoint {

// int8 values -8 .. 7 [rows, width] -> int32 [rows, ceil(width / 8)].
torch::Tensor pack_int4(const torch::Tensor& values);
// The reverse; `width` is at most eight times the words of a row.
torch::Tensor unpack_int4(const torch::Tensor& words, int64_t width);

}  // namespace compress::checkpoint
