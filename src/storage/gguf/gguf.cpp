#include "compress/storage/gguf.h"

#include <algorithm>
#include <limits>

#include "bytes.h"
#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/storage/tensor.h"
#include "gguf/gguf_blocks.h"
#include "gguf/gguf_values.h"

namespace compress::storage {

namespace fs = std::filesystem;

namespace {

constexpr uint32_t most_gguf_dimensions = 4;
constexpr uint64_t default_alignment = 32;

struct Start {
  uint32_t version = 0;
  uint64_t tensors = 0, values = 0;
};

Start read_start(ByteReader& in, const std::string& file) {
  auto refuse = [&](const std::string& what, const char* hint) {
    throw Error(ErrorKind::model, what, file, hint);
  };
  if (in.left() < 24 || in.take(4) != "GGUF") refuse("is no GGUF file", "fetch it again");
  Start start;
  start.version = in.number<uint32_t>();
  if (start.version != 0 && (start.version & 0xFFFF) == 0)
    refuse("is a big-endian GGUF file", "convert it to little-endian");
  if (start.version != 2 && start.version != 3)
    refuse(str("has GGUF version ", start.version, "; 2 and 3 are read"),
           "convert the model again with a current converter");
  start.tensors = in.number<uint64_t>();
  start.values = in.number<uint64_t>();
  // The least that a tensor and a value take.
  if (start.tensors > in.left() / 24 || start.values > in.left() / 13)
    refuse(str("claims ", start.tensors, " tensors and ", start.values,
               " values, more than the file can hold"),
           damaged_hint);
  return start;
}

struct Placed {  // a tensor of the table
  GgufTensor tensor;
  uint64_t offset = 0;
};

// Dimensions lie in the file with the fastest first.
Placed read_tensor(ByteReader& in, const std::string& file) {
  Placed placed;
  GgufTensor& tensor = placed.tensor;
  tensor.name = gguf_text(in);
  auto refuse = [&](const std::string& what, const char* hint = damaged_hint) {
    throw Error(ErrorKind::model, what, str(file, " (tensor ", shown_name(tensor.name), ")"), hint);
  };
  if (!is_utf8(tensor.name)) refuse("its name is not UTF-8");
  auto dimensions = in.number<uint32_t>();
  if (dimensions > most_gguf_dimensions) refuse(str("has ", dimensions, " dimensions"));
  int64_t elements = 1;
  for (uint32_t i = 0; i < dimensions; ++i) {
    auto size = in.number<uint64_t>();
    if (size > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) ||
        __builtin_mul_overflow(elements, static_cast<int64_t>(size), &elements))
      refuse("the shape's product is too large");
    tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(size));
  }
  auto number = in.number<uint32_t>();
  const BlockType* type = block_type(number);
  if (type == nullptr)
    refuse(str("has the type ", number, " ", unread_type_name(number), ", which is not read"),
           "quantise the model to Q8_0, Q4_K_M or another common type");
  auto row = tensor.shape.empty() ? uint64_t{1} : static_cast<uint64_t>(tensor.shape.back());
  if (row % type->elements != 0)
    refuse(str("its rows of ", row, " elements are no whole ", type->name, " blocks of ",
               type->elements));
  tensor.type = type->type;
  if (__builtin_mul_overflow(static_cast<uint64_t>(elements) / type->elements,
                             uint64_t{type->bytes}, &tensor.bytes))
    refuse("the shape's product is too large");
  placed.offset = in.number<uint64_t>();
  return placed;
}

// Offsets count from `start`, where the table ends, rounded up to the alignment.
void place(std::vector<Placed>& table, std::string_view bytes, uint64_t start, uint64_t alignment,
           const std::string& file) {
  for (Placed& placed : table) {
    auto refuse = [&](const std::string& what) {
      throw Error(ErrorKind::model, what,
                  str(file, " (tensor ", shown_name(placed.tensor.name), ")"), damaged_hint);
    };
    if (placed.offset % alignment != 0)
      refuse(str("its offset ", placed.offset, " is no multiple of ", alignment));
    if (start > bytes.size() || placed.offset > bytes.size() - start ||
        placed.tensor.bytes > bytes.size() - start - placed.offset)
      refuse(str("its ", placed.tensor.bytes, " bytes at ", placed.offset,
                 " reach beyond the end of the file"));
    placed.tensor.data = bytes.data() + start + placed.offset;
  }
  std::vector<const Placed*> order;
  for (const Placed& placed : table)
    if (placed.tensor.bytes > 0) order.push_back(&placed);
  std::sort(order.begin(), order.end(),
            [](const Placed* a, const Placed* b) { return a->offset < b->offset; });
  for (size_t i = 1; i < order.size(); ++i)
    if (order[i]->offset < order[i - 1]->offset + order[i - 1]->tensor.bytes)
      throw Error(ErrorKind::model,
                  "it overlaps the tensor " + shown_name(order[i - 1]->tensor.name),
                  str(file, " (tensor ", shown_name(order[i]->tensor.name), ")"), damaged_hint);
}

}  // namespace

const char* gguf_type_name(GgufType type) {
  return block_type(static_cast<uint32_t>(type))->name;
}

uint64_t GgufTensor::elements() const {
  const BlockType* block = block_type(static_cast<uint32_t>(type));
  return bytes / block->bytes * block->elements;
}

uint64_t GgufTensor::row_elements() const {
  if (bytes == 0) return 0;
  return shape.empty() ? 1 : static_cast<uint64_t>(shape.back());
}

void dequantize(const GgufTensor& tensor, std::span<float> out, uint64_t first_row) {
  const BlockType* block = block_type(static_cast<uint32_t>(tensor.type));
  uint64_t row = tensor.row_elements(), rows = tensor.rows();
  if (out.empty()) return;
  if (row == 0 || out.size() % row != 0 || first_row > rows || out.size() / row > rows - first_row)
    throw Error(ErrorKind::internal,
                str("asks for ", out.size(), " elements from row ", first_row, " of ", rows,
                    " rows of ", row),
                "tensor " + shown_name(tensor.name));
  const auto* from =
      static_cast<const uint8_t*>(tensor.data) + first_row * (row / block->elements) * block->bytes;
  for (size_t at = 0; at < out.size(); at += block->elements, from += block->bytes)
    block->dequantize(from, &out[at]);
}

GgufReader::GgufReader(const fs::path& path) : map_(path), file_(path.string()) {
  std::string_view bytes(map_.data(), map_.size());
  if (!bytes.starts_with("GGUF")) refuse_foreign(bytes, file_);
  ByteReader in(bytes, file_);
  Start start = read_start(in, file_);
  version_ = start.version;
  for (uint64_t i = 0; i < start.values; ++i) {
    std::string key(gguf_text(in));
    std::string where = str(file_, " (key ", shown_name(key), ")");
    if (!is_utf8(key)) throw Error(ErrorKind::model, "the key is not UTF-8", where, damaged_hint);
    GgufValue value = gguf_value(in, where);
    if (!metadata_.emplace(std::move(key), std::move(value)).second)
      throw Error(ErrorKind::model, "the key is there twice", where, damaged_hint);
  }
  std::vector<Placed> table;
  for (uint64_t i = 0; i < start.tensors; ++i) table.push_back(read_tensor(in, file_));
  uint64_t alignment = default_alignment;
  if (find_value("general.alignment") != nullptr)
    alignment = static_cast<uint64_t>(integer("general.alignment"));
  if (alignment == 0 || alignment > 1 << 20 || (alignment & (alignment - 1)) != 0)
    throw Error(ErrorKind::model, str("has the alignment ", alignment), file_, damaged_hint);
  place(table, bytes, (in.at() + alignment - 1) / alignment * alignment, alignment, file_);
  for (Placed& placed : table) tensors_.push_back(std::move(placed.tensor));
  for (const GgufTensor& tensor : tensors_)
    if (!by_name_.emplace(tensor.name, static_cast<size_t>(&tensor - tensors_.data())).second)
      throw Error(ErrorKind::model, str("the tensor ", shown_name(tensor.name), " is there twice"),
                  file_, damaged_hint);
}

const GgufValue* GgufReader::find_value(std::string_view key) const {
  auto found = metadata_.find(key);
  return found == metadata_.end() ? nullptr : &found->second;
}

void GgufReader::wrong_type(std::string_view key, const char* wanted) const {
  throw Error(ErrorKind::model,
              str("the key ", shown_name(key),
                  find_value(key) == nullptr ? " is missing" : " does not hold ",
                  find_value(key) == nullptr ? "" : wanted),
              file_);
}

std::string_view GgufReader::text(std::string_view key) const {
  const GgufValue* value = find_value(key);
  if (value == nullptr || !std::holds_alternative<std::string_view>(*value))
    wrong_type(key, "a text");
  return std::get<std::string_view>(*value);
}

int64_t GgufReader::integer(std::string_view key) const {
  const GgufValue* value = find_value(key);
  if (value != nullptr && std::holds_alternative<int64_t>(*value)) return std::get<int64_t>(*value);
  constexpr auto most = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  if (value == nullptr || !std::holds_alternative<uint64_t>(*value) ||
      std::get<uint64_t>(*value) > most)
    wrong_type(key, "an integer");
  return static_cast<int64_t>(std::get<uint64_t>(*value));
}

double GgufReader::real(std::string_view key) const {
  const GgufValue* value = find_value(key);
  if (value != nullptr && std::holds_alternative<double>(*value)) return std::get<double>(*value);
  return static_cast<double>(integer(key));
}

const std::vector<std::string_view>& GgufReader::texts(std::string_view key) const {
  const GgufValue* value = find_value(key);
  if (value == nullptr || !std::holds_alternative<std::vector<std::string_view>>(*value))
    wrong_type(key, "a list of texts");
  return std::get<std::vector<std::string_view>>(*value);
}

const GgufNumbers& GgufReader::numbers(std::string_view key) const {
  const GgufValue* value = find_value(key);
  if (value == nullptr || !std::holds_alternative<GgufNumbers>(*value))
    wrong_type(key, "a list of numbers");
  return std::get<GgufNumbers>(*value);
}

const GgufTensor* GgufReader::find(std::string_view name) const {
  auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &tensors_[found->second];
}

const GgufTensor& GgufReader::at(std::string_view name) const {
  if (const GgufTensor* tensor = find(name)) return *tensor;
  std::vector<std::string> names;
  for (const GgufTensor& tensor : tensors_) names.push_back(tensor.name.substr(0, 200));
  std::string near = nearest(name, names);
  throw Error(ErrorKind::model, str("has no tensor ", shown_name(name)), file_,
              near.empty() ? "" : str("the nearest name is ", shown_name(near)));
}

}  // namespace compress::storage
