#include "components.h"
#include "compress/base/error.h"
#include "compress/base/strings.h"

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

void load_tensor(const nn::TensorMap& state, const std::string& name, torch::Tensor& into) {
  auto it = state.find(name);
  if (it == state.end())
    throw Error(ErrorKind::model, "the saved state has no tensor " + name, {},
                "it was saved with other options; start the stage anew");
  if (it->second.sizes() != into.sizes())
    throw Error(ErrorKind::model, compress::str("the saved state's tensor ", name, " has shape ",
                                                it->second.sizes(), ", expected ", into.sizes()));
  torch::NoGradGuard no_grad;
  into.copy_(it->second);
}

}  // namespace compress::optim
