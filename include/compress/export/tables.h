#pragma once
// The embeddings that a scheme holds, as integers.

#include <set>
#include <string>

#include "compress/constraint/quantize.h"
#include "compress/export/export.h"

namespace compress::exports {

// The tables by the weight's name.
std::set<std::string> tables_in(const nn::Json& scheme);
// How they are rounded; of a scheme that holds some.
constraint::RowGrid table_grid(const nn::Json& scheme);
// Integers and scales of one of them: those of the file that it was read from, where it was.
constraint::QuantizedWeight table_integers(const LoadedModel& source, const nn::Parameter& table);

}  // namespace compress::exports
