#pragma once
// Role `teacher`: the target signal. A frozen model whose class order is matched to the student's
// by label name, an average of the student, or the student itself; each may read the rows in its
// own way. One kind a file.

#include <functional>
#include <memory>
#include <vector>

#include "compress/data/batch.h"
#include "compress/nn/model.h"
#include "compress/roles/part.h"
#include "compress/teacher/options.h"

namespace compress::teacher {

class Teacher : public roles::Part {
 public:
  void bind(const roles::Scene&) override {}
  // Outputs for the batch, without gradients, classes in the student's order. Only what `capture`
  // names is kept. The same for each pass of an update.
  virtual nn::Outputs signals(const data::Batch& batch, const nn::Capture& capture) = 0;
  virtual const nn::ModelConfig& config() const = 0;
  // Where its batches are computed.
  virtual torch::Device device() const = 0;
  // The rows that it is to be asked about.
  virtual View view() const { return View::student; }
  // Memory of the weights that it has beside the student's.
  virtual int64_t own_bytes() const { return 0; }
  // The answer depends on the batch's example ids, not on its tensors alone.
  virtual bool by_example() const { return false; }
};

// Makes a teacher out of the student. Empty for the kind whose model a stage is handed.
using Maker = std::function<std::unique_ptr<Teacher>(const recipe::Component&)>;
const recipe::RegistryOf<Maker>& teachers();
// Null for the kind whose model a stage is handed.
std::unique_ptr<Teacher> make(const recipe::Component& component);
// The options of a teacher that is a model of its own; null for another kind.
const TeacherOptions* model_of(const recipe::Component& component);
// The teacher that `teacher:` means.
recipe::Component only(const TeacherOptions& options);

// How a frozen model reads.
struct Manner {
  // Dropout stays on, drawn anew in each update: what reference code does that forgets to put the
  // teacher into evaluation mode.
  bool dropout = false;
  bool own_tokens = false;  // it reads tokens of its own tokenizer
};

// Whether a teacher can teach a student, told from their configurations alone: Error{recipe} at
// `mark` unless it can. `tokens` are those of the tokenizer (0: unknown); the teacher must have an
// embedding for each that the student has, unless it reads tokens of its own. With `needs_logits`
// both must have the same kind of head and the same classes, by name or by number (data/classes.h),
// or a logit for each token, which a teacher with tokens of its own has not. Returns for each of
// the student's classes the teacher's; empty where the order is the same, or where there are no
// classes.
std::vector<int64_t> check_fit(const nn::ModelConfig& student, const nn::ModelConfig& teacher,
                               bool needs_logits, int64_t tokens, const recipe::Mark& mark,
                               bool own_tokens = false);

// Error{recipe} at `mark` where `term` reads of a teacher with tokens of its own what has no
// counterpart among the student's: states and scores of tokens, and outputs for others than rows
// and labelled tokens.
void check_own_tokens(const roles::Asked& asked, const nn::ModelConfig& student,
                      const std::string& term, const std::string& teacher,
                      const recipe::Mark& mark);

// A frozen model that passes check_fit(). Without `needs_logits` it gives no logits. Logits over a
// vocabulary that the teacher has more rows of than the student are cut to the student's: what
// follows is padding (both read the same tokens). Move the model to its device first: its weights
// are cast here, once.
std::unique_ptr<Teacher> frozen(std::unique_ptr<nn::Model> model, const nn::ModelConfig& student,
                                bool needs_logits, nn::Precision precision,
                                const recipe::Mark& mark, int64_t tokens = 0, Manner manner = {});

}  // namespace compress::teacher
