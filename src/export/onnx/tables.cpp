// Embeddings as operators. A table that the quantization holds is stored as its integers and their
// scales, and what is gathered becomes float32:
//   int8: an int8 [rows, width] and float32 scales [rows];
//   int4: a uint8 [rows, width / 2], whose byte j has the integers j (low half) and j + width / 2
//         (high half), 8 higher each, and float32 scales [rows, groups]. The type int4 of newer
//         operator sets has no Gather; this is any runtime's arithmetic and as small. Rows of an
//         odd number of integers lie as int8.

#include "onnx/lowering.h"

namespace compress::exports::onnx {

using nn::Parameter;
using torch::Tensor;

namespace {

constexpr int64_t half_zero = 8;  // added to int4 numbers that lie in half a byte

bool in_halves(const constraint::RowGrid& grid, const Parameter& table) {
  return grid.bits == 4 && table.latent.size(1) % 2 == 0;
}

std::vector<int64_t> last_of(int64_t rank, std::vector<int64_t> sizes) {
  std::vector<int64_t> shape(static_cast<size_t>(rank) - 1, 0);  // 0: as it is
  shape.insert(shape.end(), sizes.begin(), sizes.end());
  return shape;
}

}  // namespace

std::string Layers::table_values(const Parameter& table) {
  const int64_t rows = table.latent.size(0), width = table.latent.size(1);
  if (!in_halves(grid_, table))
    return graph_.weight({table.name, torch::kInt8, {rows, width}, [&source = source_, &table] {
                            return table_integers(source, table).values;
                          }});
  const int64_t half = width / 2;
  return graph_.weight({table.name, torch::kUInt8, {rows, half}, [&source = source_, &table, half] {
                          const Tensor bytes =
                              (table_integers(source, table).values + half_zero).to(torch::kUInt8);
                          return bytes.narrow(1, 0, half) + bytes.narrow(1, half, half) * 16;
                        }});
}

std::string Layers::table_steps(const Parameter& table) {
  const int64_t rows = table.latent.size(0);
  const std::vector<int64_t> shape =
      grid_.bits == 8 ? std::vector<int64_t>{rows}
                      : std::vector<int64_t>{rows, table.latent.size(1) / grid_.group};
  return graph_.weight(
      {table.name + "_scale", torch::kFloat32, shape, [&source = source_, &table, shape] {
         return table_integers(source, table).scale.cpu().reshape(shape);
       }});
}

std::string Layers::dequantized(const std::string& values, const std::string& steps) {
  return graph_.op("Mul",
                   {graph_.op("Cast", {values}, {{"to", type_number(torch::kFloat32)}}), steps});
}

// Integers of int4, in halves of bytes or apart, and the scales of their groups.
std::string Layers::grouped(const std::string& values, const std::string& steps, int64_t rank,
                            int64_t width) {
  std::string x = graph_.op("Cast", {values}, {{"to", type_number(torch::kFloat32)}});
  if (width % 2 == 0) {
    const std::string high = graph_.op("Floor", {graph_.op("Mul", {x, graph_.real(1.0 / 16)})});
    const std::string low = graph_.op("Sub", {x, graph_.op("Mul", {high, graph_.real(16)})});
    x = graph_.op("Concat", {low, high}, {{"axis", rank - 1}});
    x = graph_.op("Sub", {x, graph_.real(half_zero)});
  }
  x = graph_.op("Reshape", {x, graph_.whole(last_of(rank, {width / grid_.group, grid_.group}))});
  x = graph_.op("Mul", {x, graph_.op("Unsqueeze", {steps, graph_.whole({-1})})});
  return graph_.op("Reshape", {x, graph_.whole(last_of(rank, {width}))});
}

std::string Layers::picked(const std::string& name, int64_t rank, const Pick& pick) {
  const Parameter& table = parameter(name);
  auto by_rows = [&](const std::string& steps) {
    return graph_.op("Unsqueeze", {pick(steps), graph_.whole({-1})});
  };
  if (tables_.contains(name)) {
    const std::string values = pick(table_values(table)), steps = table_steps(table);
    return grid_.bits == 8 ? dequantized(values, by_rows(steps))
                           : grouped(values, pick(steps), rank, table.latent.size(1));
  }
  if (!table.steps.defined()) return pick(plain(name));
  const std::string values = pick(integers(table, false));
  return dequantized(values, table.steps.dim() != 2 ? steps(table) : by_rows(steps(table)));
}

std::string Layers::rows(const std::string& table, const std::string& ids) {
  return picked(table, 3, [&](const std::string& stored) {
    return graph_.op("Gather", {stored, ids}, {{"axis", int64_t{0}}});
  });
}

std::string Layers::first_rows(const std::string& table, int64_t first, const std::string& count) {
  const std::string begin = graph_.whole({first}), axis = graph_.whole({0});
  const std::string end = first == 0 ? count : graph_.op("Add", {count, begin});
  return picked(table, 2, [&](const std::string& stored) {
    return graph_.op("Slice", {stored, begin, end, axis});
  });
}

std::string Layers::tied(const std::string& x, const std::string& name) {
  const Parameter& table = parameter(name);
  const bool held = tables_.contains(name);
  std::string values;
  if (held && grid_.bits == 8) {
    values = graph_.op("DequantizeLinear", {table_values(table), table_steps(table)},
                       {{"axis", int64_t{0}}});
  } else if (held) {
    values = picked(name, 2, [](const std::string& stored) { return stored; });
  } else if (table.steps.defined()) {
    std::vector<Attribute> by_rows;
    if (table.steps.dim() == 2) by_rows.push_back({"axis", int64_t{0}});
    values = graph_.op("DequantizeLinear", {integers(table, false), steps(table)}, by_rows);
  } else {
    values = plain(name);
  }
  return graph_.op("MatMul",
                   {x, graph_.op("Transpose", {values}, {{"perm", std::vector<int64_t>{1, 0}}})});
}

}  // namespace compress::exports::onnx
