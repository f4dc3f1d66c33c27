// Dense float32: what the layers multiply with, so masks and int8 grids are part of the weights.

#include "compress/checkpoint/checkpoint.h"
#include "formats.h"

namespace compress::exports {

void write_huggingface(const LoadedModel& source, const std::filesystem::path& folder) {
  std::vector<checkpoint::Planned> tensors;
  for (const nn::Parameter& parameter : source.model->params().list())
    tensors.push_back({file_name(*source.model, parameter.name), torch::kFloat32,
                       parameter.latent.sizes().vec(),
                       [&parameter] { return parameter.effective; }});
  checkpoint::write_folder(tensors, checkpoint::config_json(*source.model), folder);
}

}  // namespace compress::exports
