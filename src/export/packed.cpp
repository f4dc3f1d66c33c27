// One weight file in which zeros cost a bit or less: what another layout holds, coded.

#include "compress/storage/packed.h"

#include <algorithm>

#include "compress/base/error.h"
#include "compress/checkpoint/sentence.h"
#include "compress/nn/architecture.h"
#include "formats.h"

namespace compress::exports {

namespace fs = std::filesystem;

namespace {

// Whether the layout of compressed-tensors has a place for all integers of the model.
bool fits_integers(const LoadedModel& source) {
  const Quantised quantised = quantised_in(source.scheme);
  if (!quantised.weights && !quantised.embeddings) return false;
  if (quantised.affine || quantised.outputs) return false;
  if (!source.model->config().attachments.empty()) return false;
  const nn::Family& family = nn::family(source.model->config().family);
  const std::set<std::string> held = held_in(source.scheme);
  return std::none_of(held.begin(), held.end(), [&](const std::string& weight) {
    return checkpoint::is_projection(weight) || family.is_transposed(weight);
  });
}

}  // namespace

bool packed_keeps_integers(const LoadedModel& source) {
  return fits_integers(source);
}

bool packed_keeps_activations(const LoadedModel& source) {
  return fits_integers(source) && quantised_in(source.scheme).weights;
}

void write_packed(const LoadedModel& source, const Target& target) {
  if (fits_integers(source))
    write_integers(source, target);
  else
    write_huggingface(source, target);
  const fs::path dense = target.folder / "model.safetensors";
  std::error_code code;
  if (!fs::exists(dense, code))
    throw Error(ErrorKind::recipe, "the format packed holds one file of weights, not shards", {},
                "export another format");
  storage::write_packed(dense, target.folder / storage::packed_name);
  if (!fs::remove(dense, code))
    throw Error(ErrorKind::disk, "cannot remove: " + code.message(), dense.string());
}

}  // namespace compress::exports
