#pragma once
// Products of panels against sums of integers, without LibTorch and gtest: compiled for other
// processors too and run under emulation (tests/emulated).

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "compress/base/cpu.h"
#include "products/bytes.h"
#include "products/panels.h"

namespace compress::nn::panels {

enum class Layout { floats, halves, words, bytes };

struct Product {
  std::string name;
  Layout layout;
  std::function<void(const Task&)> multiply;
  bool tiles = false;
};

// All that this processor can do, each set's own and what would be chosen.
inline std::vector<Product> products() {
  std::vector<Product> all = {{"floats", Layout::floats, multiply_float},
                              {"bf16", Layout::halves, multiply_bf16}};
  if (has_words()) all.push_back({"words", Layout::words, multiply_words});
  if (has_bytes()) all.push_back({"bytes", Layout::bytes, multiply_bytes});
#if defined(__x86_64__)
  if (cpu::has_vnni()) all.push_back({"vnni", Layout::bytes, bytes_by_vnni});
  if (cpu::set() == cpu::Set::amx) all.push_back({"tiles", Layout::bytes, bytes_by_tiles, true});
  for (cpu::Set set : cpu::available())
    if (set == cpu::Set::avxvnni && cpu::set() >= set)
      all.push_back({"avxvnni", Layout::bytes, bytes_by_avxvnni});
#elif defined(__aarch64__)
  all.push_back({"neon", Layout::bytes, bytes_by_neon});
  if (cpu::set() == cpu::Set::dotprod) all.push_back({"dotprod", Layout::bytes, bytes_by_dotprod});
#endif
  return all;
}

struct Case {
  int64_t rows, columns, inputs;
  bool extremes;  // only -128 and 127
};

// int8 values as they come from a small generator.
inline std::vector<int8_t> int8_values(int64_t count, bool extremes, uint32_t seed) {
  std::vector<int8_t> values;
  for (int64_t i = 0; i < count; ++i) {
    seed = seed * 1664525u + 1013904223u;
    const uint32_t bits = seed >> 24;
    values.push_back(
        static_cast<int8_t>(extremes ? (bits & 1u ? 127 : -128) : static_cast<int>(bits) - 128));
  }
  return values;
}

// `x` [rows][inputs] and `w` [columns][inputs] as a product wants them. What may be read beside
// them is anything in the inputs and zeros in the weights.
struct Operands {
  int64_t depth = 0, stride = 0;
  std::vector<float> x_floats, w_floats;
  std::vector<Pair> w_pairs;
  std::vector<int16_t> x_words, w_words;
  std::vector<int8_t> x_bytes, w_bytes;
  const void *x_data = nullptr, *w_data = nullptr;

  Operands(Layout layout, const Case& given, const std::vector<int8_t>& x,
           const std::vector<int8_t>& w) {
    const int64_t together = layout == Layout::bytes   ? quad * stride_quads
                             : layout == Layout::words ? couple
                                                       : 1;
    stride = (given.inputs + together - 1) / together * together;
    const auto rows =
        static_cast<size_t>((given.rows + rows_a_tile - 1) / rows_a_tile * rows_a_tile * stride);
    const auto panel = static_cast<size_t>(stride * width);
    const int64_t a_step = layout == Layout::bytes ? quad : layout == Layout::words ? couple : 1;
    depth = (given.inputs + a_step - 1) / a_step;
    x_floats.assign(rows, 7), x_words.assign(rows, 7), x_bytes.assign(rows, 7);
    w_floats.assign(panel, 0), w_words.assign(panel, 0), w_bytes.assign(panel, 0);
    w_pairs.assign(panel / 2, 0);
    for (int64_t r = 0; r < given.rows; ++r)
      for (int64_t i = 0; i < given.inputs; ++i) {
        const int8_t value = x[static_cast<size_t>(r * given.inputs + i)];
        const auto at = static_cast<size_t>(r * stride + i);
        x_floats[at] = value, x_words[at] = value;
        x_bytes[at] = static_cast<int8_t>(static_cast<uint8_t>(value + zero_point));
      }
    for (int64_t c = 0; c < given.columns; ++c)
      for (int64_t i = 0; i < given.inputs; ++i) {
        const int8_t value = w[static_cast<size_t>(c * given.inputs + i)];
        const auto at = static_cast<size_t>((i / a_step * width + c) * a_step + i % a_step);
        w_floats[at] = value, w_words[at] = value, w_bytes[at] = value;
        uint32_t bits;
        const float as_float = value;
        std::memcpy(&bits, &as_float, sizeof bits);
        w_pairs[static_cast<size_t>(i * pairs + c % pairs)] |= c < pairs ? bits >> 16 : bits;
      }
    switch (layout) {
      case Layout::floats:
        x_data = x_floats.data(), w_data = w_floats.data();
        break;
      case Layout::halves:
        x_data = x_floats.data(), w_data = w_pairs.data();
        break;
      case Layout::words:
        x_data = x_words.data(), w_data = w_words.data();
        break;
      case Layout::bytes:
        x_data = x_bytes.data(), w_data = w_bytes.data();
        break;
    }
  }
};

// What is wrong with the product; empty when nothing is. Scales are powers of two, so that one
// rounding is left where a sum and a bias meet, and results are the expected ones to the bit.
inline std::string fault(const Product& product, const Case& given) {
  const std::vector<int8_t> x = int8_values(given.rows * given.inputs, given.extremes, 1),
                            w = int8_values(given.columns * given.inputs, given.extremes, 2);
  const Operands operands(product.layout, given, x, w);
  std::vector<float> scales(width, 0), row_scales, bias, y;
  std::vector<int32_t> offsets(width, 0);
  for (int64_t c = 0; c < given.columns; ++c) {
    const auto at = static_cast<size_t>(c);
    scales[at] = std::ldexp(1.0f, static_cast<int>(c % 5) - 9);
    bias.push_back(static_cast<float>(c) - 3.25f);
    for (int64_t i = 0; i < given.inputs; ++i)
      offsets[at] += zero_point * w[static_cast<size_t>(c * given.inputs + i)];
  }
  for (int64_t r = 0; r < given.rows; ++r)
    row_scales.push_back(std::ldexp(1.0f, static_cast<int>(r % 3) - 6));
  const int64_t y_stride = given.columns + 3;
  y.assign(static_cast<size_t>(given.rows * y_stride), -77.0f);
  Task task;
  task.rows = given.rows, task.columns = given.columns;
  task.depth = operands.depth, task.x = operands.x_data, task.x_stride = operands.stride;
  task.weight = operands.w_data, task.row_scales = row_scales.data(), task.scales = scales.data();
  task.offsets = offsets.data(), task.bias = bias.data(), task.tiles = product.tiles;
  task.y = y.data(), task.y_stride = y_stride;
#if defined(__x86_64__)
  if (product.tiles) begin_tiles();
#endif
  product.multiply(task);
#if defined(__x86_64__)
  if (product.tiles) end_tiles();
#endif
  for (int64_t r = 0; r < given.rows; ++r)
    for (int64_t c = 0; c < y_stride; ++c) {
      float expected = -77.0f;  // beside the columns nothing is written
      if (c < given.columns) {
        int32_t sum = 0;
        for (int64_t i = 0; i < given.inputs; ++i)
          sum += x[static_cast<size_t>(r * given.inputs + i)] *
                 w[static_cast<size_t>(c * given.inputs + i)];
        expected = static_cast<float>(sum) * scales[static_cast<size_t>(c)] *
                       row_scales[static_cast<size_t>(r)] +
                   bias[static_cast<size_t>(c)];
      }
      const float found = y[static_cast<size_t>(r * y_stride + c)];
      if (found != expected)
        return product.name + ", " + std::to_string(given.rows) + " x " +
               std::to_string(given.columns) + " x " + std::to_string(given.inputs) + ": row " +
               std::to_string(r) + ", column " + std::to_string(c) + " is " +
               std::to_string(found) + ", not " + std::to_string(expected);
    }
  return "";
}

// Faults of all products of this processor.
inline std::vector<std::string> faults() {
  std::vector<std::string> found;
  for (const Product& product : products())
    for (bool extremes : {false, true})
      for (int64_t columns : {1, 31, 32})
        for (int64_t inputs : {1, 7, 64, 130, 384, 1000})
          for (int64_t rows : {1, 2, 3, 4, 5, 6, 7, 12, 13, 16, 17, 32, 33, 40}) {
            const std::string text = fault(product, {rows, columns, inputs, extremes});
            if (!text.empty()) found.push_back(text);
          }
  return found;
}

}  // namespace compress::nn::panels
