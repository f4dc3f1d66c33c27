// Packed weights whose zeros are left out.

#include <algorithm>

#include "compress/base/cpu.h"
#include "compress/nn/packed.h"
#include "products/sparse.h"

namespace compress::nn {

namespace {

using torch::Tensor;

// Up to this part of weights (blocks) that are multiplied, leaving out the others is faster at
// every number of rows that was measured (bench/sparse_kernels.cpp, 12 to 640 rows, four shapes):
// the least density of those at which both took the same time. A table rather than a measurement
// at each start, so that a model is computed in the same way in every run.
double most_density(sparse::Kind kind) {
  const cpu::Set floats = cpu::float_set();
  const bool wide = floats == cpu::Set::avx512, plain = floats == cpu::Set::plain;
  switch (kind) {
    case sparse::Kind::floats:
      return plain ? 0.45 : wide ? 0.25 : 0.35;
    case sparse::Kind::words:
      return plain ? 0.5 : wide ? 0.35 : 0.4;
    default:  // dense tiles multiply eight times as much an instruction
      return cpu::set() == cpu::Set::amx ? 0.05 : 0.25;
  }
}

// Of `count` values from `from` on: how many are not 0, added to `filled`, and how many blocks of
// four have one, added to `blocks`.
void count_filled(const float* from, int64_t count, int64_t& filled, int64_t& blocks) {
  constexpr int64_t together = sparse::block;
  int64_t i = 0, all = 0, some = 0;
  for (; i + together <= count; i += together) {
    const int here = static_cast<int>(from[i] != 0.0f) + static_cast<int>(from[i + 1] != 0.0f) +
                     static_cast<int>(from[i + 2] != 0.0f) + static_cast<int>(from[i + 3] != 0.0f);
    all += here;
    some += static_cast<int>(here != 0);
  }
  if (i < count) {
    const int64_t before = all;
    for (; i < count; ++i) all += static_cast<int>(from[i] != 0.0f);
    some += static_cast<int>(all != before);
  }
  filled += all;
  blocks += some;
}

// 64 bytes of it begin where a line of the cache does.
class Memory {
 public:
  uint32_t* room(int64_t numbers) {
    lines_.resize(std::max(lines_.size(), static_cast<size_t>(numbers + 15) / 16));
    return lines_.data()->numbers;
  }

 private:
  struct alignas(64) Line {
    uint32_t numbers[16];
  };
  std::vector<Line> lines_;
};

// What a thread needs, grown as needed.
struct SparseWorkspace {
  std::vector<int8_t> integers;
  std::vector<int16_t> words;
  std::vector<float> scales;
  Memory packed, sums;
};

// Rows of x, quantised where the matrix is, as its kernel reads them.
const uint32_t* pack_rows(sparse::Kind kind, const IntegerRows* integers, int32_t zero,
                          const float* x, int64_t rows, int64_t inputs, SparseWorkspace& work) {
  uint32_t* to = work.packed.room(sparse::packed_size(kind, inputs, rows));
  if (kind == sparse::Kind::floats) {
    sparse::pack_floats(x, rows, inputs, inputs, to);
    return to;
  }
  work.integers.resize(static_cast<size_t>(rows * inputs));
  work.scales.resize(static_cast<size_t>(rows));
  integers->round(x, rows, inputs, work.integers.data(), inputs, work.scales.data());
  if (kind == sparse::Kind::bytes) {
    sparse::pack_bytes(work.integers.data(), rows, inputs, inputs, to);
    return to;
  }
  work.words.resize(work.integers.size());
  for (size_t i = 0; i < work.words.size(); ++i)
    work.words[i] = static_cast<int16_t>(work.integers[i] - zero);
  sparse::pack_words(work.words.data(), rows, inputs, inputs, to);
  return to;
}

// What `make` makes, where that is wanted of a matrix of which `filled` of `all` weights (blocks)
// are not zero; else null.
template <class Make>
std::shared_ptr<const sparse::Matrix> without_zeros(sparse::Kind kind, Zeros zeros, int64_t filled,
                                                    int64_t all, const Make& make) {
  if (zeros == Zeros::multiplied || !sparse::available(kind)) return nullptr;
  const bool always = zeros == Zeros::skipped;
  const double most = most_density(kind);
  if (!always && static_cast<double>(filled) > most * static_cast<double>(all)) return nullptr;
  sparse::Matrix made = make();
  if (!always && sparse::density(made) > most) return nullptr;
  return std::make_shared<const sparse::Matrix>(std::move(made));
}

}  // namespace

void PackedWeight::count_zeros(const Tensor& weight) {
  const float* from = weight.const_data_ptr<float>();
  for (int64_t row = 0; row < out_; ++row)
    count_filled(from + row * in_, in_, filled_, filled_blocks_);
}

bool PackedWeight::pack_sparse(const Tensor& weight) {
  if (weight.numel() == 0) return false;
  sparse_ = without_zeros(sparse::Kind::floats, zeros_, filled_, out_ * in_, [&] {
    return sparse::from_floats(weight.const_data_ptr<float>(), out_, in_);
  });
  return sparse_ != nullptr;
}

bool PackedWeight::pack_sparse(const int8_t* values) {
  const sparse::Kind kind = form_ == Form::bytes ? sparse::Kind::bytes : sparse::Kind::words;
  if (in_ % sparse::block != 0) return false;
  sparse_ = without_zeros(kind, zeros_, filled_blocks_, out_ * in_ / sparse::block,
                          [&] { return sparse::from_integers(values, out_, in_, kind); });
  if (sparse_ != nullptr && kind == sparse::Kind::bytes) sum_offsets(values);
  return sparse_ != nullptr;
}

// Items are those of run(), with other chunks.
void PackedWeight::run_sparse(const Inputs& inputs, int64_t begin, int64_t end) const {
  thread_local SparseWorkspace work;
  const sparse::Kind kind = sparse_->kind;
  const int64_t some = rows_a_chunk(), chunks = (inputs.rows + some - 1) / some;
  const IntegerRows* integers = this->integers() ? input_->integers() : nullptr;
  uint32_t* sums = work.sums.room(2 * panels::width * some);
  const uint32_t* x = nullptr;
  int64_t ready = -1;
  for (int64_t item = begin; item < end; ++item) {
    const int64_t chunk = item / panels_, panel = item % panels_, column = panel * panels::width;
    const int64_t first = chunk * inputs.rows / chunks;
    panels::Task task = task_of(inputs, first, (chunk + 1) * inputs.rows / chunks - first, column);
    if (ready != chunk) {
      x = pack_rows(kind, integers, zero_, inputs.x + first * in_, task.rows, in_, work);
      ready = chunk;
    }
    task.x = x;
    if (integers != nullptr) task.row_scales = work.scales.data();
    sparse::multiply(*sparse_, panel, task, sums);
  }
}

Kernel PackedWeight::kernel() const {
  Kernel found;
  const int64_t all = out_ * in_, zeros = all - filled_;
  const int64_t blocks = out_ * ((in_ + sparse::block - 1) / sparse::block);
  const int64_t in_blocks = std::min(zeros, (blocks - filled_blocks_) * sparse::block);
  found.density = all > 0 ? static_cast<double>(filled_) / static_cast<double>(all) : 1;
  found.pattern = zeros * 100 <= all ? "none" : in_blocks * 10 >= zeros * 9 ? "1 x 4" : "single";
  found.arithmetic = integers() ? "int8" : halves_ ? "float32 (stored as bf16)" : "float32";
  found.sparse = sparse();
  const bool bytes = form_ == Form::bytes, words = form_ == Form::words;
  found.instructions = sparse() && bytes ? (cpu::has_vnni() ? "AVX-512 VNNI" : "AVX-VNNI")
                       : bytes           ? instructions(IntegerProducts::bytes)
                       : words           ? instructions(IntegerProducts::words)
                                         : cpu::name(cpu::float_set());
  return found;
}

std::vector<NamedKernel> kernels(ParamTable& params) {
  std::vector<NamedKernel> all;
  const Fused* last = nullptr;
  for (const Parameter& parameter : params.list()) {
    const Fused* group = parameter.fused;
    if (group != nullptr && group->packed != nullptr) {
      if (group != last) {
        NamedKernel named{{}, 0, group->effective.size(1), group->packed->kernel()};
        for (const Parameter* member : group->members) {
          named.names.push_back(member->name);
          named.outputs += member->latent.size(0);
        }
        all.push_back(std::move(named));
      }
      last = group;
    } else if (parameter.packed != nullptr) {
      all.push_back({{parameter.name},
                     parameter.latent.size(0),
                     parameter.latent.size(1),
                     parameter.packed->kernel()});
    }
  }
  return all;
}

}  // namespace compress::nn
