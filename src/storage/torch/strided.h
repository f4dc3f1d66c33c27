#pragma once
// Tensors whose elements do not lie in row-major order. Strides count elements.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace compress::storage {

// How many elements of memory a tensor reaches over: one more than the index of its last element, 0
// for a tensor without elements. Nothing where shape and strides differ in length, a size or stride
// is negative, or the sum overflows int64.
std::optional<uint64_t> strided_reach(const std::vector<int64_t>& shape,
                                      const std::vector<int64_t>& strides);

// Whether the elements lie one after the other in row-major order. Dimensions of size 1 do not
// count; a tensor without elements is row-major.
bool is_row_major(const std::vector<int64_t>& shape, const std::vector<int64_t>& strides);

// Copies the elements (of 1, 2, 4 or 8 bytes, any alignment) to `target` in row-major order. The
// tensor has elements, and `source` has strided_reach() of them.
void copy_strided(const void* source, uint64_t element_size, const std::vector<int64_t>& shape,
                  const std::vector<int64_t>& strides, std::byte* target);

}  // namespace compress::storage
