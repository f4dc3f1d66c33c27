#include "pruning/mask.h"

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "quantization/kernels.h"

namespace compress::constraint {

namespace {

torch::Tensor packed(const torch::Tensor& mask) {
  torch::Tensor source = mask.to(torch::kCPU).contiguous();
  const int64_t count = source.numel();
  torch::Tensor out = torch::zeros({(count + 7) / 8}, torch::kUInt8);
  const auto* from = source.const_data_ptr<uint8_t>();
  auto* to = out.mutable_data_ptr<uint8_t>();
  for (int64_t i = 0; i < count; ++i)
    to[i / 8] = static_cast<uint8_t>(to[i / 8] | (from[i] << (i % 8)));
  return out;
}

torch::Tensor unpacked(const torch::Tensor& bits, at::IntArrayRef shape) {
  torch::Tensor source = bits.to(torch::kCPU).contiguous();
  torch::Tensor out = torch::empty(shape, torch::kUInt8);
  const auto* from = source.const_data_ptr<uint8_t>();
  auto* to = out.mutable_data_ptr<uint8_t>();
  for (int64_t i = 0; i < out.numel(); ++i) to[i] = (from[i / 8] >> (i % 8)) & 1;
  return out;
}

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorKind::model, "the saved pruning state " + what, {},
              "it was saved with other options or is damaged; start the stage anew");
}

}  // namespace

void Mask::apply(torch::Tensor& tensor) {
  if (!keep.defined()) return;
  torch::NoGradGuard no_grad;
  if (keep.device() != tensor.device()) keep = keep.to(tensor.device());
  if (tensor.is_cpu() && tensor.is_contiguous() && tensor.scalar_type() == torch::kFloat32) {
    kernels::mask(keep.const_data_ptr<uint8_t>(), tensor.mutable_data_ptr<float>(), tensor.numel());
  } else {
    tensor.masked_fill_(keep == 0, 0);  // not a product: NaN * 0 is NaN, -1 * 0 is -0
  }
}

void Mask::set(const torch::Tensor& kept) {
  zeros = kept.numel() - at::count_nonzero(kept).item<int64_t>();
  keep = kept.to(parameter->latent.device());
}

void Masks::bind(const std::vector<nn::Parameter*>& parameters) {
  for (nn::Parameter* parameter : parameters) {
    Mask& mask = list_.emplace_back();
    mask.parameter = parameter;
    parameter->transforms.push_back(&mask);
  }
}

int64_t Masks::count() const {
  int64_t total = 0;
  for (const Mask& mask : list_) total += mask.parameter->numel();
  return total;
}

int64_t Masks::zeros() const {
  int64_t total = 0;
  for (const Mask& mask : list_) total += mask.zeros;
  return total;
}

void Masks::apply_to_latents() {
  torch::NoGradGuard no_grad;
  for (Mask& mask : list_) {
    torch::Tensor latent = mask.parameter->latent.detach();
    mask.apply(latent);
  }
}

void Masks::apply_to_moments(const Moments& moments) {
  if (!moments) return;
  for (Mask& mask : list_)
    for (torch::Tensor& moment : moments(*mask.parameter)) mask.apply(moment);
}

std::vector<Match> Masks::matches(const std::string& what) const {
  std::vector<Match> out;
  for (const Mask& mask : list_)
    out.push_back({mask.parameter->name, mask.parameter->latent.sizes().vec(),
                   mask.parameter->numel(), what});
  return out;
}

std::string Masks::report() const {
  double low = 1, high = 0;
  for (const Mask& mask : list_) {
    double part = static_cast<double>(mask.zeros) / static_cast<double>(mask.parameter->numel());
    low = std::min(low, part);
    high = std::max(high, part);
  }
  double all = static_cast<double>(zeros()) / static_cast<double>(std::max<int64_t>(1, count()));
  return str("sparsity ", fixed(100 * all, 2), "% of ", with_commas(count()), " weights (tensors ",
             fixed(100 * low, 1), "% to ", fixed(100 * high, 1), "%)");
}

nn::TensorMap Masks::state() const {
  nn::TensorMap state{{"zeros", torch::tensor(zeros(), torch::kLong)}};
  for (const Mask& mask : list_)
    if (mask.keep.defined()) state["mask." + mask.parameter->name] = packed(mask.keep);
  return state;
}

void Masks::load_state(const nn::TensorMap& state) {
  auto total = state.find("zeros");
  if (total == state.end() || total->second.numel() != 1 ||
      total->second.scalar_type() != torch::kLong)
    refuse("has no count of zeros");
  size_t known = 1;
  for (Mask& mask : list_) {
    auto it = state.find("mask." + mask.parameter->name);
    if (it == state.end()) {
      mask.keep = torch::Tensor();
      mask.zeros = 0;
      continue;
    }
    ++known;
    const torch::Tensor& bits = it->second;
    if (bits.scalar_type() != torch::kUInt8 || bits.numel() != (mask.parameter->numel() + 7) / 8)
      refuse("has a mask of another size for " + mask.parameter->name);
    mask.set(unpacked(bits, mask.parameter->latent.sizes()));
  }
  if (known != state.size()) refuse("names tensors that are not pruned here");
  if (zeros() != total->second.item<int64_t>()) refuse("has another number of zeros than it says");
}

}  // namespace compress::constraint
