#include "compress/nn/packed.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "compress/base/cpu.h"
#include "products/panels.h"
#include "products/sparse.h"

namespace compress::nn {

namespace {

using torch::Tensor;

constexpr int64_t bytes_apart = panels::quad * panels::stride_quads;  // multiples of rows of int8
constexpr int64_t rows_that_stay = 96;   // in a core's cache while panels pass
constexpr int64_t rows_that_widen = 12;  // up to so many, a kernel widens bf16 as it goes
constexpr int64_t task_work = 1 << 19;   // multiplications that are worth another thread (float32)
constexpr int64_t rows_of_weights = 12;  // as many take as long as reading the weights does

int64_t panels_of(int64_t outputs) {
  return (outputs + panels::width - 1) / panels::width;
}
int64_t rounded_up(int64_t inputs, int64_t together) {
  return (inputs + together - 1) / together * together;
}

constexpr int64_t most_integers = 1 << 16;  // inputs whose products' sum fits into 32 bits

// The int8 multiples of `step` that a row is; false when it is not.
bool to_integers(const float* row, int64_t count, float step, int8_t* out) {
  constexpr float rounder = 12582912.0f;  // 1.5 * 2^23: adding and taking it away rounds
  int wrong = 0;
  for (int64_t i = 0; i < count; ++i) {
    const float whole = (row[i] / step + rounder) - rounder;
    wrong |= static_cast<int>(!(whole * step == row[i])) | static_cast<int>(!(whole >= -128.0f)) |
             static_cast<int>(!(whole <= 127.0f));
    out[i] = static_cast<int8_t>(wrong != 0 ? 0.0f : whole);
  }
  return wrong == 0;
}

// Whether every weight is the same in bf16.
bool fits_halves(const Tensor& weight) {
  constexpr int64_t some = 4096;
  const float* from = weight.const_data_ptr<float>();
  for (int64_t at = 0; at < weight.numel(); at += some) {
    uint32_t low = 0;
    for (int64_t i = at; i < std::min(weight.numel(), at + some); ++i) {
      uint32_t bits;
      std::memcpy(&bits, from + i, sizeof bits);
      low |= bits & 0xFFFFu;
    }
    if (low != 0) return false;
  }
  return true;
}

// A panel of `count` rows of `inputs` weights.
void pack_floats(const float* from, int64_t inputs, int64_t count, float* to) {
  for (int64_t i = 0; i < inputs; ++i)
    for (int64_t c = 0; c < count; ++c) to[i * panels::width + c] = from[c * inputs + i];
}
void pack_pairs(const float* from, int64_t inputs, int64_t count, panels::Pair* to) {
  for (int64_t i = 0; i < inputs; ++i)
    for (int64_t c = 0; c < count; ++c) {
      uint32_t bits;
      std::memcpy(&bits, from + c * inputs + i, sizeof bits);
      to[i * panels::pairs + c % panels::pairs] |= c < panels::pairs ? bits >> 16 : bits;
    }
}

// What a thread needs: rows as integers, and a panel of bf16 as floats; grown as needed.
struct Workspace {
  std::vector<int8_t> integers;
  std::vector<int16_t> words;
  std::vector<float> floats, scales, panel;
};

}  // namespace

std::vector<IntegerProducts> available_integer_products() {
  std::vector<IntegerProducts> all = {IntegerProducts::floats};
  if (panels::has_words()) all.insert(all.begin(), IntegerProducts::words);
  if (panels::has_bytes()) all.insert(all.begin(), IntegerProducts::bytes);
  return all;
}

IntegerProducts integer_products() {
  return available_integer_products().front();
}

const char* name(IntegerProducts products) {
  switch (products) {
    case IntegerProducts::bytes:
      return "bytes";
    case IntegerProducts::words:
      return "words";
    default:
      return "floats";
  }
}

std::string instructions(IntegerProducts products) {
  switch (products) {
    case IntegerProducts::bytes:
      return panels::bytes_by();
    case IntegerProducts::words:
      return std::string("16-bit words by ") + cpu::name(cpu::float_set());
    default:
      return "as float32";
  }
}

PackedWeight::PackedWeight(const Tensor& weight, const Tensor& steps, InputTransform* input,
                           IntegerProducts integers, Zeros zeros)
    : out_(weight.size(0)),
      in_(weight.size(1)),
      panels_(panels_of(out_)),
      input_(input),
      zeros_(zeros) {
  torch::NoGradGuard no_grad;
  const Tensor w = weight.detach().contiguous();
  count_zeros(w);
  if (input != nullptr && input->integers() != nullptr) zero_ = input->integers()->zero();
  if (input != nullptr && input->integers() != nullptr && steps.defined())
    form_ = integers == IntegerProducts::floats || in_ > most_integers ? Form::whole_floats
            : integers == IntegerProducts::bytes                       ? Form::bytes
                                                                       : Form::words;
  if (form_ != Form::floats && !pack_integers(w, steps)) form_ = Form::floats;
  if (form_ == Form::floats && !pack_sparse(w)) pack(w);
}

void PackedWeight::pack(const Tensor& weight) {
  halves_ = fits_halves(weight);
  values_ = halves_ ? torch::zeros({panels_, in_, panels::pairs}, torch::kInt32)
                    : torch::zeros({panels_, in_, panels::width});
  const float* from = weight.const_data_ptr<float>();
  at::parallel_for(0, panels_, 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const int64_t first = p * panels::width, count = std::min(panels::width, out_ - first);
      if (halves_)
        pack_pairs(
            from + first * in_, in_, count,
            static_cast<panels::Pair*>(values_.mutable_data_ptr()) + p * in_ * panels::pairs);
      else
        pack_floats(from + first * in_, in_, count,
                    values_.mutable_data_ptr<float>() + p * in_ * panels::width);
    }
  });
}

bool PackedWeight::pack_integers(const Tensor& weight, const Tensor& steps) {
  const Tensor each = steps.detach().to(torch::kCPU, torch::kFloat32).expand({out_}).contiguous();
  Tensor integers = torch::empty({out_, in_}, torch::kInt8);
  const float* step = each.const_data_ptr<float>();
  const float* from = weight.const_data_ptr<float>();
  auto* q = integers.mutable_data_ptr<int8_t>();
  for (int64_t row = 0; row < out_; ++row)
    if (!to_integers(from + row * in_, in_, step[row], q + row * in_)) return false;
  scales_ = torch::zeros({panels_ * panels::width});
  scales_.narrow(0, 0, out_).copy_(each);
  if (form_ == Form::whole_floats) {
    pack(integers.to(torch::kFloat32));
    return true;
  }
  if (pack_sparse(q)) return true;
  if (form_ == Form::bytes)
    pack_bytes(q);
  else
    pack_words(q);
  return true;
}

void PackedWeight::pack_bytes(const int8_t* values) {
  const int64_t panel = rounded_up(in_, bytes_apart) * panels::width;
  values_ = torch::zeros({panels_, panel}, torch::kInt8);
  auto* to = values_.mutable_data_ptr<int8_t>();
  for (int64_t row = 0; row < out_; ++row) {
    int8_t* base = to + row / panels::width * panel + row % panels::width * panels::quad;
    for (int64_t i = 0; i < in_; ++i)
      base[i / panels::quad * panels::quad * panels::width + i % panels::quad] =
          values[row * in_ + i];
  }
  sum_offsets(values);
}

void PackedWeight::sum_offsets(const int8_t* values) {
  offsets_ = torch::zeros({panels_ * panels::width}, torch::kInt32);
  auto* offset = offsets_.mutable_data_ptr<int32_t>();
  for (int64_t row = 0; row < out_; ++row)
    offset[row] = (panels::zero_point + zero_) *
                  std::accumulate(values + row * in_, values + (row + 1) * in_, int32_t{0});
}

void PackedWeight::pack_words(const int8_t* values) {
  const int64_t panel = rounded_up(in_, panels::couple) * panels::width;
  values_ = torch::zeros({panels_, panel}, torch::kInt16);
  auto* to = values_.mutable_data_ptr<int16_t>();
  for (int64_t row = 0; row < out_; ++row) {
    int16_t* base = to + row / panels::width * panel + row % panels::width * panels::couple;
    for (int64_t i = 0; i < in_; ++i)
      base[i / panels::couple * panels::couple * panels::width + i % panels::couple] =
          values[row * in_ + i];
  }
}

namespace {

// The multiples of a row's scale that the integers stand for.
template <class T>
void widen(const std::vector<int8_t>& integers, int32_t zero, std::vector<T>& out) {
  out.resize(integers.size());
  for (size_t i = 0; i < integers.size(); ++i) out[i] = static_cast<T>(integers[i] - zero);
}

// As a product of bytes wants them, with room for a multiple of `together`.
void offset_bytes(std::vector<int8_t>& integers, int64_t together) {
  for (int8_t& value : integers) value = static_cast<int8_t>(value ^ -panels::zero_point);  // + 128
  integers.resize(static_cast<size_t>(rounded_up(static_cast<int64_t>(integers.size()), together)));
}

// Rows as integers, `stride` apart, with their scales.
void round_rows(const IntegerRows& integers, const float* x, int64_t rows, int64_t width,
                int64_t stride, Workspace& work) {
  work.integers.resize(static_cast<size_t>(rows * stride));
  work.scales.resize(static_cast<size_t>(rows));
  integers.round(x, rows, width, work.integers.data(), stride, work.scales.data());
}

}  // namespace

// `wide` is memory for a panel.
void PackedWeight::multiply_floats(panels::Task& task, int64_t panel,
                                   std::vector<float>& wide) const {
  if (!halves_) {
    task.weight = values_.const_data_ptr<float>() + panel * in_ * panels::width;
    panels::multiply_float(task);
    return;
  }
  const auto* pairs =
      static_cast<const panels::Pair*>(values_.const_data_ptr()) + panel * in_ * panels::pairs;
  if (task.rows > rows_that_widen) {  // once for all passes over the panel
    wide.resize(std::max(wide.size(), static_cast<size_t>(in_ * panels::width)));
    panels::widen(pairs, in_, wide.data());
    task.weight = wide.data();
    panels::multiply_float(task);
    return;
  }
  task.weight = pairs;
  panels::multiply_bf16(task);
}

panels::Task PackedWeight::task_of(const Inputs& inputs, int64_t first, int64_t rows,
                                   int64_t column) const {
  panels::Task task;
  task.rows = rows;
  task.columns = std::min(panels::width, out_ - column);
  task.bias = inputs.bias != nullptr ? inputs.bias + column : nullptr;
  task.gelu = inputs.gelu;
  task.y = inputs.y + first * out_ + column;
  task.y_stride = out_;
  if (integers()) task.scales = scales_.const_data_ptr<float>() + column;
  if (form_ == Form::bytes) task.offsets = offsets_.const_data_ptr<int32_t>() + column;
  return task;
}

// Items are (chunk of rows, panel), panels first. A chunk's rows are rounded once for its panels.
void PackedWeight::run(const Inputs& inputs, int64_t begin, int64_t end) const {
  if (sparse_ != nullptr) return run_sparse(inputs, begin, end);
  thread_local Workspace work;
  const int64_t chunks = (inputs.rows + rows_that_stay - 1) / rows_that_stay;
  const int64_t together = form_ == Form::bytes ? bytes_apart : panels::couple;
  const int64_t stride = rounded_up(in_, together);
  const IntegerRows* integers = this->integers() ? input_->integers() : nullptr;
  const panels::Tiles tiles(form_ == Form::bytes ? inputs.rows / chunks : 0);
  int64_t ready = -1;
  for (int64_t item = begin; item < end; ++item) {
    const int64_t chunk = item / panels_, panel = item % panels_, column = panel * panels::width;
    const int64_t first = chunk * inputs.rows / chunks;
    const float* x = inputs.x + first * in_;
    panels::Task task = task_of(inputs, first, (chunk + 1) * inputs.rows / chunks - first, column);
    if (integers != nullptr && ready != chunk) {
      round_rows(*integers, x, task.rows, in_, stride, work);
      if (form_ == Form::bytes)
        offset_bytes(work.integers, tiles.in_use() ? panels::rows_a_tile * stride : 1);
      else if (form_ == Form::words)
        widen(work.integers, zero_, work.words);
      else
        widen(work.integers, zero_, work.floats);
      ready = chunk;
    }
    task.x_stride = integers != nullptr ? stride : in_;
    if (integers != nullptr) task.row_scales = work.scales.data();
    if (form_ == Form::bytes) {
      task.tiles = tiles.in_use();
      task.depth = rounded_up(in_, panels::quad) / panels::quad;
      task.x = work.integers.data();
      task.weight = values_.const_data_ptr<int8_t>() + panel * stride * panels::width;
      panels::multiply_bytes(task);
    } else if (form_ == Form::words) {
      task.depth = stride / panels::couple;
      task.x = work.words.data();
      task.weight = values_.const_data_ptr<int16_t>() + panel * stride * panels::width;
      panels::multiply_words(task);
    } else {
      task.depth = in_;
      task.x = integers != nullptr ? work.floats.data() : x;
      multiply_floats(task, panel, work.panel);
    }
  }
}

int64_t PackedWeight::rows_a_chunk() const {
  return sparse_ != nullptr ? sparse::most_rows() : rows_that_stay;
}
int64_t PackedWeight::filled_in_a_panel() const {
  return sparse_ != nullptr ? filled_ / panels_ : panels::width * in_;
}

Tensor PackedWeight::multiply(const Tensor& given, const RowInfo& rows, const Tensor& bias,
                              bool gelu) const {
  Tensor x = given;
  if (input_ != nullptr && !integers()) x = input_->apply(x, rows);
  x = x.contiguous();
  Tensor y = at::empty({x.size(0), out_}, x.options());
  if (y.numel() == 0) return y;
  const Inputs inputs{x.const_data_ptr<float>(), x.size(0),
                      bias.defined() ? bias.const_data_ptr<float>() : nullptr, gelu,
                      y.mutable_data_ptr<float>()};
  const int64_t some = rows_a_chunk(), chunks = (inputs.rows + some - 1) / some;
  const int64_t item = std::clamp(inputs.rows, rows_of_weights, some) * filled_in_a_panel();
  const int64_t worth = form_ == Form::bytes ? 4 * task_work : task_work;
  at::parallel_for(0, chunks * panels_, std::max<int64_t>(1, worth / std::max<int64_t>(1, item)),
                   [&](int64_t begin, int64_t end) { run(inputs, begin, end); });
  return y;
}

PackedWeights::PackedWeights(ParamTable& params, IntegerProducts integers, Zeros zeros)
    : params_(params) {
  auto fits = [](const Tensor& weight) {
    return weight.defined() && weight.is_cpu() && weight.scalar_type() == torch::kFloat32;
  };
  auto steps_of = [](const Parameter& parameter) {
    return parameter.steps.defined()
               ? parameter.steps.reshape({-1}).expand({parameter.latent.size(0)})
               : Tensor();
  };
  for (Fused& group : params.fused()) {
    if (!fits(group.effective) || group.effective.dim() != 2 || !group.one_input()) continue;
    std::vector<Tensor> steps;
    for (const Parameter* member : group.members)
      if (member->steps.defined()) steps.push_back(steps_of(*member).to(torch::kCPU));
    group.packed = std::make_shared<PackedWeight>(
        group.effective, steps.size() == group.members.size() ? torch::cat(steps) : Tensor(),
        group.members.front()->input, integers, zeros);
  }
  for (Parameter& parameter : params.list()) {
    const bool inside = parameter.fused != nullptr && parameter.fused->packed != nullptr;
    // The table of a tied output layer gets a gradient in every row.
    const bool table = parameter.role == Role::embedding && !parameter.row_gradient;
    if (inside || !(parameter.is_matrix() || table) || !fits(parameter.effective)) continue;
    parameter.packed = std::make_shared<PackedWeight>(parameter.effective, steps_of(parameter),
                                                      parameter.input, integers, zeros);
  }
}

PackedWeights::~PackedWeights() {
  for (Fused& group : params_.fused()) group.packed.reset();
  for (Parameter& parameter : params_.list()) parameter.packed.reset();
}

}  // namespace compress::nn
