#pragma once
// What a recipe says of a teacher that is a model of its own.

#include <optional>
#include <string>

#include "compress/recipe/options.h"

namespace compress::teacher {

// `cache: FOLDER`, or `cache: {folder: ..., hidden: all, top_k: 128}`.
struct CacheOptions {
  std::string folder;
  std::string hidden = "auto";      // auto | all
  int64_t top_k = 64;               // tokens a position, of outputs over a vocabulary
  std::string missing = "compute";  // compute | refuse
  recipe::Mark mark;
  static const recipe::Options<CacheOptions>& options();
};

// Which rows a teacher reads in an update.
enum class View {
  student,   // the student's batch
  unmasked,  // the batch before augments changed it, with the targets that they wrote
  own        // the same rows as tokens of its own tokenizer, without augments
};

// `teacher: teacher`, or `teacher: {from: ..., floor: 0.85}`.
struct TeacherOptions {
  recipe::ModelReference from;
  // Refused when its score on the validation part is below.
  std::optional<recipe::Placed<double>> floor;
  recipe::MetricReference metric;     // of the floor; "" = the stage's
  std::optional<CacheOptions> cache;  // keeps its answers between runs
  bool remember = true;  // logits are computed once a training row, before training, where nothing
                         // else is asked for
  // Of these, what a recipe does not say stays out of its resolved form.
  std::optional<std::string> tokenizer;  // same | own; unset: same
  std::optional<std::string> view;       // student | unmasked; unset: student
  std::optional<bool> dropout;           // unset: off
  recipe::Mark mark;
  static const recipe::Options<TeacherOptions>& options();

  bool own_tokens() const { return tokenizer == "own"; }
  bool drops() const { return dropout.value_or(false); }
  View reads() const;
};

// The name of the teacher that `teacher:` gives a stage.
inline constexpr const char* only_teacher = "teacher";

}  // namespace compress::teacher
