#include "torch/pickle.h"

#include <algorithm>
#include <bit>

namespace compress::storage {

namespace {

constexpr size_t most_values = 2'000'000;
constexpr size_t most_marks = 100;
constexpr Ref unset = ~Ref{0};

using Kind = Value::Kind;

enum Opcode : uint8_t {
  MARK = '(',
  STOP = '.',
  POP = '0',
  BINFLOAT = 'G',
  BININT = 'J',
  BININT1 = 'K',
  BININT2 = 'M',
  NONE = 'N',
  BINPERSID = 'Q',
  REDUCE = 'R',
  BINSTRING = 'T',
  SHORT_BINSTRING = 'U',
  BINUNICODE = 'X',
  APPEND = 'a',
  BUILD = 'b',
  GLOBAL = 'c',
  APPENDS = 'e',
  BINGET = 'h',
  LONG_BINGET = 'j',
  BINPUT = 'q',
  LONG_BINPUT = 'r',
  SETITEM = 's',
  TUPLE = 't',
  SETITEMS = 'u',
  EMPTY_TUPLE = ')',
  EMPTY_LIST = ']',
  EMPTY_DICT = '}',
  PROTO = 0x80,
  TUPLE1 = 0x85,
  TUPLE2 = 0x86,
  TUPLE3 = 0x87,
  NEWTRUE = 0x88,
  NEWFALSE = 0x89,
  LONG1 = 0x8a,
  SHORT_BINUNICODE = 0x8c,
  STACK_GLOBAL = 0x93,
  MEMOIZE = 0x94,
  FRAME = 0x95,
};

}  // namespace

Pickle::Pickle(ByteReader& in, const std::string& file) : in_(in), file_(file) {
  run();
}

void Pickle::refuse(const std::string& what) const {
  throw Error(ErrorKind::model, "the pickle " + what, file_,
              "a pickle can hold any program, so only plain tensors are read from it; convert it "
              "to safetensors in Python if you trust where it comes from");
}

void Pickle::run() {
  if (in_.number<uint8_t>() != PROTO) refuse("does not start with its protocol");
  if (auto protocol = in_.number<uint8_t>(); protocol < 2 || protocol > 5)
    refuse(str("has protocol ", int{protocol}));
  while (step(in_.number<uint8_t>())) continue;
  result_ = pop();
  if (!stack_.empty() || !marks_.empty()) refuse("leaves values on its stack");
}

bool Pickle::step(uint8_t opcode) {
  switch (opcode) {
    case STOP:
      return false;
    case FRAME:
      in_.number<uint64_t>();
      return true;
    case POP:
      pop();
      return true;
    case GLOBAL: {
      std::string_view module = in_.until('\n');
      push_global(module, in_.until('\n'));
      return true;
    }
    case STACK_GLOBAL: {
      const Value &name = values_[pop()], &module = values_[pop()];
      if (name.kind != Kind::text || module.kind != Kind::text)
        refuse("names a global by something else than texts");
      push_global(std::string_view(module.text), std::string_view(name.text));
      return true;
    }
    case REDUCE:
      reduce();
      return true;
    case BUILD:
      build();
      return true;
    case BINPERSID:
      persistent();
      return true;
    default:
      if (!scalar(opcode) && !text(opcode) && !container(opcode) && !memo(opcode))
        refuse(str("uses opcode ", int{opcode}, ", which plain tensors do not need"));
      return true;
  }
}

bool Pickle::scalar(uint8_t opcode) {
  switch (opcode) {
    case NONE:
      push({Kind::none});
      break;
    case NEWTRUE:
    case NEWFALSE:
      push({.kind = Kind::boolean, .number = opcode == NEWTRUE});
      break;
    case BININT:
      push({.kind = Kind::integer, .number = in_.number<int32_t>()});
      break;
    case BININT1:
      push({.kind = Kind::integer, .number = in_.number<uint8_t>()});
      break;
    case BININT2:
      push({.kind = Kind::integer, .number = in_.number<uint16_t>()});
      break;
    case LONG1:
      long_integer(in_.take(in_.number<uint8_t>()));
      break;
    case BINFLOAT:
      in_.take(8);
      push({Kind::real});
      break;
    default:
      return false;
  }
  return true;
}

// Little-endian two's complement of any length.
void Pickle::long_integer(std::string_view bytes) {
  if (bytes.size() > 8) {
    push({.kind = Kind::big, .text = bytes});
    return;
  }
  bool negative = !bytes.empty() && (bytes.back() & 0x80) != 0;
  uint64_t value = negative ? ~uint64_t{0} : 0;
  for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  push({.kind = Kind::integer, .number = static_cast<int64_t>(value)});
}

bool Pickle::text(uint8_t opcode) {
  uint64_t length = 0;
  switch (opcode) {
    case SHORT_BINSTRING:
    case SHORT_BINUNICODE:
      length = in_.number<uint8_t>();
      break;
    case BINSTRING:
    case BINUNICODE:
      length = in_.number<uint32_t>();
      break;
    default:
      return false;
  }
  push({.kind = Kind::text, .text = in_.take(length)});
  return true;
}

bool Pickle::container(uint8_t opcode) {
  switch (opcode) {
    case MARK:
      if (marks_.size() == most_marks) refuse("is nested too deep");
      marks_.push_back(stack_.size());
      break;
    case EMPTY_TUPLE:
      push({Kind::tuple});
      break;
    case EMPTY_LIST:
      push({Kind::list});
      break;
    case EMPTY_DICT:
      push({Kind::dict});
      break;
    case TUPLE1:
    case TUPLE2:
    case TUPLE3:
      push_tuple(opcode - TUPLE1 + 1u);
      break;
    case TUPLE:
      push({.kind = Kind::tuple, .items = pop_to_mark()});
      break;
    case APPEND:
      append(Kind::list, {pop()});
      break;
    case APPENDS:
      append(Kind::list, pop_to_mark());
      break;
    case SETITEM: {
      Ref value = pop(), key = pop();
      append(Kind::dict, {key, value});
      break;
    }
    case SETITEMS:
      append(Kind::dict, pop_to_mark());
      break;
    default:
      return false;
  }
  return true;
}

bool Pickle::memo(uint8_t opcode) {
  switch (opcode) {
    case BINPUT:
      put(in_.number<uint8_t>());
      break;
    case LONG_BINPUT:
      put(in_.number<uint32_t>());
      break;
    case MEMOIZE:
      put(memo_.size());
      break;
    case BINGET:
      get(in_.number<uint8_t>());
      break;
    case LONG_BINGET:
      get(in_.number<uint32_t>());
      break;
    default:
      return false;
  }
  return true;
}

void Pickle::put(uint64_t key) {
  if (key >= most_values) refuse("remembers too many values");
  top();
  if (key >= memo_.size()) memo_.resize(std::max<size_t>(key + 1, memo_.size()), unset);
  memo_[key] = stack_.back();
}

void Pickle::get(uint64_t key) {
  if (key >= memo_.size() || memo_[key] == unset) refuse("asks for a value that it never kept");
  push_ref(memo_[key]);
}

Ref Pickle::push(Value value) {
  if (values_.size() == most_values) refuse("holds too many values");
  values_.push_back(std::move(value));
  auto ref = static_cast<Ref>(values_.size() - 1);
  push_ref(ref);
  return ref;
}

void Pickle::push_ref(Ref ref) {
  if (stack_.size() == most_values) refuse("holds too many values");
  stack_.push_back(ref);
}

Ref Pickle::pop() {
  top();
  Ref ref = stack_.back();
  stack_.pop_back();
  return ref;
}

// Values below the last mark are out of reach.
Value& Pickle::top() {
  if (stack_.size() == (marks_.empty() ? 0 : marks_.back())) refuse("takes from an empty stack");
  return values_[stack_.back()];
}

std::vector<Ref> Pickle::pop_to_mark() {
  if (marks_.empty()) refuse("closes a mark that is not there");
  auto from = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
  std::vector<Ref> items(from, stack_.end());
  stack_.erase(from, stack_.end());
  marks_.pop_back();
  return items;
}

void Pickle::push_tuple(size_t count) {
  std::vector<Ref> items(count);
  for (size_t i = count; i-- > 0;) items[i] = pop();
  push({.kind = Kind::tuple, .items = std::move(items)});
}

void Pickle::append(Kind kind, std::vector<Ref> items) {
  Value& target = top();
  if (target.kind != kind) refuse("adds items to something else than a list or dictionary");
  if (kind == Kind::dict && items.size() % 2 != 0) refuse("gives a key without a value");
  target.items.insert(target.items.end(), items.begin(), items.end());
}

}  // namespace compress::storage
