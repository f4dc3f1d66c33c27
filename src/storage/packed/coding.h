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

// Blocks of `high` rows and `wide` columns of a row-major matrix that they divide.
struct Blocks {
  uint64_t rows = 0, columns = 0;  // of the matrix
  uint64_t high = 1, wide = 1;
  uint64_t count() const { return rows / high * (columns / wide); }
};
// The shape of a matrix whose mask and values are expected to take the fewest bytes, of those with
// powers of two up to 16; 1 x 1 where single zeros are as good.
Blocks best_blocks(std::string_view bytes, uint64_t size, uint64_t rows, uint64_t columns);
// A bit a block, 1 where it has anything but zeros; all elements of those blocks, in the order of
// the matrix.
Masked to_block_mask(std::string_view bytes, uint64_t size, const Blocks& blocks);
// The mask of elements that a mask of blocks stands for.
std::string element_mask(std::string_view mask, const Blocks& blocks);
// The ones of a mask of `count` bits; -1 where bits behind the last one are set.
int64_t ones(std::string_view mask, uint64_t count);
// Elements that are not zero to their places in `out`; `values` has as many as the mask has ones.
void from_mask(std::string_view mask, std::string_view values, uint64_t count, uint64_t size,
               char* out);

}  // namespace compress::storage
