#include "projection.h"

#include <cmath>

#include "compress/base/error.h"
#include "compress/base/random.h"
#include "compress/base/strings.h"

namespace compress::objective {

void Projection::bind(const std::string& when, int64_t ours, int64_t theirs,
                      const roles::Scene& scene, const Objective& term, bool with_bias) {
  matrix_ = bias_ = nullptr;
  if (ours != theirs && when == "never")
    throw Error(ErrorKind::recipe,
                str("the student's width is ", ours, " and the teacher's ", theirs,
                    ", so their states cannot be compared without a projection"),
                term.mark().text(), "set projection: auto");
  if (when != "always" && ours == theirs) return;
  std::string module = term.name() + ".projection";
  for (int copy = 2; scene.helpers.find(module + ".weight") != nullptr; ++copy)
    module = str(term.name(), ".projection_", copy);
  const std::string name = module + ".weight";
  auto generator = at::detail::createCPUGenerator(stream_seed(scene.seed, name));
  const double bound = 1 / std::sqrt(static_cast<double>(ours));
  torch::Tensor initial = torch::empty({theirs, ours}).uniform_(-bound, bound, generator);
  matrix_ = &scene.helpers.add(name, nn::Role::other, -1, std::move(initial));
  matrix_->castable = true;
  if (!with_bias) return;
  torch::Tensor shift = torch::empty({theirs}).uniform_(-bound, bound, generator);
  bias_ = &scene.helpers.add(module + ".bias", nn::Role::bias, -1, std::move(shift));
}

torch::Tensor Projection::operator()(const torch::Tensor& states) const {
  if (matrix_ == nullptr) return states.to(torch::kFloat);
  const torch::Tensor& matrix = matrix_->effective;
  const torch::Tensor mapped = at::linear(states.to(matrix.scalar_type()), matrix);
  return bias_ == nullptr ? mapped.to(torch::kFloat) : mapped.to(torch::kFloat) + bias_->effective;
}

std::string Projection::summary() const {
  if (matrix_ == nullptr) return {};
  return str("projection ", matrix_->latent.size(1), "x", matrix_->latent.size(0),
             bias_ == nullptr ? "" : " with a bias");
}

}  // namespace compress::objective
