#include "onnx/wire.h"

#include <bit>
#include <vector>

#include "compress/base/error.h"

namespace compress::exports::onnx {

namespace {

enum Kind { varint_kind = 0, fixed64_kind = 1, length_kind = 2, fixed32_kind = 5 };

uint64_t varint_size(uint64_t value) {
  uint64_t size = 1;
  for (; value >= 0x80; value >>= 7) ++size;
  return size;
}

uint64_t key_of(int field, int kind) {
  return static_cast<uint64_t>(field) << 3 | static_cast<uint64_t>(kind);
}

// Reads from the front of what is left of a message.
class Reader {
 public:
  Reader(std::string_view bytes, const std::string& where) : left_(bytes), where_(where) {}
  bool done() const { return left_.empty(); }
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<uint8_t>(take(1).front());
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    damaged();
  }
  std::string_view take(uint64_t size) {
    if (size > left_.size()) damaged();
    const std::string_view taken = left_.substr(0, size);
    left_.remove_prefix(size);
    return taken;
  }
  [[noreturn]] void damaged() const {
    throw Error(ErrorKind::model, "the file is damaged: it holds no message where one is expected",
                where_);
  }

 private:
  std::string_view left_;
  const std::string& where_;
};

}  // namespace

void Message::varint(uint64_t value) {
  for (; value >= 0x80; value >>= 7) bytes_.push_back(static_cast<char>(value | 0x80));
  bytes_.push_back(static_cast<char>(value));
}

void Message::key(int field, int kind) {
  varint(key_of(field, kind));
}

Message& Message::number(int field, int64_t value) {
  key(field, varint_kind);
  varint(static_cast<uint64_t>(value));
  return *this;
}

Message& Message::real(int field, float value) {
  key(field, fixed32_kind);
  const auto bits = std::bit_cast<uint32_t>(value);
  for (int shift = 0; shift < 32; shift += 8) bytes_.push_back(static_cast<char>(bits >> shift));
  return *this;
}

Message& Message::open(int field, uint64_t size) {
  key(field, length_kind);
  varint(size);
  return *this;
}

Message& Message::text(int field, std::string_view value) {
  open(field, value.size());
  bytes_.append(value);
  return *this;
}

Message& Message::numbers(int field, std::span<const int64_t> values) {
  Message packed;
  for (const int64_t value : values) packed.varint(static_cast<uint64_t>(value));
  return message(field, packed);
}

uint64_t opening_size(int field, uint64_t size) {
  return varint_size(key_of(field, length_kind)) + varint_size(size);
}

void read_message(std::string_view bytes, const std::string& where,
                  const std::function<void(const Field&)>& each) {
  Reader reader(bytes, where);
  while (!reader.done()) {
    const uint64_t key = reader.varint();
    Field field;
    field.number = static_cast<int>(key >> 3 & 0x1FFFFFFF);
    switch (key & 7) {
      case varint_kind:
        field.value = static_cast<int64_t>(reader.varint());
        break;
      case fixed64_kind:
        reader.take(8);
        break;
      case length_kind:
        field.bytes = reader.take(reader.varint());
        break;
      case fixed32_kind: {
        uint32_t bits = 0;
        const std::string_view four = reader.take(4);
        for (size_t i = 0; i < 4; ++i)
          bits |= static_cast<uint32_t>(static_cast<uint8_t>(four[i])) << (8 * i);
        field.real = std::bit_cast<float>(bits);
        break;
      }
      default:
        reader.damaged();
    }
    each(field);
  }
}

void read_numbers(const Field& field, const std::string& where, std::vector<int64_t>& numbers) {
  if (field.bytes.empty()) {
    numbers.push_back(field.value);
    return;
  }
  Reader reader(field.bytes, where);
  while (!reader.done()) numbers.push_back(static_cast<int64_t>(reader.varint()));
}

}  // namespace compress::exports::onnx
