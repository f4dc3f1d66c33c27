#pragma once
// The blocks of GGUF's quantised types.

#include <cstdint>

#include "compress/storage/gguf.h"

namespace compress::storage {

struct BlockType {
  GgufType type;
  const char* name;
  uint32_t elements;  // of a block
  uint32_t bytes;
  // One block at `from` (any alignment) to `elements` floats.
  void (*dequantize)(const uint8_t* from, float* to);
};

// The row for a type's number in a file, or null when it is not read.
const BlockType* block_type(uint32_t number);
// What ggml calls a type that is not read ("IQ2_XS"), or "".
const char* unread_type_name(uint32_t number);

}  // namespace compress::storage
