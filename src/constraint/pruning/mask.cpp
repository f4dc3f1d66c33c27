#include "pruning/mask.h"

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "pruning/pattern.h"
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

void Masks::bind(const std::vector<nn::Parameter*>& parameters, const nn::Pattern& pattern) {
  pattern_ = pattern;
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

std::string Masks::Layer::name() const {
  return str(stack, ".", number);
}

std::vector<Masks::Layer> Masks::layers() const {
  std::vector<Layer> out;
  for (const Mask& mask : list_) {
    const nn::Parameter& parameter = *mask.parameter;
    if (parameter.layer < 0) continue;
    const size_t end = parameter.name.find(str(".", parameter.layer, "."));
    const std::string stack = parameter.name.substr(0, end);
    auto it = std::find_if(out.begin(), out.end(), [&](const Layer& layer) {
      return layer.number == parameter.layer && layer.stack == stack;
    });
    if (it == out.end()) it = out.insert(out.end(), {stack, parameter.layer, 0, 0});
    it->zeros += mask.zeros;
    it->count += parameter.numel();
  }
  return out;
}

std::vector<std::string> Masks::emptied() const {
  std::vector<std::string> out;
  for (const Layer& layer : layers())
    if (layer.zeros == layer.count) out.push_back(layer.name());
  const size_t whole = out.size();
  for (const Mask& mask : list_) {
    const std::string& name = mask.parameter->name;
    const bool told =
        std::any_of(out.begin(), out.begin() + static_cast<int64_t>(whole),
                    [&](const std::string& layer) { return name.starts_with(layer + "."); });
    if (mask.zeros == mask.parameter->numel() && !told) out.push_back(name);
  }
  return out;
}

std::string Masks::report() const {
  auto part_of = [](int64_t zeros, int64_t count) {
    return static_cast<double>(zeros) / static_cast<double>(std::max<int64_t>(1, count));
  };
  double low = 1, high = 0;
  for (const Mask& mask : list_) {
    const double part = part_of(mask.zeros, mask.parameter->numel());
    low = std::min(low, part);
    high = std::max(high, part);
  }
  std::string line = str("sparsity ", fixed(100 * part_of(zeros(), count()), 2), "% of ",
                         with_commas(count()), " weights", pattern_.behind(), " (tensors ",
                         fixed(100 * low, 1), "% to ", fixed(100 * high, 1), "%");
  std::string stack;
  for (const Layer& layer : layers()) {
    line += layer.stack == stack ? ", " : "; " + layer.stack + " ";
    line += str(layer.number, ": ", fixed(100 * part_of(layer.zeros, layer.count), 1), "%");
    stack = layer.stack;
  }
  line += ")";
  if (const std::vector<std::string> gone = emptied(); !gone.empty())
    line += ", nothing is left of " + join(gone, ", ");
  return line;
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
    if (pattern_.blocks() && !allows(pattern_, mask.keep))
      refuse("has zeros outside of " + pattern_.text() + " in " + mask.parameter->name);
  }
  if (known != state.size()) refuse("names tensors that are not pruned here");
  if (zeros() != total->second.item<int64_t>()) refuse("has another number of zeros than it says");
}

}  // namespace compress::constraint
