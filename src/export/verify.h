#pragma once
// Whether what was written reads back as the model.

#include <filesystem>
#include <memory>

#include "compress/export/export.h"

namespace compress::exports {

// What is compared with what, and how.
struct Check {
  LoadedModel& source;  // left as it was
  const std::filesystem::path& folder;
  const data::Split* rows;  // whose outputs are compared; null or empty: weights alone
  double tolerance;         // of outputs, as a share of the largest
};

// Reads the folder again. Fills what the report says of rows, outputs and metrics. Error{internal}
// where weights differ by a bit, or outputs by more than the tolerance. `activations`: the format
// keeps how they are quantised.
void verify_folder(const Check& check, bool activations, Report& report);

// A graph as a model, with or without the rounding of what its products read.
using ReadGraph = std::unique_ptr<nn::Model> (*)(const LoadedModel&, const std::filesystem::path&,
                                                 bool);
// The same for a graph. Where it rounds what its products read, a last bit decides now and then
// between two integers, and the numbers behind it differ by a step; so outputs are compared without
// that rounding on both sides, and the metric with it.
void verify_graph(const Check& check, ReadGraph read, Report& report);

}  // namespace compress::exports
