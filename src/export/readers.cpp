// What readers of an export make of embeddings that are integers.

#include "compress/nn/architecture.h"
#include "formats.h"

namespace compress::exports {

std::string unread_embeddings(const LoadedModel& source) {
  const nn::Json* embeddings = embeddings_of(source.scheme);
  if (embeddings == nullptr) return {};
  if (embeddings->at("num_bits") == 4) return "embeddings of four bits have no weight there";
  const std::set<std::string> tables = tables_in(source.scheme);
  const nn::Architecture plan = nn::architecture(source.model->config());
  const auto holds = [&](const std::string& table) { return tables.contains(table + ".weight"); };
  if (plan.head.out_tied && !plan.head.out.empty() &&
      (holds(plan.encoder.word) || holds(plan.decoder.word)))
    return "its output layer multiplies with the table as it lies, integers without their scale";
  // Their modules have a forward pass of their own, which compressed-tensors does not call right.
  if (plan.position_offset > 0 && holds(plan.decoder.position))
    return "its positions are no plain embedding";
  return {};
}

}  // namespace compress::exports
