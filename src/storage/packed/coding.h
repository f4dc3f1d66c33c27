#pragma once
// How a tensor's bytes are laid out before zstd (storage/packed.h).

#include <cstdint>
#include <string>
#include <string_view>

namespace compress::storage {

// `bytes`, elements of `size` bytes each, with the first bytes of all elements first.
std::string to_planes(std::string_view bytes, uint64_t size);
// The reverse, into memory of the same length.
void from_planes(std::string_view planes, uint64_t size, char* out);

struct Masked {
  std::string mask, values;  // values: the elements that are not zero, one behind the other
};
Masked to_mask(std::string_view bytes, uint64_t size);
// The ones of a mask of `count` bits; -1 where bits behind the last one are set.
int64_t ones(std::string_view mask, uint64_t count);
// Elements that are not zero to their places in `out`; `values` has as many as the mask has ones.
void from_mask(std::string_view mask, std::string_view values, uint64_t count, uint64_t size,
               char* out);

}  // namespace compress::storage
