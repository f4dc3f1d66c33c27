#include "compress/storage/tensor.h"

#include "bytes.h"

namespace compress::storage {

namespace {

struct Row {
  Dtype dtype;
  const char* name;
  uint64_t size;
};

// In the order of the enumeration.
constexpr Row rows[] = {
    {Dtype::f64, "F64", 8},      {Dtype::f32, "F32", 4},         {Dtype::f16, "F16", 2},
    {Dtype::bf16, "BF16", 2},    {Dtype::i64, "I64", 8},         {Dtype::i32, "I32", 4},
    {Dtype::i16, "I16", 2},      {Dtype::i8, "I8", 1},           {Dtype::u8, "U8", 1},
    {Dtype::boolean, "BOOL", 1}, {Dtype::f8_e4m3, "F8_E4M3", 1}, {Dtype::f8_e5m2, "F8_E5M2", 1},
};

const Row& row(Dtype dtype) {
  return rows[static_cast<size_t>(dtype)];
}

}  // namespace

uint64_t element_size(Dtype dtype) {
  return row(dtype).size;
}

const char* dtype_name(Dtype dtype) {
  return row(dtype).name;
}

std::optional<Dtype> dtype_from_name(std::string_view name) {
  for (const Row& candidate : rows)
    if (name == candidate.name) return candidate.dtype;
  return std::nullopt;
}

std::optional<uint64_t> byte_size(Dtype dtype, const std::vector<int64_t>& shape) {
  auto product = static_cast<int64_t>(element_size(dtype));
  for (int64_t size : shape)
    if (size < 0 || __builtin_mul_overflow(product, size, &product)) return std::nullopt;
  return static_cast<uint64_t>(product);
}

std::string shown_name(std::string_view name) {
  constexpr size_t longest = 120;
  std::string text(name.substr(0, longest));
  // Do not cut inside a UTF-8 character.
  if (name.size() > longest) {
    while (!text.empty() && (text.back() & 0xC0) == 0x80) text.pop_back();
    if (!text.empty() && (text.back() & 0x80) != 0) text.pop_back();
    text += "...";
  }
  const bool readable = is_utf8(text);  // names in messages come from damaged files as well
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F || (!readable && (c & 0x80) != 0))
      c = '?';
  return "'" + text + "'";
}

}  // namespace compress::storage
