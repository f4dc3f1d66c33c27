// The messages of onnx.proto. Numbers are those of its fields.

#include <algorithm>
#include <limits>
#include <memory>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/strings.h"
#include "onnx/graph.h"
#include "onnx/wire.h"

namespace compress::exports::onnx {

namespace fs = std::filesystem;
using checkpoint::Planned;
using torch::Tensor;

namespace {

namespace model_field {
enum { ir = 1, producer = 2, graph = 7, opset_import = 8 };
}
namespace graph_field {
enum { node = 1, name = 2, weight = 5, input = 11, output = 12 };
}
namespace node_field {
enum { input = 1, output = 2, name = 3, op = 4, attribute = 5 };
}
namespace attribute_field {
enum { name = 1, real = 2, number = 3, numbers = 8, type = 20 };
}
namespace tensor_field {
enum { dims = 1, type = 2, name = 8, raw = 9, external = 13, location = 14 };
}
enum AttributeType { is_real = 1, is_number = 2, is_numbers = 7 };

constexpr uint64_t worth_a_place = 1024;  // bytes of a tensor that may lie outside
constexpr uint64_t alignment = 4096;      // of those there, so that readers can map them

uint64_t bytes_of(const Planned& weight) {
  uint64_t count = torch::elementSize(weight.type);
  for (const int64_t size : weight.shape) count *= static_cast<uint64_t>(size);
  return count;
}

Message attribute_message(const Attribute& attribute) {
  Message message;
  message.text(attribute_field::name, attribute.name);
  if (const auto* number = std::get_if<int64_t>(&attribute.value))
    message.number(attribute_field::number, *number).number(attribute_field::type, is_number);
  else if (const auto* real = std::get_if<float>(&attribute.value))
    message.real(attribute_field::real, *real).number(attribute_field::type, is_real);
  else
    message.number(attribute_field::type, is_numbers)
        .numbers(attribute_field::numbers, std::get<std::vector<int64_t>>(attribute.value));
  return message;
}

Message node_message(const Node& node) {
  Message message;
  for (const std::string& input : node.inputs) message.text(node_field::input, input);
  for (const std::string& output : node.outputs) message.text(node_field::output, output);
  message.text(node_field::name, node.outputs.front()).text(node_field::op, node.op);
  for (const Attribute& attribute : node.attributes)
    message.message(node_field::attribute, attribute_message(attribute));
  return message;
}

Message value_message(const Value& value) {
  Message shape;
  for (const Size& size : value.shape) {
    Message dimension;
    if (const auto* number = std::get_if<int64_t>(&size))
      dimension.number(1, *number);
    else
      dimension.text(2, std::get<std::string>(size));
    shape.message(1, dimension);
  }
  Message tensor, type;
  tensor.number(1, type_number(value.type)).message(2, shape);
  type.message(1, tensor);
  Message message;
  message.text(1, value.name).message(2, type);
  return message;
}

// Where a weight's bytes lie: in the message, or in the other file from `offset` on.
struct Place {
  bool outside = false;
  uint64_t offset = 0, size = 0;
};

std::vector<Place> places_of(const std::vector<Planned>& weights, uint64_t inside) {
  uint64_t all = 0, end = 0;
  for (const Planned& weight : weights) all += bytes_of(weight);
  std::vector<Place> places;
  for (const Planned& weight : weights) {
    Place place{all > inside && bytes_of(weight) >= worth_a_place, 0, bytes_of(weight)};
    if (place.outside) {
      place.offset = (end + alignment - 1) / alignment * alignment;
      end = place.offset + place.size;
    }
    places.push_back(place);
  }
  return places;
}

// A weight's message up to its bytes.
Message weight_message(const Planned& weight, const Place& place) {
  Message message;
  for (const int64_t size : weight.shape) message.number(tensor_field::dims, size);
  message.number(tensor_field::type, type_number(weight.type))
      .text(tensor_field::name, weight.name);
  if (!place.outside) return message.open(tensor_field::raw, place.size);
  for (const auto& [key, value] : {std::pair<const char*, std::string>{"location", data_name},
                                   {"offset", str(place.offset)},
                                   {"length", str(place.size)}}) {
    Message entry;
    entry.text(1, key).text(2, value);
    message.message(tensor_field::external, entry);
  }
  return message.number(tensor_field::location, 1);
}

void append_value(AtomicFile& file, const Planned& weight) {
  torch::NoGradGuard no_grad;
  Tensor value = weight.value();
  if (value.scalar_type() != weight.type || value.sizes() != weight.shape)
    throw Error(ErrorKind::internal, str("'", weight.name, "' is not what was announced"));
  value = value.detach().cpu();
  if (value.is_floating_point()) value = value + torch::zeros({}, value.options());  // -0 as 0
  value = value.contiguous();
  file.append({static_cast<const char*>(value.const_data_ptr()), value.nbytes()});
}

Message front_of(const Graph& graph) {
  Message front;
  for (const Node& node : graph.nodes()) front.message(graph_field::node, node_message(node));
  front.text(graph_field::name, "compress");
  for (const Value& value : graph.inputs()) front.message(graph_field::input, value_message(value));
  for (const Value& value : graph.outputs())
    front.message(graph_field::output, value_message(value));
  return front;
}

}  // namespace

void save(const Graph& graph, const fs::path& folder, uint64_t inside) {
  const std::vector<Planned>& weights = graph.weights();
  const std::vector<Place> places = places_of(weights, inside);
  const Message front = front_of(graph);
  std::vector<Message> heads;
  uint64_t size = front.size();
  for (size_t i = 0; i < weights.size(); ++i) {
    heads.push_back(weight_message(weights[i], places[i]));
    const uint64_t bytes = heads[i].size() + (places[i].outside ? 0 : places[i].size);
    size += opening_size(graph_field::weight, bytes) + bytes;
  }
  if (size > std::numeric_limits<int32_t>::max())
    throw Error(ErrorKind::internal, "the graph is larger than a message can be");
  make_folder(folder);
  Message model, operators;
  operators.text(1, "").number(2, opset);
  model.number(model_field::ir, ir_version)
      .text(model_field::producer, "compress")
      .message(model_field::opset_import, operators)
      .open(model_field::graph, size);
  AtomicFile file(folder / file_name);
  file.append(model.bytes());
  file.append(front.bytes());
  std::unique_ptr<AtomicFile> outside;
  for (size_t i = 0; i < weights.size(); ++i) {
    Message opening;
    opening.open(graph_field::weight, heads[i].size() + (places[i].outside ? 0 : places[i].size));
    file.append(opening.bytes());
    file.append(heads[i].bytes());
    if (!places[i].outside) {
      append_value(file, weights[i]);
      continue;
    }
    if (outside == nullptr) outside = std::make_unique<AtomicFile>(folder / data_name);
    outside->seek(places[i].offset);
    append_value(*outside, weights[i]);
  }
  if (outside != nullptr) outside->commit();
  file.commit();
}

namespace {

class Loader {
 public:
  explicit Loader(const fs::path& folder)
      : folder_(folder), where_((folder / file_name).string()) {}

  Read read() {
    const MappedFile& file = map(file_name);
    read_message({file.data(), file.size()}, where_, [this](const Field& field) {
      if (field.number == model_field::graph) read_graph(field.bytes);
      if (field.number == model_field::opset_import)
        read_message(field.bytes, where_, [this](const Field& part) {
          if (part.number == 2) result_.opset = part.value;
        });
    });
    return std::move(result_);
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(ErrorKind::model, what, where_, "it was not written by this program");
  }

  const MappedFile& map(const char* name) {
    return *files_.emplace_back(std::make_unique<MappedFile>(folder_ / name));
  }

  void read_graph(std::string_view bytes) {
    read_message(bytes, where_, [this](const Field& field) {
      if (field.number == graph_field::node) read_node(field.bytes);
      if (field.number == graph_field::weight) read_weight(field.bytes);
      if (field.number == graph_field::input) result_.inputs.push_back(name_of(field.bytes));
      if (field.number == graph_field::output) result_.outputs.push_back(name_of(field.bytes));
    });
  }

  std::string name_of(std::string_view value) const {
    std::string name;
    read_message(value, where_, [&](const Field& field) {
      if (field.number == 1) name = field.bytes;
    });
    return name;
  }

  void read_node(std::string_view bytes) {
    Node node;
    read_message(bytes, where_, [&](const Field& field) {
      if (field.number == node_field::input) node.inputs.emplace_back(field.bytes);
      if (field.number == node_field::output) node.outputs.emplace_back(field.bytes);
      if (field.number == node_field::op) node.op = field.bytes;
      if (field.number == node_field::attribute)
        node.attributes.push_back(read_attribute(field.bytes));
    });
    if (node.outputs.empty()) refuse("a node has no output");
    result_.nodes.push_back(std::move(node));
  }

  Attribute read_attribute(std::string_view bytes) const {
    Attribute attribute;
    int64_t type = 0, number = 0;
    float real = 0;
    std::vector<int64_t> numbers;
    read_message(bytes, where_, [&](const Field& field) {
      if (field.number == attribute_field::name) attribute.name = field.bytes;
      if (field.number == attribute_field::type) type = field.value;
      if (field.number == attribute_field::number) number = field.value;
      if (field.number == attribute_field::real) real = field.real;
      if (field.number == attribute_field::numbers) read_numbers(field, where_, numbers);
    });
    if (type == is_number)
      attribute.value = number;
    else if (type == is_real)
      attribute.value = real;
    else if (type == is_numbers)
      attribute.value = numbers;
    else
      refuse(str("the attribute '", attribute.name, "' is of a kind that is not known"));
    return attribute;
  }

  void read_weight(std::string_view bytes) {
    std::vector<int64_t> shape;
    int64_t type = 0;
    std::string name;
    std::string_view raw;
    std::map<std::string, std::string> external;
    read_message(bytes, where_, [&](const Field& field) {
      if (field.number == tensor_field::dims) read_numbers(field, where_, shape);
      if (field.number == tensor_field::type) type = field.value;
      if (field.number == tensor_field::name) name = field.bytes;
      if (field.number == tensor_field::raw) raw = field.bytes;
      if (field.number != tensor_field::external) return;
      std::string key, value;
      read_message(field.bytes, where_,
                   [&](const Field& part) { (part.number == 1 ? key : value) = part.bytes; });
      external[key] = value;
    });
    if (!external.empty()) raw = outside(external);
    const torch::ScalarType kind = type_of(type, where_);
    uint64_t count = torch::elementSize(kind);
    for (const int64_t size : shape) {
      if (size < 0 || (size > 0 && count > raw.size() / static_cast<uint64_t>(size)))
        refuse("the weight '" + name + "' has another size than its bytes");
      count *= static_cast<uint64_t>(size);
    }
    if (count != raw.size()) refuse("the weight '" + name + "' has another size than its bytes");
    // Messages do not align what they hold.
    Tensor tensor = torch::empty(shape, kind);
    if (count > 0) std::copy_n(raw.data(), count, static_cast<char*>(tensor.mutable_data_ptr()));
    result_.weights[name] = tensor;
  }

  std::string_view outside(const std::map<std::string, std::string>& entries) {
    auto number = [&](const char* key) {
      const auto found = entries.find(key);
      const std::string text = found == entries.end() ? "" : found->second;
      if (text.empty() || text.size() > 18 ||
          text.find_first_not_of("0123456789") != std::string::npos)
        refuse(str("a weight outside has no ", key));
      return static_cast<uint64_t>(std::stoull(text));
    };
    const auto location = entries.find("location");
    if (location == entries.end() || location->second != data_name)
      refuse("a weight lies in another file than " + std::string(data_name));
    if (outside_ == nullptr) outside_ = &map(data_name);
    const uint64_t offset = number("offset"), length = number("length");
    if (offset > outside_->size() || length > outside_->size() - offset)
      refuse("a weight lies outside of its file");
    return {outside_->data() + offset, length};
  }

  fs::path folder_;
  std::string where_;
  Read result_;
  std::vector<std::unique_ptr<MappedFile>> files_;
  const MappedFile* outside_ = nullptr;
};

}  // namespace

Read load(const fs::path& folder) {
  return Loader(folder).read();
}

}  // namespace compress::exports::onnx
