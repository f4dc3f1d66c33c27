#include "compress/recipe/problems.h"

#include <algorithm>
#include <tuple>

#include "compress/base/error.h"
#include "compress/base/strings.h"

namespace compress::recipe {

void Problems::add(const Mark& mark, std::string what, std::string hint) {
  list_.push_back({mark, std::move(what), std::move(hint)});
}

void Problems::raise() const {
  if (list_.empty()) return;
  std::vector<const Problem*> sorted;
  for (const Problem& problem : list_) sorted.push_back(&problem);
  // File order; what came from overrides or defaults (line 0) follows the file.
  std::stable_sort(sorted.begin(), sorted.end(), [](const Problem* a, const Problem* b) {
    auto key = [](const Mark& mark) {
      return std::make_tuple(mark.line == 0, std::cref(mark.file), mark.line, mark.column);
    };
    return key(a->mark) < key(b->mark);
  });
  if (sorted.size() == 1) {
    const Problem& only = *sorted[0];
    throw Error(ErrorKind::recipe, only.what, only.mark.text(), only.hint);
  }
  constexpr size_t shown = 50;
  std::string text = str(sorted.size(), " problems in the recipe:");
  for (size_t i = 0; i < std::min(shown, sorted.size()); ++i) {
    const Problem& problem = *sorted[i];
    std::string place = problem.mark.text();
    text += "\n  " + (place.empty() ? "" : place + ": ") + problem.what;
    if (!problem.hint.empty()) text += " (" + problem.hint + ")";
  }
  if (sorted.size() > shown) text += str("\n  and ", sorted.size() - shown, " more");
  throw Error(ErrorKind::recipe, text);
}

}  // namespace compress::recipe
