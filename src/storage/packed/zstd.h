#pragma once
// libzstd, as far as the build found it.

#include <cstddef>
#include <string>
#include <string_view>

namespace compress::storage {

bool has_zstd();
// A frame with its size and a checksum. Error{internal} without libzstd.
std::string zstd_packed(std::string_view bytes);
// The size that a frame claims; `otherwise` where it says none or is no frame.
unsigned long long zstd_claim(std::string_view frame, unsigned long long otherwise);
// Fills exactly `size` bytes; false where the frame is damaged or of another size.
bool zstd_unpack(std::string_view frame, char* out, size_t size);

}  // namespace compress::storage
