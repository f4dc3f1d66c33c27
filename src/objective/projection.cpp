#include "projection.h"

#include <cmath>

#include "compress/base/error.h"
#include "compress/base/random.h"
#include "compress/base/strings.h"

namespace compress::objective {

void Projection::bind(const std::string& when, int64_t ours, int64_t theirs,
                      const roles::Scene& scene, const Objective& term) {
  matrix_ = nullptr;
  if (ours != theirs && when == "never")
    throw Error(ErrorKind::recipe,
                str("the student's width is ", ours, " and the teacher's ", theirs,
                    ", so their states cannot be compared without a projection"),
                term.mark().text(), "set projection: auto");
  if (when != "always" && ours == theirs) return;
  std::string name = term.name() + ".projection.weight";
  for (int copy = 2; scene.helpers.find(name) != nullptr; ++copy)
    name = str(term.name(), ".projection_", copy, ".weight");
  auto generator = at::detail::createCPUGenerator(stream_seed(scene.seed, name));
  const double bound = 1 / std::sqrt(static_cast<double>(ours));
  torch::Tensor initial = torch::empty({theirs, ours}).uniform_(-bound, bound, generator);
  matrix_ = &scene.helpers.add(name, nn::Role::other, -1, std::move(initial));
  matrix_->castable = true;
}

torch::Tensor Projection::operator()(const torch::Tensor& states) const {
  if (matrix_ == nullptr) return states.to(torch::kFloat);
  const torch::Tensor& matrix = matrix_->effective;
  return at::linear(states.to(matrix.scalar_type()), matrix).to(torch::kFloat);
}

std::string Projection::summary() const {
  if (matrix_ == nullptr) return {};
  return str("projection ", matrix_->latent.size(1), "x", matrix_->latent.size(0));
}

}  // namespace compress::objective
