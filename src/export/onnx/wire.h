#pragma once
// The wire format of Protocol Buffers (https://protobuf.dev/programming-guides/encoding), as far as
// onnx.proto needs it: varints, fixed 32-bit floats and length-delimited fields.

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace compress::exports::onnx {

// One message while it is put together; the methods append a field each. Numbers that are negative
// take ten bytes, as int32 and int64 do on the wire.
class Message {
 public:
  Message& number(int field, int64_t value);
  Message& real(int field, float value);
  Message& text(int field, std::string_view value);
  Message& numbers(int field, std::span<const int64_t> values);  // packed
  Message& message(int field, const Message& value) { return text(field, value.bytes_); }
  // The beginning of a length-delimited field of `size` bytes, which whoever writes the message
  // puts behind it.
  Message& open(int field, uint64_t size);
  const std::string& bytes() const { return bytes_; }
  uint64_t size() const { return bytes_.size(); }

 private:
  void key(int field, int kind);
  void varint(uint64_t value);

  std::string bytes_;
};

// Bytes that open() appends.
uint64_t opening_size(int field, uint64_t size);

// A field of a message that is read. What does not fit its kind is 0 or empty.
struct Field {
  int number = 0;
  int64_t value = 0;  // of a varint
  float real = 0;     // of a fixed 32-bit float
  std::string_view bytes;
};
// Calls `each` for the fields of a message, in order. Error{model} naming `where` for bytes that
// are no message.
void read_message(std::string_view bytes, const std::string& where,
                  const std::function<void(const Field&)>& each);
// Appends what a repeated field of whole numbers holds, packed or one by one. The same error.
void read_numbers(const Field& field, const std::string& where, std::vector<int64_t>& numbers);

}  // namespace compress::exports::onnx
