#include "compress/constraint/quantize.h"

#include "compress/base/error.h"
#include "quantization/kernels.h"

namespace compress::constraint {

namespace {

// scale = most / half_steps, or 2^-23 where that is 0.
torch::Tensor scale_from(const torch::Tensor& most, double half_steps) {
  // A division by a number would be turned into a product with its inverse on CUDA.
  torch::Tensor scale = most / torch::full_like(most, half_steps);
  return scale.masked_fill_(scale == 0, std::numeric_limits<float>::epsilon());
}

bool in_one_pass(const torch::Tensor& weight) {
  return weight.is_cpu() && weight.is_contiguous() && weight.scalar_type() == torch::kFloat32;
}

}  // namespace

Granularity parse_granularity(const std::string& name) {
  if (name == "channel") return Granularity::channel;
  if (name == "tensor") return Granularity::tensor;
  throw Error(ErrorKind::model, "unknown granularity of weights '" + name + "'", {},
              "known: channel, tensor");
}

torch::Tensor fake_quantize_weight(torch::Tensor& weight, Granularity granularity) {
  torch::NoGradGuard no_grad;
  if (weight.numel() == 0) return {};
  // The same arithmetic through tensor operations, for devices other than the CPU.
  if (!in_one_pass(weight))
    return fake_quantize_weight(weight, scale_of_largest(largest_magnitudes(weight, granularity)));
  float* x = weight.mutable_data_ptr<float>();
  if (granularity == Granularity::channel) {
    torch::Tensor scales = torch::empty({weight.size(0), 1});
    kernels::fake_quantize_rows(x, x, weight.size(0), weight.numel() / weight.size(0),
                                scales.mutable_data_ptr<float>());
    return scales;
  }
  float scale = kernels::scale_of(kernels::amax(x, weight.numel()));
  kernels::fake_quantize(x, x, nullptr, weight.numel(), {scale});
  return torch::full({1}, scale);
}

torch::Tensor largest_magnitudes(const torch::Tensor& weight, Granularity granularity) {
  torch::NoGradGuard no_grad;
  return granularity == Granularity::channel ? weight.abs().amax({1}, true)
                                             : weight.abs().amax().reshape({1});
}

torch::Tensor scale_of_largest(const torch::Tensor& most) {
  torch::NoGradGuard no_grad;
  return scale_from(most, 127.5);
}

torch::Tensor fake_quantize_weight(torch::Tensor& weight, const torch::Tensor& scale) {
  torch::NoGradGuard no_grad;
  if (weight.numel() == 0) return {};
  weight.div_(scale).clamp_(-128, 127).round_().mul_(scale).add_(0);  // -0 + 0 = +0
  return scale;
}

QuantizedWeight quantize_weight(const torch::Tensor& weight, Granularity granularity) {
  if (weight.dim() != 2 || weight.numel() == 0)
    throw Error(ErrorKind::internal, "only matrices can be quantised");
  torch::Tensor source = weight.detach().to(torch::kCPU, torch::kFloat32).contiguous();
  const bool channel = granularity == Granularity::channel;
  const int64_t groups = channel ? source.size(0) : 1, width = source.numel() / groups;
  QuantizedWeight out;
  out.values = torch::empty(source.sizes(), torch::kInt8);
  out.scale = channel ? torch::empty({groups, 1}) : torch::empty({1});
  const float* from = source.const_data_ptr<float>();
  auto* to = out.values.mutable_data_ptr<int8_t>();
  auto* scales = out.scale.mutable_data_ptr<float>();
  for (int64_t g = 0; g < groups; ++g) {
    float scale = kernels::scale_of(kernels::amax(from + g * width, width));
    if (!std::isfinite(scale))
      throw Error(ErrorKind::diverged, "a weight is not finite and cannot be quantised");
    scales[g] = scale;
    kernels::quantize(from + g * width, to + g * width, width, scale);
  }
  return out;
}

namespace {

// [rows, width] as [rows, groups, group].
torch::Tensor in_groups(const torch::Tensor& rows, const RowGrid& grid) {
  if (grid.bits != 4 || grid.group < 1 || rows.size(1) % grid.group != 0)
    throw Error(ErrorKind::internal, "rows are quantised in groups that do not fit them");
  return rows.view({rows.size(0), rows.size(1) / grid.group, grid.group});
}

}  // namespace

void fake_quantize_table(torch::Tensor& rows, const RowGrid& grid) {
  torch::NoGradGuard no_grad;
  if (rows.numel() == 0) return;
  if (grid.bits == 8) {
    fake_quantize_weight(rows, Granularity::channel);
    return;
  }
  torch::Tensor groups = in_groups(rows, grid);
  const torch::Tensor scale = scale_from(groups.abs().amax({2}, true), 7.5);
  groups.div_(scale).clamp_(-8, 7).round_().mul_(scale).add_(0);
}

QuantizedWeight quantize_table(const torch::Tensor& table, const RowGrid& grid) {
  if (grid.bits == 8) return quantize_weight(table, Granularity::channel);
  torch::NoGradGuard no_grad;
  const torch::Tensor source = table.detach().to(torch::kCPU, torch::kFloat32).contiguous();
  const torch::Tensor groups = in_groups(source, grid);
  const torch::Tensor scale = scale_from(groups.abs().amax({2}, true), 7.5);
  if (!scale.isfinite().all().item<bool>())
    throw Error(ErrorKind::diverged, "an embedding is not finite and cannot be quantised");
  return {groups.div(scale).clamp_(-8, 7).round_().to(torch::kInt8).view(source.sizes()),
          scale.squeeze(2)};
}

torch::Tensor dequantize_weight(const QuantizedWeight& quantized) {
  return quantized.values.to(torch::kFloat32) * quantized.scale;
}

}  // namespace compress::constraint
