#pragma once
// What can take part in a training stage, and how a test writes it into one.

#include <string>
#include <vector>

#include "compress/base/strings.h"
#include "compress/objective/objective.h"
#include "compress/pipeline/recipe.h"
#include "compress/recipe/options.h"

namespace compress::composition {

// What an entry puts into a stage. Left empty: nothing.
struct Pieces {
  std::string model;     // keys of `model:`
  std::string from;      // the folder that the model begins with, where it must be a certain one
  std::string head;      // of the model, where it must be a certain one
  std::string train;     // keys of the stage
  std::string data;      // keys of each data set
  bool mixture = false;  // trains on two data sets
  std::string augment, objective, pruning;  // an item of these lists
  std::string teacher;                      // a kind, with its options
  std::string teacher_options;  // of the model that teaches where nothing names a teacher
  bool reads_teacher = false;   // the objective does
  std::string more_terms;       // further items of `objectives`
};

// One line of the table.
struct Entry {
  std::string name;
  std::string slot;  // a stage has one thing in a slot; "": as many as it likes
  // Ways to write it, of which a pair takes the first that fits. What is told of a pair names
  // `options` of the second one and later ones.
  struct Way {
    std::string options;
    Pieces pieces;
  };
  std::vector<Way> ways;
};

// All components of a training stage, in the order of `compress explain`, and then the keys of a
// stage that change its updates. A component without an entry of its own has its default options.
std::vector<Entry> entries();

}  // namespace compress::composition
