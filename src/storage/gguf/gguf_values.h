#pragma once
// The values of a GGUF file's metadata.

#include <string>
#include <string_view>

#include "bytes.h"
#include "compress/storage/gguf.h"

namespace compress::storage {

// A length and its bytes.
std::string_view gguf_text(ByteReader& in);
// A type and a value of it. `place` is the file and the key, for errors.
GgufValue gguf_value(ByteReader& in, const std::string& place);

}  // namespace compress::storage
