#pragma once
// Which of the student's layers follow which of the teacher's, as a recipe says it.

#include <string>
#include <utility>
#include <vector>

#include "compress/objective/objective.h"

namespace compress::objective {

// Pairs of layers as a recipe names them: a list, the teacher's for the student's layer 1, 2, ...,
// or a map of some of the student's layers to the teacher's.
struct LayerMap {
  std::vector<int64_t> all;
  std::vector<std::pair<int64_t, int64_t>> some;  // student, teacher
  bool empty() const { return all.empty() && some.empty(); }
};

struct Pairing {
  std::string stack = "both";      // of an encoder-decoder: encoder, decoder, both
  std::string layers = "uniform";  // uniform, last, skip; where the map is empty
  LayerMap map;
  bool include_embeddings = false;  // also 0 <- 0, the embedding outputs
};

// Layers count from 1; 0 is the embedding output.
struct Pair {
  int64_t student, teacher;
  bool decoder = false;  // of the decoder behind an encoder
};

// With Ls student and Lt teacher layers, uniform: m <- floor(m Lt / Ls); last: m <- Lt - Ls + m;
// skip: m <- m floor(Lt / Ls) for m < Ls. Error{recipe} at the term's mark where a layer is not
// there or the models' stacks differ.
std::vector<Pair> pair_layers(const Pairing& pairing, const nn::ModelConfig& student,
                              const nn::ModelConfig& teacher, const Objective& term);

// "student 1<-2, 2<-4; student's decoder 1<-2"
std::string in_words(const std::vector<Pair>& pairs);

}  // namespace compress::objective

namespace compress::recipe {

template <>
struct Type<objective::LayerMap> {
  static std::string name();
  static Json schema();
  static bool read(const Node& node, objective::LayerMap& value, Problems& problems);
  static void numbers(const objective::LayerMap& value, const Node& node, const VisitNumber& visit);
  static Node write(const objective::LayerMap& value);
};

}  // namespace compress::recipe
