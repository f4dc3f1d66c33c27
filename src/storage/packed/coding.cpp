#include "packed/coding.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "compress/base/blocks.h"

namespace compress::storage {

namespace {

bool is_zero(std::string_view bytes, uint64_t element, uint64_t size) {
  return std::all_of(bytes.begin() + static_cast<int64_t>(element * size),
                     bytes.begin() + static_cast<int64_t>((element + 1) * size),
                     [](char byte) { return byte == 0; });
}

bool bit(std::string_view mask, uint64_t i) {
  return (static_cast<unsigned char>(mask[i / 8]) >> (i % 8) & 1u) != 0;
}

void set_bit(std::string& mask, uint64_t i) {
  mask[i / 8] = static_cast<char>(static_cast<unsigned char>(mask[i / 8]) | 1u << (i % 8));
}

// Bits that say which of `count` things are zero.
double entropy(double zero, double count) {
  const double part = zero / count;
  return part <= 0 || part >= 1
             ? 0
             : -count * (part * std::log2(part) + (1 - part) * std::log2(1 - part));
}

}  // namespace

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
    if (is_zero(bytes, i, size)) continue;
    set_bit(result.mask, i);
    result.values += bytes.substr(i * size, size);
  }
  return result;
}

Blocks best_blocks(std::string_view bytes, uint64_t size, uint64_t rows, uint64_t columns) {
  std::vector<uint8_t> kept(bytes.size() / size);
  for (uint64_t i = 0; i < kept.size(); ++i) kept[i] = is_zero(bytes, i, size) ? 0 : 1;
  const auto elements = static_cast<double>(kept.size());
  Blocks best{rows, columns};
  double least = -1;
  for (const BlockCount& shape :
       count_zero_blocks(kept, static_cast<int64_t>(rows), static_cast<int64_t>(columns), 16)) {
    const auto area = static_cast<double>(shape.rows * shape.columns);
    const auto zero = static_cast<double>(shape.zero);
    const double bits =
        entropy(zero, elements / area) + 8 * static_cast<double>(size) * (elements - area * zero);
    if (least >= 0 && bits >= least) continue;
    least = bits;
    best.high = static_cast<uint64_t>(shape.rows);
    best.wide = static_cast<uint64_t>(shape.columns);
  }
  return best;
}

Masked to_block_mask(std::string_view bytes, uint64_t size, const Blocks& blocks) {
  Masked result;
  result.mask.assign((blocks.count() + 7) / 8, '\0');
  const uint64_t across = blocks.columns / blocks.wide;
  auto block_of = [&](uint64_t i) {
    return i / blocks.columns / blocks.high * across + i % blocks.columns / blocks.wide;
  };
  const uint64_t elements = blocks.rows * blocks.columns;
  for (uint64_t i = 0; i < elements; ++i)
    if (!is_zero(bytes, i, size)) set_bit(result.mask, block_of(i));
  for (uint64_t i = 0; i < elements; ++i)
    if (bit(result.mask, block_of(i))) result.values += bytes.substr(i * size, size);
  return result;
}

std::string element_mask(std::string_view mask, const Blocks& blocks) {
  const uint64_t across = blocks.columns / blocks.wide, elements = blocks.rows * blocks.columns;
  std::string result((elements + 7) / 8, '\0');
  for (uint64_t i = 0; i < elements; ++i)
    if (bit(mask, i / blocks.columns / blocks.high * across + i % blocks.columns / blocks.wide))
      set_bit(result, i);
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
    if (!bit(mask, i)) continue;
    std::memcpy(out + i * size, value, size);
    value += size;
  }
}

}  // namespace compress::storage
