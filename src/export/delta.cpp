// What a model has that its base has not.

#include "compress/checkpoint/delta.h"
#include "formats.h"

namespace compress::exports {

void write_delta(const LoadedModel& source, const Target& target) {
  checkpoint::write_delta(*source.model, target.base, target.folder, target.place);
}

}  // namespace compress::exports
