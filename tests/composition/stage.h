#pragma once
// One stage of a pair of entries: planned, and run with a kill in its middle.

#include <filesystem>
#include <optional>
#include <string>

#include "composition/entries.h"
#include "compress/nn/model.h"

namespace compress::composition {

// What became of two entries in one stage.
struct Outcome {
  bool one_slot = false;  // both want the same slot: nothing to try
  std::string refusal;    // the plan's reason; "": it runs
  std::string ways;       // the options that it took where they are not the first ones
  std::string recipe;     // the recipe's text, of the way that fits or the first one
};

// The folder of tiny models and rows that all pairs read. Removed at the end.
class Ground {
 public:
  Ground();
  ~Ground();
  Ground(const Ground&) = delete;
  Ground& operator=(const Ground&) = delete;
  const std::filesystem::path& folder() const { return root_; }

  // Plans the pair, in the first of its ways that the plan lets pass.
  Outcome plan(const Entry& a, const Entry& b) const;
  // Runs 20 updates of a recipe that its plan let pass; once more from the state that a run that
  // was killed at the 15th has left. "" where both end with the same bits, else what was wrong.
  std::string run(const std::string& recipe) const;

 private:
  std::string recipe_text(const Pieces& a, const Pieces& b) const;
  std::string refusal_of(const std::string& recipe) const;

  std::filesystem::path root_;
};

}  // namespace compress::composition
