#include "packed/coding.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace compress::storage {

std::string to_planes(std::string_view bytes, uint64_t size) {
  if (size == 1) return std::string(bytes);
  std::string planes(bytes.size(), '\0');
  const uint64_t count = bytes.size() / size;
  for (uint64_t i = 0; i < count; ++i)
    for (uint64_t b = 0; b < size; ++b) planes[b * count + i] = bytes[i * size + b];
  return planes;
}

void from_planes(std::string_view planes, uint64_t size, char* out) {
  const uint64_t count = planes.size() / size;
  for (uint64_t i = 0; i < count; ++i)
    for (uint64_t b = 0; b < size; ++b) out[i * size + b] = planes[b * count + i];
}

Masked to_mask(std::string_view bytes, uint64_t size) {
  const uint64_t count = bytes.size() / size;
  Masked result;
  result.mask.assign((count + 7) / 8, '\0');
  for (uint64_t i = 0; i < count; ++i) {
    const std::string_view element = bytes.substr(i * size, size);
    if (element.find_first_not_of('\0') == element.npos) continue;
    result.mask[i / 8] =
        static_cast<char>(static_cast<unsigned char>(result.mask[i / 8]) | 1u << (i % 8));
    result.values += element;
  }
  return result;
}

int64_t ones(std::string_view mask, uint64_t count) {
  int64_t found = 0;
  for (char byte : mask) found += std::popcount(static_cast<unsigned char>(byte));
  const bool clean =
      count % 8 == 0 || mask.empty() || static_cast<unsigned char>(mask.back()) >> (count % 8) == 0;
  return clean ? found : -1;
}

void from_mask(std::string_view mask, std::string_view values, uint64_t count, uint64_t size,
               char* out) {
  std::fill_n(out, count * size, '\0');
  const char* value = values.data();
  for (uint64_t i = 0; i < count; ++i) {
    if ((static_cast<unsigned char>(mask[i / 8]) >> (i % 8) & 1u) == 0) continue;
    std::memcpy(out + i * size, value, size);
    value += size;
  }
}

}  // namespace compress::storage
