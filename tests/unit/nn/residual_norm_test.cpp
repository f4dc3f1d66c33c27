#include <gtest/gtest.h>

#include "compress/nn/layers.h"
#include "kernels/norm_forward.h"
#include "support.h"

namespace compress::nn {
namespace {

using torch::Tensor;

struct Result {
  Tensor y, dx, d_residual, d_gain, d_bias;
};

struct Inputs {
  Tensor x, residual, gain, bias, upstream;
  Inputs(int64_t rows, int64_t width, torch::ScalarType type) {
    torch::manual_seed(7);
    x = torch::randn({rows, width}).to(type);
    residual = (torch::randn({rows, width}) * 2 + 1).to(type);
    gain = torch::rand({width}) + 0.5;
    bias = torch::randn({width});
    upstream = torch::randn({rows, width}).to(type);
  }
};

// `whole`: the fused pass; else its parts one after the other.
Result run(const Inputs& in, double p, bool whole) {
  ParamTable table;
  Norm norm;
  norm.weight = &table.add("norm.weight", Role::norm, 0, in.gain.clone());
  norm.bias = &table.add("norm.bias", Role::norm, 0, in.bias.clone());
  norm.eps = 1e-5;
  Tensor x = in.x.clone().requires_grad_(true), residual = in.residual.clone().requires_grad_(true);
  DropoutSeeds seeds(11, true);
  Tensor y;
  if (whole) {
    y = residual_norm(x, residual, norm, p, seeds);
  } else {
    Tensor dropped = dropout(x, p, seeds.next());
    y = norm(dropped.add(residual));
  }
  (y * in.upstream).sum().backward();
  return {y.detach(), x.grad(), residual.grad(), norm.weight->latent.grad(),
          norm.bias->latent.grad()};
}

// Relative to the largest value: a row of four near-equal numbers has a large gradient.
void expect_near(const Tensor& a, const Tensor& b, double tolerance, const char* what) {
  const double largest = std::max(1.0, b.abs().max().item<double>());
  EXPECT_LT((a - b).abs().max().item<double>(), tolerance * largest) << what;
}

TEST(ResidualNorm, EqualsItsParts) {
  for (int64_t width : {4, 64, 100, 312, 384}) {
    for (double p : {0.0, 0.1, 0.6}) {
      Inputs in(150, width, torch::kFloat32);
      Result whole = run(in, p, true), parts = run(in, p, false);
      expect_near(whole.y, parts.y, 1e-5, "y");
      expect_near(whole.dx, parts.dx, 1e-5, "dx");
      expect_near(whole.d_residual, parts.d_residual, 1e-5, "d_residual");
      expect_near(whole.d_gain, parts.d_gain, 1e-5, "d_gain");
      expect_near(whole.d_bias, parts.d_bias, 1e-5, "d_bias");
    }
  }
}

TEST(ResidualNorm, WidthsThatDoNotFitTakeTheParts) {
  Inputs in(5, 6, torch::kFloat32);
  Result whole = run(in, 0.3, true), parts = run(in, 0.3, false);
  EXPECT_TRUE(torch::equal(whole.y, parts.y));
}

// bf16 rounds its sum once instead of twice, so it lies nearer to the exact result.
TEST(ResidualNorm, Bf16IsAsGoodAsItsParts) {
  Inputs exact(80, 384, torch::kFloat32), rough(80, 384, torch::kBFloat16);
  exact.x = rough.x.to(torch::kFloat32);
  exact.residual = rough.residual.to(torch::kFloat32);
  exact.upstream = rough.upstream.to(torch::kFloat32);
  Result truth = run(exact, 0.1, true), whole = run(rough, 0.1, true),
         parts = run(rough, 0.1, false);
  auto error = [&](const Tensor& a, const Tensor& b) {
    return (a.to(torch::kFloat32) - b).abs().mean().item<double>();
  };
  EXPECT_LE(error(whole.y, truth.y), 1.05 * error(parts.y, truth.y));
  EXPECT_LE(error(whole.dx, truth.dx), 1.05 * error(parts.dx, truth.dx));
  EXPECT_LE(error(whole.d_residual, truth.d_residual),
            1.05 * error(parts.d_residual, truth.d_residual));
}

template <int lanes>
COMPRESS_INLINE void row_by_row_body(const NormTask& task, int64_t count,
                                     const ForwardRows<float>& rows, float* work) {
  for (int64_t r = 0; r < count; ++r) {
    const int64_t at = r * task.width;
    forward_row<lanes>(task, r, rows.x + at,
                       rows.residual != nullptr ? rows.residual + at : nullptr, rows.gain,
                       rows.bias, rows.sum + at, rows.y + at, rows.stats + 2 * r, work);
  }
}
COMPRESS_KERNEL(row_by_row,
                (const NormTask& task, int64_t count, const ForwardRows<float>& rows, float* work),
                (task, count, rows, work))
template <int lanes>
COMPRESS_INLINE void together_body(const NormTask& task, int64_t count,
                                   const ForwardRows<float>& rows) {
  forward_plain_rows<lanes>(task, 0, count, rows);
}
COMPRESS_KERNEL(together, (const NormTask& task, int64_t count, const ForwardRows<float>& rows),
                (task, count, rows))

TEST(ResidualNorm, SeveralRowsAtOnceGiveTheSameBits) {
  constexpr int64_t rows = 7;
  for (int64_t width : {16, 64, 384})
    for (bool rms : {false, true}) {
      const Inputs in(rows, width, torch::kFloat32);
      const NormTask task{width, 1e-5f, 0, 1, 0, 0, nullptr, rms};
      std::vector<Tensor> y, sum, stats;
      std::vector<float> work(static_cast<size_t>(2 * width));
      for (int which : {0, 1}) {
        y.push_back(torch::empty_like(in.x));
        sum.push_back(torch::empty_like(in.x));
        stats.push_back(torch::empty({rows, 2}));
        const ForwardRows<float> of{
            in.x.const_data_ptr<float>(),          in.residual.const_data_ptr<float>(),
            in.gain.const_data_ptr<float>(),       in.bias.const_data_ptr<float>(),
            sum.back().mutable_data_ptr<float>(),  y.back().mutable_data_ptr<float>(),
            stats.back().mutable_data_ptr<float>()};
        if (which == 0)
          row_by_row(task, rows, of, work.data());
        else
          together(task, rows, of);
      }
      EXPECT_TRUE(torch::equal(y[0], y[1])) << width << " " << rms;
      EXPECT_TRUE(torch::equal(sum[0], sum[1])) << width << " " << rms;
      EXPECT_TRUE(torch::equal(stats[0], stats[1])) << width << " " << rms;
    }
}

TEST(ResidualNorm, DoesNotDependOnTheNumberOfThreads) {
  Inputs in(333, 384, torch::kFloat32);
  const int before = at::get_num_threads();
  at::set_num_threads(4);
  Result many = run(in, 0.1, true);
  at::set_num_threads(1);
  Result one = run(in, 0.1, true);
  at::set_num_threads(before);
  EXPECT_TRUE(torch::equal(many.y, one.y));
  EXPECT_TRUE(torch::equal(many.dx, one.dx));
  EXPECT_TRUE(torch::equal(many.d_gain, one.d_gain));
}

TEST(ComputedRows, FewDistinctNumbersForBf16OnTheCpu) {
  EXPECT_EQ(computed_rows(801, Precision::float32, torch::kCPU), 801);
  EXPECT_EQ(computed_rows(801, Precision::bf16, torch::kCUDA), 801);
  EXPECT_EQ(computed_rows(800, Precision::bf16, torch::kCPU), 800);
  EXPECT_EQ(computed_rows(801, Precision::bf16, torch::kCPU), 832);
  EXPECT_EQ(computed_rows(9, Precision::bf16, torch::kCPU), 16);
}

TEST(Attention, RowsAfterTheLastTokenAreZero) {
  data::Batch batch = random_batch({3, 5});
  AttentionShape shape{2, 8, 0.35, 0.0};
  torch::manual_seed(2);
  Tensor qkv = torch::randn({16, 48});
  Tensor scores;
  for (bool packed : {true, false}) {
    Tensor x = qkv.clone().requires_grad_(true);
    DropoutSeeds seeds(1, false);
    Tensor y = attention(x, batch, shape, seeds, packed ? nullptr : &scores);
    ASSERT_EQ(y.size(0), 16);
    EXPECT_EQ(y.narrow(0, 8, 8).abs().max().item<float>(), 0);
    y.square().sum().backward();
    EXPECT_EQ(x.grad().narrow(0, 8, 8).abs().max().item<float>(), 0);
    EXPECT_GT(x.grad().narrow(0, 0, 8).abs().max().item<float>(), 0);
  }
}

}  // namespace
}  // namespace compress::nn
