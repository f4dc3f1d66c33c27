// Dense float32: what the layers multiply with, so masks and int8 grids are part of the weights.

#include "compress/checkpoint/checkpoint.h"
#include "compress/checkpoint/sentence.h"
#include "formats.h"

namespace compress::exports {

void write_huggingface(const LoadedModel& source, const std::filesystem::path& folder) {
  std::vector<checkpoint::Planned> tensors;
  for (const nn::Parameter& parameter : source.model->params().list())
    if (!checkpoint::is_projection(parameter.name))
      tensors.push_back(dense(*source.model, parameter));
  checkpoint::write_folder(tensors, checkpoint::config_json(*source.model), folder);
  checkpoint::write_sentence_modules(*source.model, folder, /*effective=*/true);
}

}  // namespace compress::exports
