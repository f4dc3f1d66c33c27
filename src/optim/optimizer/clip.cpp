#include "optimizer/clip.h"

#include "components.h"
#include "compress/nn/device.h"
#include "compress/optim/optim.h"

namespace compress::optim {

torch::Tensor clip_gradients(const std::vector<nn::Parameter*>& parameters, double limit) {
  torch::NoGradGuard no_grad;
  // An embedding's gradient is zero outside the touched rows, so only those are read and written.
  struct Rows {
    torch::Tensor table, ids;
    size_t at;  // in `gradients`
  };
  std::vector<torch::Tensor> gradients;
  std::vector<Rows> embeddings;
  for (const nn::Parameter* parameter : parameters) {
    const torch::Tensor& gradient = parameter->latent.grad();
    if (!gradient.defined()) continue;
    if (!parameter->row_gradient) {
      gradients.push_back(gradient);
      continue;
    }
    torch::Tensor ids = touched_rows(*parameter);
    if (ids.numel() == 0) continue;
    embeddings.push_back({gradient, ids, gradients.size()});
    gradients.push_back(gradient.index_select(0, ids));
  }
  if (gradients.empty()) return torch::zeros({});
  torch::Tensor norm = at::stack(at::_foreach_norm(gradients)).norm();
  torch::Tensor factor = (limit / (norm + 1e-6)).clamp_max(1.0);
  // Reading a CPU scalar costs nothing; on a GPU the multiplication is cheaper than waiting.
  if (!nn::reading_waits(factor) && factor.item<float>() == 1.0f) return norm;
  at::_foreach_mul_(gradients, factor);
  for (const Rows& rows : embeddings) rows.table.index_copy_(0, rows.ids, gradients[rows.at]);
  return norm;
}

void clip_gradient(const nn::Parameter& parameter, double limit) {
  torch::NoGradGuard no_grad;
  const torch::Tensor& gradient = parameter.latent.grad();
  const torch::Tensor ids = parameter.row_gradient ? touched_rows(parameter) : torch::Tensor();
  if (ids.defined() && ids.numel() == 0) return;
  torch::Tensor values = ids.defined() ? gradient.index_select(0, ids) : gradient;
  const torch::Tensor factor = (limit / (values.norm() + 1e-6)).clamp_max(1.0);
  if (!nn::reading_waits(factor) && factor.item<float>() == 1.0f) return;
  values.mul_(factor);
  if (ids.defined()) gradient.index_copy_(0, ids, values);
}

}  // namespace compress::optim
