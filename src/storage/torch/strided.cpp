#include "torch/strided.h"

#include <algorithm>
#include <cstring>

namespace compress::storage {

namespace {

bool empty(const std::vector<int64_t>& shape) {
  return std::find(shape.begin(), shape.end(), 0) != shape.end();
}

template <size_t Size>
void copy_line(const std::byte* from, int64_t stride, int64_t count, std::byte* to) {
  for (int64_t i = 0; i < count; ++i)
    std::memcpy(to + i * int64_t{Size}, from + i * stride * int64_t{Size}, Size);
}

void copy_line(const std::byte* from, uint64_t size, int64_t stride, int64_t count, std::byte* to) {
  switch (size) {
    case 1:
      return copy_line<1>(from, stride, count, to);
    case 2:
      return copy_line<2>(from, stride, count, to);
    case 4:
      return copy_line<4>(from, stride, count, to);
    default:
      return copy_line<8>(from, stride, count, to);
  }
}

}  // namespace

std::optional<uint64_t> strided_reach(const std::vector<int64_t>& shape,
                                      const std::vector<int64_t>& strides) {
  if (shape.size() != strides.size()) return std::nullopt;
  int64_t last = 0;
  for (size_t i = 0; i < shape.size(); ++i)
    if (shape[i] < 0 || strides[i] < 0) return std::nullopt;
  if (empty(shape)) return 0;
  for (size_t i = 0; i < shape.size(); ++i) {
    int64_t step = 0;
    if (__builtin_mul_overflow(shape[i] - 1, strides[i], &step) ||
        __builtin_add_overflow(last, step, &last))
      return std::nullopt;
  }
  return static_cast<uint64_t>(last) + 1;
}

bool is_row_major(const std::vector<int64_t>& shape, const std::vector<int64_t>& strides) {
  if (empty(shape)) return true;
  int64_t expected = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    if (shape[i] != 1 && strides[i] != expected) return false;
    // Where all matched so far, the product is at most the reach and cannot overflow.
    if (shape[i] != 1) expected *= shape[i];
  }
  return true;
}

void copy_strided(const void* source, uint64_t element_size, const std::vector<int64_t>& shape,
                  const std::vector<int64_t>& strides, std::byte* target) {
  auto* from = static_cast<const std::byte*>(source);
  size_t lines = shape.size() - 1;  // a tensor without dimensions is row-major
  std::vector<int64_t> index(lines, 0);
  for (;;) {
    copy_line(from, element_size, strides[lines], shape[lines], target);
    target += shape[lines] * static_cast<int64_t>(element_size);
    size_t dimension = lines;
    // The next line: count up the last dimension that is not at its end.
    while (dimension > 0 && index[dimension - 1] + 1 == shape[dimension - 1]) {
      --dimension;
      from -= strides[dimension] * index[dimension] * static_cast<int64_t>(element_size);
      index[dimension] = 0;
    }
    if (dimension == 0) return;
    ++index[dimension - 1];
    from += strides[dimension - 1] * static_cast<int64_t>(element_size);
  }
}

}  // namespace compress::storage
