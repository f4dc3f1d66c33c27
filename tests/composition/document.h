#pragma once
// The table of pairs, and docs/composition.md.

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "composition/stage.h"

namespace compress::composition {

struct Table {
  std::vector<Entry> entries;
  std::map<std::pair<size_t, size_t>, Outcome> outcomes;  // by places of entries, the lower first
  // Of the pairs that are not two of one slot.
  double share_that_runs() const;
};

Table plan_all(const Ground& ground);
std::string document(const Table& table);

}  // namespace compress::composition
