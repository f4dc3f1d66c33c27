// The values of a GGUF file's metadata.

#include "gguf/gguf_values.h"

#include <cmath>
#include <limits>

namespace compress::storage {

namespace {

enum Type : uint32_t { U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64, COUNT };
// Bytes of a number, 0 for the others. In the order of the enumeration.
constexpr uint64_t sizes[COUNT] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

using Number = std::variant<bool, int64_t, uint64_t, double>;

template <class T, class Wide>
Number read(const char* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return static_cast<Wide>(value);
}

Number number(uint32_t type, const char* from) {
  switch (type) {
    case U8:
      return read<uint8_t, uint64_t>(from);
    case I8:
      return read<int8_t, int64_t>(from);
    case U16:
      return read<uint16_t, uint64_t>(from);
    case I16:
      return read<int16_t, int64_t>(from);
    case U32:
      return read<uint32_t, uint64_t>(from);
    case I32:
      return read<int32_t, int64_t>(from);
    case F32:
      return read<float, double>(from);
    case BOOL:
      return *from != 0;
    case U64:
      return read<uint64_t, uint64_t>(from);
    case I64:
      return read<int64_t, int64_t>(from);
    default:
      return read<double, double>(from);
  }
}

void check_booleans(std::string_view bytes, const std::string& place) {
  for (char byte : bytes)
    if (byte != 0 && byte != 1)
      throw Error(ErrorKind::model, "has a boolean that is neither 0 nor 1", place);
}

GgufValue array(ByteReader& in, const std::string& place) {
  auto type = in.number<uint32_t>();
  auto size = in.number<uint64_t>();
  if (type == STRING) {
    if (size > in.left() / 8) in.take(in.left() + 1);  // throws: each text has a length of 8 bytes
    std::vector<std::string_view> texts;
    texts.reserve(size);
    for (uint64_t i = 0; i < size; ++i) texts.push_back(gguf_text(in));
    return texts;
  }
  if (type >= COUNT || sizes[type] == 0)
    throw Error(ErrorKind::model, str("has a list of the unknown type ", type), place);
  if (size > in.left() / sizes[type]) in.take(in.left() + 1);
  std::string_view bytes = in.take(size * sizes[type]);
  if (type == BOOL) check_booleans(bytes, place);
  return GgufNumbers(type, size, bytes.data());
}

}  // namespace

std::string_view gguf_text(ByteReader& in) {
  return in.take(in.number<uint64_t>());
}

GgufValue gguf_value(ByteReader& in, const std::string& place) {
  auto type = in.number<uint32_t>();
  if (type == STRING) return gguf_text(in);
  if (type == ARRAY) return array(in, place);
  if (type >= COUNT)
    throw Error(ErrorKind::model, str("has a value of the unknown type ", type), place);
  std::string_view bytes = in.take(sizes[type]);
  if (type == BOOL) check_booleans(bytes, place);
  return std::visit([](auto value) -> GgufValue { return value; }, number(type, bytes.data()));
}

bool GgufNumbers::is_whole() const {
  return type_ != F32 && type_ != F64;
}

std::vector<int64_t> GgufNumbers::integers() const {
  if (!is_whole()) throw Error(ErrorKind::internal, "real numbers are taken for integers");
  std::vector<int64_t> values;
  values.reserve(size_);
  for (uint64_t i = 0; i < size_; ++i)
    std::visit(
        [&](auto value) {
          if constexpr (std::is_same_v<decltype(value), uint64_t>)
            if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
              throw Error(ErrorKind::model, str("a list has ", value, ", which is too large"));
          values.push_back(static_cast<int64_t>(value));
        },
        number(type_, data_ + i * sizes[type_]));
  return values;
}

std::vector<double> GgufNumbers::reals() const {
  std::vector<double> values;
  values.reserve(size_);
  for (uint64_t i = 0; i < size_; ++i)
    values.push_back(std::visit([](auto value) { return static_cast<double>(value); },
                                number(type_, data_ + i * sizes[type_])));
  return values;
}

}  // namespace compress::storage
