// What the globals of torch.save's pickles mean. None of them is called: each is data.

#include <algorithm>

#include "torch/pickle.h"

namespace compress::storage {

namespace {

using Kind = Value::Kind;

struct Global {
  const char *module, *name;
  Callable callable;
  int64_t dtype = -1;
};

// A list of pairs can be given again and again through the memo, and a tensor is larger than what
// asks for it: without bounds a small file would take much memory.
constexpr size_t most_pairs = 1'000'000, most_tensors = 200'000;

constexpr int64_t number(Dtype dtype) {
  return static_cast<int64_t>(dtype);
}

constexpr Global globals[] = {
    {"collections", "OrderedDict", Callable::ordered_dict},
    {"torch", "Size", Callable::size},
    {"torch._utils", "_rebuild_tensor", Callable::rebuild_tensor},
    {"torch._utils", "_rebuild_tensor_v2", Callable::rebuild_tensor_v2},
    {"torch._utils", "_rebuild_tensor_v3", Callable::rebuild_tensor_v3},
    {"torch._utils", "_rebuild_parameter", Callable::rebuild_parameter},
    {"torch", "DoubleStorage", Callable::storage, number(Dtype::f64)},
    {"torch", "FloatStorage", Callable::storage, number(Dtype::f32)},
    {"torch", "HalfStorage", Callable::storage, number(Dtype::f16)},
    {"torch", "BFloat16Storage", Callable::storage, number(Dtype::bf16)},
    {"torch", "LongStorage", Callable::storage, number(Dtype::i64)},
    {"torch", "IntStorage", Callable::storage, number(Dtype::i32)},
    {"torch", "ShortStorage", Callable::storage, number(Dtype::i16)},
    {"torch", "CharStorage", Callable::storage, number(Dtype::i8)},
    {"torch", "ByteStorage", Callable::storage, number(Dtype::u8)},
    {"torch", "BoolStorage", Callable::storage, number(Dtype::boolean)},
    {"torch", "UntypedStorage", Callable::storage},
    {"torch.storage", "UntypedStorage", Callable::storage},
    {"torch", "float64", Callable::dtype, number(Dtype::f64)},
    {"torch", "float32", Callable::dtype, number(Dtype::f32)},
    {"torch", "float16", Callable::dtype, number(Dtype::f16)},
    {"torch", "bfloat16", Callable::dtype, number(Dtype::bf16)},
    {"torch", "int64", Callable::dtype, number(Dtype::i64)},
    {"torch", "int32", Callable::dtype, number(Dtype::i32)},
    {"torch", "int16", Callable::dtype, number(Dtype::i16)},
    {"torch", "int8", Callable::dtype, number(Dtype::i8)},
    {"torch", "uint8", Callable::dtype, number(Dtype::u8)},
    {"torch", "bool", Callable::dtype, number(Dtype::boolean)},
    {"torch", "float8_e4m3fn", Callable::dtype, number(Dtype::f8_e4m3)},
    {"torch", "float8_e5m2", Callable::dtype, number(Dtype::f8_e5m2)},
};

}  // namespace

void Pickle::push_global(std::string_view module, std::string_view name) {
  for (const Global& known : globals)
    if (module == known.module && name == known.name) {
      push({.kind = Kind::global, .callable = known.callable, .number = known.dtype});
      return;
    }
  refuse("asks for " + shown_name(str(module, ".", name)) + ", which is no part of a plain tensor");
}

void Pickle::reduce() {
  // By value, since pushing moves the values; so the tuple must be short.
  const Value &given = values_[pop()], &called = values_[pop()];
  if (called.kind != Kind::global || given.kind != Kind::tuple || given.items.size() > 8)
    refuse("calls something that is no known function");
  Value arguments = given;
  switch (called.callable) {
    case Callable::ordered_dict:
      ordered_dict(arguments);
      break;
    case Callable::size:
      argument(arguments, 0, Kind::tuple);
      push_ref(arguments.items[0]);
      break;
    case Callable::rebuild_parameter:
      argument(arguments, 0, Kind::tensor);
      push_ref(arguments.items[0]);
      break;
    case Callable::rebuild_tensor:
    case Callable::rebuild_tensor_v2:
    case Callable::rebuild_tensor_v3:
      rebuild_tensor(called.callable, arguments);
      break;
    default:
      refuse("calls a type");
  }
}

// Python 2 gave the items as one list of pairs.
void Pickle::ordered_dict(const Value& arguments) {
  Value dict{Kind::dict};
  if (!arguments.items.empty())
    for (Ref pair : argument(arguments, 0, Kind::list).items) {
      const Value& two = values_[pair];
      if ((two.kind != Kind::list && two.kind != Kind::tuple) || two.items.size() != 2)
        refuse("fills an OrderedDict with something else than pairs");
      if (++pairs_ > most_pairs) refuse("holds too many values");
      dict.items.insert(dict.items.end(), two.items.begin(), two.items.end());
    }
  push(std::move(dict));
}

// The state of an OrderedDict is the versions of the modules (`_metadata`): nothing of the weights.
void Pickle::build() {
  if (values_[pop()].kind != Kind::dict || top().kind != Kind::dict)
    refuse("sets the state of something else than an OrderedDict");
}

const Value& Pickle::argument(const Value& tuple, size_t place, Kind kind) const {
  if (place >= tuple.items.size() || values_[tuple.items[place]].kind != kind)
    refuse(str("has a wrong argument ", place + 1, " for a tensor, storage or dictionary"));
  return values_[tuple.items[place]];
}

std::vector<int64_t> Pickle::sizes(const Value& tuple) const {
  constexpr size_t most_dimensions = 64;
  if (tuple.items.size() > most_dimensions) refuse("has a tensor of too many dimensions");
  std::vector<int64_t> list;
  for (size_t i = 0; i < tuple.items.size(); ++i)
    list.push_back(argument(tuple, i, Kind::integer).number);
  return list;
}

// ("storage", type, key, location, elements[, view of another storage]).
void Pickle::persistent() {
  const Value& id = values_[pop()];
  if (id.kind != Kind::tuple || id.items.size() < 5 || id.items.size() > 6)
    refuse("refers to something that is no storage");
  if (argument(id, 0, Kind::text).text != "storage")
    refuse("refers to something that is no storage");
  const Value& type = argument(id, 1, Kind::global);
  int64_t elements = argument(id, 4, Kind::integer).number;
  if (type.callable != Callable::storage || elements < 0)
    refuse("refers to a storage without a type or size");
  if (id.items.size() == 6) argument(id, 5, Kind::none);
  argument(id, 3, Kind::text);
  std::optional<Dtype> dtype;
  if (type.number >= 0) dtype = static_cast<Dtype>(type.number);
  storages_.push_back({argument(id, 2, Kind::text).text, dtype, static_cast<uint64_t>(elements)});
  push({.kind = Kind::storage, .number = static_cast<int64_t>(storages_.size() - 1)});
}

// (storage, offset, size, stride[, requires_grad, hooks[, dtype (v3)[, flags]]]).
void Pickle::rebuild_tensor(Callable callable, const Value& arguments) {
  if (tensors_.size() == most_tensors) refuse("holds too many tensors");
  PickledTensor tensor;
  tensor.storage = static_cast<size_t>(argument(arguments, 0, Kind::storage).number);
  tensor.offset = argument(arguments, 1, Kind::integer).number;
  tensor.shape = sizes(argument(arguments, 2, Kind::tuple));
  tensor.strides = sizes(argument(arguments, 3, Kind::tuple));
  std::optional<Dtype> dtype = storages_[tensor.storage].dtype;
  size_t flags = 6;
  if (callable == Callable::rebuild_tensor_v3) {
    const Value& given = argument(arguments, flags++, Kind::global);
    if (given.callable != Callable::dtype) refuse("has a tensor without a type");
    dtype = static_cast<Dtype>(given.number);
  }
  if (!dtype) refuse("has a tensor without a type");
  tensor.dtype = *dtype;
  // Flags such as "negate when read" would change the values.
  if (arguments.items.size() > flags) {
    const Value& given = values_[arguments.items[flags]];
    if ((given.kind != Kind::none && given.kind != Kind::dict) || !given.items.empty() ||
        arguments.items.size() > flags + 1)
      refuse("has a tensor with properties that are not read");
  }
  tensors_.push_back(std::move(tensor));
  push({.kind = Kind::tensor, .number = static_cast<int64_t>(tensors_.size() - 1)});
}

}  // namespace compress::storage
