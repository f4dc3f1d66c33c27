// What an export stores less of than float32.

#include "compress/nn/architecture.h"
#include "formats.h"

namespace compress::exports {

Savings savings(const LoadedModel& source, torch::ScalarType rest, bool integers, bool coded) {
  torch::NoGradGuard no_grad;
  constexpr int64_t whole = 32;  // bits
  const std::set<std::string> tables = tables_in(source.scheme), held = held_in(source.scheme);
  Savings saved;
  for (const nn::Parameter& parameter : source.model->params().list()) {
    const int64_t count = parameter.numel();
    const bool table = tables.contains(parameter.name);
    const bool integer = integers && held.contains(parameter.name);
    int64_t bits = 8 * static_cast<int64_t>(torch::elementSize(rest));
    if (integer) bits = table ? table_grid(source.scheme).bits : 8;
    int64_t stored = count;
    if (coded) {
      const int64_t others = parameter.effective.count_nonzero().item<int64_t>();
      if (bits * others + count < bits * count) {
        stored = others;
        saved.zeros += (whole * (count - others) - count) / 8;
      }
    }
    int64_t& kind = !integer ? saved.rest : table ? saved.tables : saved.layers;
    kind += (whole - bits) * stored / 8;
  }
  return saved;
}

}  // namespace compress::exports
