// Products that skip zeros (src/nn/kernels/sparse.h) beside our own dense ones, on one thread.
//
//   cmake --build build/release --target sparse_kernels
//   build/release/bin/sparse_kernels [--benchmark_filter=384x1536] [--quick]
//
// Both sides begin with rows as the pass that quantises leaves them, and end with finished rows.
// Blocks of four lie at random places, the same number in all. A line a shape, rows and density:
// the least CPU time of several rounds in microseconds, dense and sparse, how many times faster,
// and what part of the dense kernel's multiplications per cycle the sparse one reaches.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "compress/base/cpu.h"
#include "products/panels.h"
#include "products/sparse.h"

namespace compress::nn {
namespace {

using sparse::Kind;

struct Case {
  Kind kind;
  int64_t inputs, outputs, rows;
  double density;  // 1: the dense kernel
};

const char* name(Kind kind) {
  switch (kind) {
    case Kind::bytes:
      return "bytes";
    case Kind::words:
      return "words";
    default:
      return "floats";
  }
}

std::string name(const Case& at, bool with_density = true) {
  char text[128];
  std::snprintf(text, sizeof text, "%s/%ldx%ld/rows:%ld", name(at.kind),
                static_cast<long>(at.inputs), static_cast<long>(at.outputs),
                static_cast<long>(at.rows));
  std::string all = text;
  if (with_density) {
    std::snprintf(text, sizeof text, "/density:%g", at.density);
    all += text;
  }
  return all;
}

// A weight of int8 values with `density` of its entries not zero, the same number in each span of
// rows; floats have single zeros.
std::vector<int8_t> weight(const Case& at) {
  std::mt19937 draw(7);
  const int64_t together = at.kind == Kind::floats ? 1 : 4;
  const int64_t entries = at.outputs * at.inputs / together;
  std::vector<int64_t> order(static_cast<size_t>(entries));
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), draw);
  order.resize(static_cast<size_t>(static_cast<double>(entries) * at.density));
  std::vector<int8_t> values(static_cast<size_t>(at.outputs * at.inputs), 0);
  std::uniform_int_distribution<int> value(1, 127);
  for (int64_t entry : order)
    for (int64_t i = 0; i < together; ++i)
      values[static_cast<size_t>(entry * together + i)] = static_cast<int8_t>(value(draw));
  return values;
}

// A dense weight in panels (panels.h).
template <class T>
std::vector<T> panels_of(const std::vector<int8_t>& values, const Case& at, int64_t together) {
  std::vector<T> to(values.size());
  for (int64_t o = 0; o < at.outputs; ++o)
    for (int64_t i = 0; i < at.inputs; ++i) {
      const int64_t panel = o / panels::width, c = o % panels::width;
      to[static_cast<size_t>(panel * at.inputs * panels::width +
                             (i / together * panels::width + c) * together + i % together)] =
          static_cast<T>(values[static_cast<size_t>(o * at.inputs + i)]);
    }
  return to;
}

struct Rows {
  std::vector<int8_t> integers;
  std::vector<int16_t> words;
  std::vector<float> floats, scales, y;
  explicit Rows(const Case& at)
      : integers(static_cast<size_t>(at.rows * at.inputs)),
        scales(static_cast<size_t>(at.rows), 0.01f),
        y(static_cast<size_t>(at.rows * at.outputs)) {
    std::mt19937 draw(8);
    std::uniform_int_distribution<int> value(-128, 127);
    for (int8_t& x : integers) x = static_cast<int8_t>(value(draw));
    words.assign(integers.begin(), integers.end());
    floats.assign(integers.begin(), integers.end());
  }
};

struct Fixed {
  std::vector<float> scales, bias;
  std::vector<int32_t> offsets;
  explicit Fixed(const Case& at)
      : scales(static_cast<size_t>(at.outputs), 0.01f),
        bias(static_cast<size_t>(at.outputs), 0.5f),
        offsets(static_cast<size_t>(at.outputs), 3) {}
};

panels::Task task_of(const Case& at, const Rows& rows, const Fixed& fixed, int64_t first,
                     int64_t count, int64_t panel, float* y) {
  panels::Task task;
  const int64_t column = panel * panels::width;
  task.rows = count;
  task.columns = panels::width;
  task.bias = fixed.bias.data() + column;
  task.y = y + first * at.outputs + column;
  task.y_stride = at.outputs;
  if (at.kind != Kind::floats) {
    task.row_scales = rows.scales.data() + first;
    task.scales = fixed.scales.data() + column;
    if (at.kind == Kind::bytes) task.offsets = fixed.offsets.data() + column;
  }
  return task;
}

void dense(benchmark::State& state, const Case& at) {
  const std::vector<int8_t> values = weight(at);
  const auto floats =
      at.kind == Kind::floats ? panels_of<float>(values, at, 1) : std::vector<float>();
  const auto bytes =
      at.kind == Kind::bytes ? panels_of<int8_t>(values, at, 4) : std::vector<int8_t>();
  const auto words =
      at.kind == Kind::words ? panels_of<int16_t>(values, at, 2) : std::vector<int16_t>();
  Rows rows(at);
  const Fixed fixed(at);
  std::vector<int8_t> flipped(rows.integers.size() +
                              static_cast<size_t>(panels::rows_a_tile * at.inputs));
  for (auto _ : state) {
    constexpr int64_t a_chunk = 96;
    const int64_t chunks = (at.rows + a_chunk - 1) / a_chunk;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      const int64_t first = chunk * at.rows / chunks,
                    count = (chunk + 1) * at.rows / chunks - first;
      if (at.kind == Kind::bytes)
        for (int64_t i = first * at.inputs; i < (first + count) * at.inputs; ++i)
          flipped[static_cast<size_t>(i)] =
              static_cast<int8_t>(rows.integers[static_cast<size_t>(i)] ^ -128);
      const panels::Tiles tiles(at.kind == Kind::bytes ? count : 0);
      for (int64_t panel = 0; panel < at.outputs / panels::width; ++panel) {
        panels::Task task = task_of(at, rows, fixed, first, count, panel, rows.y.data());
        task.tiles = tiles.in_use();
        task.x_stride = at.inputs;
        const int64_t begin = panel * at.inputs * panels::width;
        switch (at.kind) {
          case Kind::bytes:
            task.depth = at.inputs / 4;
            task.x = flipped.data() + first * at.inputs;
            task.weight = bytes.data() + begin;
            panels::multiply_bytes(task);
            break;
          case Kind::words:
            task.depth = at.inputs / 2;
            task.x = rows.words.data() + first * at.inputs;
            task.weight = words.data() + begin;
            panels::multiply_words(task);
            break;
          default:
            task.depth = at.inputs;
            task.x = rows.floats.data() + first * at.inputs;
            task.weight = floats.data() + begin;
            panels::multiply_float(task);
        }
      }
    }
    benchmark::DoNotOptimize(rows.y.data());
  }
}

void sparse_product(benchmark::State& state, const Case& at) {
  const std::vector<int8_t> values = weight(at);
  sparse::Matrix matrix;
  if (at.kind == Kind::floats)
    matrix = sparse::from_floats(std::vector<float>(values.begin(), values.end()).data(),
                                 at.outputs, at.inputs);
  else
    matrix = sparse::from_integers(values.data(), at.outputs, at.inputs, at.kind);
  Rows rows(at);
  const Fixed fixed(at);
  const int64_t a_chunk = sparse::most_rows();
  struct alignas(64) Line {
    uint32_t numbers[16];
  };
  std::vector<Line> memory(
      static_cast<size_t>(sparse::packed_size(at.kind, at.inputs, a_chunk) / 16 + 1)),
      more(static_cast<size_t>(2 * panels::width * a_chunk / 16 + 1));
  uint32_t* packed = memory.data()->numbers;
  uint32_t* sums = more.data()->numbers;
  for (auto _ : state) {
    const int64_t chunks = (at.rows + a_chunk - 1) / a_chunk;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      const int64_t first = chunk * at.rows / chunks,
                    count = (chunk + 1) * at.rows / chunks - first;
      const int64_t begin = first * at.inputs;
      switch (at.kind) {
        case Kind::bytes:
          sparse::pack_bytes(rows.integers.data() + begin, count, at.inputs, at.inputs, packed);
          break;
        case Kind::words:
          sparse::pack_words(rows.words.data() + begin, count, at.inputs, at.inputs, packed);
          break;
        default:
          sparse::pack_floats(rows.floats.data() + begin, count, at.inputs, at.inputs, packed);
      }
      for (int64_t panel = 0; panel < at.outputs / panels::width; ++panel) {
        panels::Task task = task_of(at, rows, fixed, first, count, panel, rows.y.data());
        task.x = packed;
        sparse::multiply(matrix, panel, task, sums);
      }
    }
    benchmark::DoNotOptimize(rows.y.data());
  }
}

// Keeps the least time of each.
class Least : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      if (run.run_type != Run::RT_Iteration || run.error_occurred) continue;
      const std::string key = run.run_name.function_name;
      const double here = run.GetAdjustedCPUTime();
      auto [at, fresh] = times.try_emplace(key, here);
      if (!fresh) at->second = std::min(at->second, here);
    }
  }
  std::map<std::string, double> times;
};

int run(int argc, char** argv) {
  cpu::limit_from_environment();
  std::vector<Kind> kinds = {Kind::floats};
  if (panels::has_words()) kinds.push_back(Kind::words);
  if (panels::has_bytes()) kinds.push_back(Kind::bytes);
  std::vector<char*> words(argv, argv + argc);
  const auto quick = std::find_if(words.begin(), words.end(),
                                  [](const char* w) { return std::strcmp(w, "--quick") == 0; });
  const bool is_quick = quick != words.end();
  if (is_quick) words.erase(quick);
  int count = static_cast<int>(words.size());
  benchmark::Initialize(&count, words.data());
  std::vector<Case> all;
  for (Kind kind : kinds)
    for (auto [inputs, outputs] :
         {std::pair<int64_t, int64_t>{384, 384}, {384, 1536}, {1536, 384}, {768, 3072}})
      for (int64_t rows : {12, 20, 30, 640})
        for (double density : {1.0, 0.3, 0.2, 0.1, 0.05}) {
          const Case at{kind, inputs, outputs, rows, density};
          all.push_back(at);
          benchmark::RegisterBenchmark(name(at).c_str(),
                                       [at](benchmark::State& state) {
                                         at.density < 1 ? sparse_product(state, at)
                                                        : dense(state, at);
                                       })
              ->Unit(benchmark::kMicrosecond)
              ->MinTime(is_quick ? 0.003 : 0.02)
              ->Repetitions(is_quick ? 3 : 5);
        }
  Least least;
  benchmark::RunSpecifiedBenchmarks(&least);
  std::printf("kernels use %s\n%-28s %9s", cpu::name(cpu::set()), "us (times faster)", "dense");
  for (const char* density : {"30%", "20%", "10%", "5%"}) std::printf("  %16s", density);
  for (const Case& at : all) {
    const auto found = least.times.find(name(at));
    if (found == least.times.end()) continue;
    if (at.density == 1) {
      std::printf("\n%-28s %9.1f", name(at, false).c_str(), found->second);
      continue;
    }
    Case beside = at;
    beside.density = 1;
    const auto full = least.times.find(name(beside));
    if (full != least.times.end())
      std::printf("  %9.1f (%4.2f)", found->second, full->second / found->second);
  }
  std::printf("\n");
  return 0;
}

}  // namespace
}  // namespace compress::nn

int main(int argc, char** argv) {
  return compress::nn::run(argc, argv);
}
