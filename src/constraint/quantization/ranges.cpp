// Ranges and rounding that need no training.

#include <algorithm>
#include <limits>

#include "compress/constraint/calibration.h"

namespace compress::constraint {

namespace {

using torch::Tensor;

// |x| -> int8 -> |x|, for magnitudes x and ranges (columns).
Tensor through_int8(const Tensor& x, const Tensor& range) {
  const Tensor scale = range / 127.5;
  return (x / scale).clamp(0, 127).round().mul(scale);
}

}  // namespace

double percentile_range(const Tensor& counts, double most, double percent) {
  const Tensor sums = counts.cumsum(0).contiguous();
  const auto* sum = sums.const_data_ptr<double>();
  const int64_t n = sums.numel();
  const double wanted = sum[n - 1] * percent / 100;
  const auto bin = std::lower_bound(sum, sum + n, wanted) - sum;
  return most * static_cast<double>(std::min<int64_t>(bin + 1, n)) / static_cast<double>(n);
}

double mse_range(const Tensor& counts, double most) {
  const int64_t n = counts.numel();
  const Tensor middles =
      (torch::arange(n, torch::kFloat64) + 0.5) * (most / static_cast<double>(n));
  const Tensor ranges = torch::arange(1, 129, torch::kFloat64).mul(most / 128).unsqueeze(1);
  const Tensor errors =
      (through_int8(middles.unsqueeze(0), ranges) - middles).square().mul(counts).sum({1});
  return ranges[errors.argmin()].item<double>();
}

void clip_to_mse(Tensor& weight, Granularity granularity) {
  torch::NoGradGuard no_grad;
  const Tensor most =
      largest_magnitudes(weight, granularity).clamp_min(std::numeric_limits<float>::min());
  const Tensor magnitude = weight.abs();
  Tensor best, range = most;
  for (int percent = 100; percent >= 50; --percent) {
    const Tensor tried = most * (percent / 100.0);
    const Tensor squares = (through_int8(magnitude, tried) - magnitude).square();
    const Tensor error = granularity == Granularity::channel ? squares.sum({1}, true)
                                                             : squares.sum().reshape({1, 1});
    if (!best.defined()) {
      best = error;
      continue;
    }
    const Tensor nearer = error < best;
    best = torch::where(nearer, error, best);
    range = torch::where(nearer, tried, range);
  }
  weight.copy_(torch::maximum(torch::minimum(weight, range), -range));
}

void round_by_moments(Tensor& weight, const Tensor& moments, Granularity granularity) {
  torch::NoGradGuard no_grad;
  const Tensor most = largest_magnitudes(weight, granularity);
  const Tensor scale = scale_of_largest(most).to(torch::kFloat64).expand({weight.size(0), 1});
  Tensor h = moments.to(torch::kFloat64).clone();
  const Tensor diagonal = h.diagonal();
  // An input that was never anything but 0 decides nothing, and its weights are rounded as they
  // are.
  diagonal.masked_fill_(diagonal == 0, 1);
  diagonal.add_(0.01 * diagonal.mean());
  const Tensor factor =
      at::linalg_cholesky(at::cholesky_inverse(at::linalg_cholesky(h)), /*upper=*/true);

  const Tensor kept = weight.abs() == most;  // the largest: the scale stays theirs
  const Tensor zero = weight == 0;
  Tensor left = weight.to(torch::kFloat64).clone();
  for (int64_t column = 0; column < left.size(1); ++column) {
    const Tensor w = left.select(1, column).unsqueeze(1);
    const Tensor latent = weight.select(1, column).unsqueeze(1);
    const Tensor own = kept.select(1, column).unsqueeze(1);
    Tensor q = (w / scale).round().clamp(-127, 127);
    q.masked_fill_(zero.select(1, column).unsqueeze(1), 0);
    q = torch::where(own, (latent / scale).clamp(-128, 127).round(), q).mul(scale);
    latent.copy_(torch::where(own, latent.to(torch::kFloat64), q));
    if (column + 1 == left.size(1)) break;
    const Tensor error = (w - q) / factor[column][column];
    left.slice(1, column + 1).sub_(error * factor[column].slice(0, column + 1));
  }
}

}  // namespace compress::constraint
