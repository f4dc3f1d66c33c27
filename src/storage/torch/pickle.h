#pragma once
// A pickle machine that runs nothing. It knows the opcodes that torch.save needs and a fixed table
// of globals, which it understands as data; whatever else a pickle names is refused by its name
// before anything is done with it. (Opcodes: Python's Lib/pickletools.py.)

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bytes.h"
#include "compress/storage/tensor.h"

namespace compress::storage {

using Ref = uint32_t;  // the number of a value

enum class Callable : uint8_t {
  ordered_dict,
  size,
  rebuild_tensor,  // (storage, offset, size, stride)
  rebuild_tensor_v2,
  rebuild_tensor_v3,
  rebuild_parameter,
  storage,  // a class of storages; `number` of its value is its dtype, -1 for untyped bytes
  dtype,    // `number` of its value is the dtype
};

struct Value {
  enum class Kind : uint8_t {
    none,
    boolean,
    integer,
    big,  // an integer over 64 bits, little-endian in `text`
    real,
    text,  // also bytes
    tuple,
    list,
    dict,  // `items` are keys and values in turn
    global,
    storage,
    tensor,
  };
  Kind kind = Kind::none;
  Callable callable{};  // of a global
  int64_t number = 0;   // of a boolean or an integer; the place of a storage or tensor in its list
  std::string_view text{};
  std::vector<Ref> items{};
};

struct PickledStorage {
  std::string_view key;
  std::optional<Dtype> dtype;  // none: untyped bytes
  uint64_t elements = 0;       // bytes where untyped
};

struct PickledTensor {
  size_t storage = 0;
  Dtype dtype = Dtype::f32;
  int64_t offset = 0;  // in elements, as are the strides
  std::vector<int64_t> shape, strides;
};

class Pickle {
 public:
  // Runs one pickle from `in` up to its STOP. What is not known or makes no sense throws
  // Error{model} with `file` as its place. At most 2 million values, 200,000
  // tensors and 100 open marks; nothing recurses.
  Pickle(ByteReader& in, const std::string& file);

  const Value& result() const { return values_[result_]; }
  const Value& value(Ref ref) const { return values_[ref]; }
  const std::vector<PickledStorage>& storages() const { return storages_; }
  const std::vector<PickledTensor>& tensors() const { return tensors_; }

  [[noreturn]] void refuse(const std::string& what) const;

 private:
  void run();
  bool step(uint8_t opcode);  // false for STOP
  bool scalar(uint8_t opcode);
  bool text(uint8_t opcode);
  bool container(uint8_t opcode);
  bool memo(uint8_t opcode);
  void put(uint64_t key);
  void get(uint64_t key);
  void long_integer(std::string_view bytes);

  Ref push(Value value);
  void push_ref(Ref ref);
  Ref pop();
  Value& top();
  std::vector<Ref> pop_to_mark();
  void push_tuple(size_t count);
  void append(Value::Kind kind, std::vector<Ref> items);

  // torch_objects.cpp: what the globals mean.
  void push_global(std::string_view module, std::string_view name);
  void reduce();
  void build();
  void persistent();
  void ordered_dict(const Value& arguments);
  void rebuild_tensor(Callable callable, const Value& arguments);
  const Value& argument(const Value& tuple, size_t place, Value::Kind kind) const;
  std::vector<int64_t> sizes(const Value& tuple) const;

  ByteReader& in_;
  const std::string& file_;
  std::vector<Value> values_;
  std::vector<Ref> stack_, memo_;
  std::vector<size_t> marks_;
  std::vector<PickledStorage> storages_;
  std::vector<PickledTensor> tensors_;
  size_t pairs_ = 0;
  Ref result_ = 0;
};

}  // namespace compress::storage
