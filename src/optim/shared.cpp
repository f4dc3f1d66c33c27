#include <algorithm>

#include "components.h"
#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/nn/memory.h"

namespace compress::optim {

bool decays(const nn::Parameter& parameter) {
  return parameter.role == nn::Role::embedding || parameter.is_matrix();
}

torch::Tensor touched_rows(const nn::Parameter& parameter) {
  if (parameter.touched.empty())
    return torch::empty({0}, parameter.latent.options().dtype(torch::kLong).requires_grad(false));
  const torch::Tensor ids =
      parameter.touched.size() == 1 ? parameter.touched.front() : at::cat(parameter.touched);
  return std::get<0>(at::_unique2(ids));
}

namespace {

const torch::Tensor& found(const nn::TensorMap& state, const std::string& name,
                           const torch::Tensor& into) {
  auto it = state.find(name);
  if (it == state.end())
    throw Error(ErrorKind::model, "the saved state has no tensor " + name, {},
                "it was saved with other options; start the stage anew");
  if (it->second.sizes() != into.sizes())
    throw Error(ErrorKind::model, compress::str("the saved state's tensor ", name, " has shape ",
                                                it->second.sizes(), ", expected ", into.sizes()));
  return it->second;
}

}  // namespace

void load_tensor(const nn::TensorMap& state, const std::string& name, torch::Tensor& into) {
  torch::NoGradGuard no_grad;
  into.copy_(found(state, name, into));
}

void load_rows(const nn::TensorMap& state, const std::string& name, torch::Tensor& into) {
  const torch::Tensor saved = found(state, name, into).to(torch::kFloat32).contiguous();
  nn::clear_pages(into);
  const int64_t width = into.stride(0);
  const float* from = saved.const_data_ptr<float>();
  float* to = into.mutable_data_ptr<float>();
  for (int64_t row = 0; row < into.size(0); ++row, from += width, to += width)
    if (std::any_of(from, from + width, [](float one) { return one != 0; }))
      std::copy_n(from, width, to);
}

}  // namespace compress::optim
