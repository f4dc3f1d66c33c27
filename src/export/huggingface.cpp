// Dense float32, or where asked in half precision but for what lies on a grid of integers: what the
// layers multiply with, so masks and int8 grids are part of the weights.

#include "compress/base/log.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/checkpoint/sentence.h"
#include "formats.h"

namespace compress::exports {

void write_huggingface(const LoadedModel& source, const Target& target) {
  if (!source.model->config().attachments.empty())
    log::warn(
        "transformers does not know what is attached to the model and computes something else "
        "from this folder: merge it where that can be");
  // Integers times their scales need all digits.
  const std::set<std::string> held = held_in(source.scheme);
  std::vector<checkpoint::Planned> tensors;
  for (const nn::Parameter& parameter : source.model->params().list())
    if (!checkpoint::is_projection(parameter.name))
      tensors.push_back(dense(*source.model, parameter,
                              held.contains(parameter.name) ? torch::kFloat32 : target.rest));
  checkpoint::write_folder(tensors, config_of(source, target), target.folder);
  checkpoint::write_sentence_modules(*source.model, target.folder, /*effective=*/true);
}

}  // namespace compress::exports
