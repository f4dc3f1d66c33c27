#include "compress/checkpoint/dense.h"

#include "folder.h"

namespace compress::checkpoint {

namespace {

constexpr uint64_t most_bytes = uint64_t{2} << 30;

}  // namespace

bool is_dense(const std::filesystem::path& path) {
  if (!has_weights(path)) return false;
  torch::NoGradGuard no_grad;
  const Folder folder = open_folder(path);
  nn::ModelState shapes;
  shapes.config = folder.config.config;
  for (const auto& [name, source] : folder.weights)
    shapes.tensors[name] = torch::empty(source.shape(), torch::kMeta);
  const std::unique_ptr<nn::Model> model = nn::build(shapes, 0);
  uint64_t bytes = 0;
  for (const nn::Parameter& parameter : model->params().list()) {
    const auto found = folder.weights.find(parameter.name);
    if (!parameter.is_matrix() || found == folder.weights.end()) continue;
    const Source& source = found->second;
    if (source.values == nullptr || source.scale != nullptr || source.width > 0) return false;
    bytes += source.values->bytes;
    if (bytes > most_bytes) return false;
    const torch::Tensor values = view(*source.values);
    if (at::count_nonzero(values).item<int64_t>() < values.numel()) return false;
  }
  return true;
}

}  // namespace compress::checkpoint
