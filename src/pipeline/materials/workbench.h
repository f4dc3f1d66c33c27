#pragma once
// What the stages of one run share, and the making of what a training stage needs.

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "compress/constraint/constraint.h"
#include "compress/data/dataset.h"
#include "compress/pipeline/recipe.h"
#include "compress/pipeline/run.h"
#include "compress/teacher/answers.h"
#include "compress/teacher/teacher.h"
#include "compress/text/tokenizer.h"
#include "compress/train/binding.h"
#include "compress/train/train.h"

namespace compress::pipeline {

// A teacher that is a model of its own.
struct Taught {
  std::string name;                                      // in the recipe
  const train::TeacherOptions* options = nullptr;        // of the recipe
  std::filesystem::path tokenizer;                       // folder of the one whose tokens it reads
  std::unique_ptr<constraint::Constraint> quantization;  // what parameters of a quantised one read
  std::shared_ptr<const nn::ModelConfig> config;         // what the stage's parts bound to
  std::unique_ptr<nn::Model> model;                      // until `teacher` takes it
  std::unique_ptr<teacher::Teacher> teacher;
};

// A training stage before its first update. The job points to the models and to data of the
// workbench that made it; keep both while it runs.
struct Prepared {
  std::unique_ptr<nn::Model> student;
  std::unique_ptr<train::Binding> binding;  // ends before the student is used for anything else
  std::vector<Taught> teachers;             // of kinds that are models of their own
  std::vector<std::string> teacher_scores;  // in words, of those that were scored
  std::vector<std::string> notes;           // what became of the head, rows left out
  std::filesystem::path source;             // folder of the student's tokenizer
  ModelSize begun;                          // before its edits
  std::shared_ptr<const void> written;      // holds that folder where an edit wrote it
  train::Job job;  // options, models, data, device, precision and seed are set
};

// How a teacher that was never tuned on the task is treated.
enum class TeacherCheck {
  score,       // it is scored on the validation part, and refused below its floor
  for_timing,  // it is not scored; without a head it gets a random one
};

// Tokenizers, tokenised data and teachers' answers, each made once.
class Workbench {
 public:
  using Folder = std::function<std::filesystem::path(const std::string& model)>;
  using Identity = std::function<std::string(const std::string& model)>;

  // `folder` finds a model that a recipe names (an earlier stage or a path); `identity` is a hash
  // of what it is. `stop` and `processes` may be null.
  Workbench(const Recipe& recipe, Folder folder, Identity identity, const std::atomic<bool>* stop,
            parallel::Processes* processes);

  const text::Tokenizer& tokenizer(const std::filesystem::path& folder);
  // `labels`: the class names in the order that is wanted; empty: as the data set has them.
  const data::Split& split(const std::string& dataset, const std::string& part,
                           const std::filesystem::path& tokenizer_folder,
                           const std::vector<std::string>& labels = {});
  // The rows that a stage trains on, of one data set or a mixture.
  const data::Split& training_split(const train::TrainingData& data,
                                    const std::filesystem::path& tokenizer_folder);
  // What an earlier stage measured: its numbers.json. Error{recipe} at `mark` where there is none.
  nn::Json numbers(const std::string& stage, const recipe::Mark& mark) const;
  // Folder of a model that the recipe names.
  std::filesystem::path folder(const std::string& model) const { return folder_(model); }
  // Of a training stage.
  Prepared prepare(const StageOptions& stage, TeacherCheck check);
  // Throws Error{interrupted} when a stop was asked for, of any process; `what` is what stays
  // undone. A collective call.
  void check_stop(const std::string& what) const;

 private:
  void check_vocabulary(const StageOptions& stage, const Prepared& prepared);
  // Those that are models of their own (teachers.cpp).
  void load_teachers(const StageOptions& stage, TeacherCheck check, Prepared& prepared);
  void freeze_teachers(const StageOptions& stage, TeacherCheck check, Prepared& prepared);
  void score_teacher(const Taught& taught, const StageOptions& stage, Prepared& prepared);
  // Replaces a teacher by its answers where a row's are the same in every epoch
  // (teacher_answers.cpp).
  void remember(const train::TrainOptions& options, Prepared& prepared, Taught& taught);
  nn::Json cache_key(const train::TrainOptions& options, const Prepared& prepared,
                     const Taught& taught);

  const Recipe& recipe_;
  Folder folder_;
  Identity identity_;
  const std::atomic<bool>* stop_;
  parallel::Processes* processes_;
  std::map<std::string, std::unique_ptr<text::Tokenizer>> tokenizers_;
  std::map<std::string, data::Split> splits_;
  // Logits in memory, by teacher, data, changes to it and precision.
  std::map<std::string, std::shared_ptr<const teacher::Answers>> remembered_;
};

// Error{recipe} at `mark` unless both read the same tokens.
void require_one_tokenizer(const text::Tokenizer& student, const text::Tokenizer& teacher,
                           const std::string& name, const recipe::Mark& mark);
[[noreturn]] void refuse_teacher(const std::string& name, const recipe::Mark& mark);

// Hash of the names and contents of the files in a folder.
std::string content_hash(const std::filesystem::path& folder);

// The teachers of a stage that are models of their own, by name. Pointers into the options.
std::vector<std::pair<std::string, const train::TeacherOptions*>> model_teachers(
    const train::TrainOptions& options);
// Whether an objective of a stage reads the logits of a teacher, not its states alone.
bool reads_teacher_logits(const train::TrainOptions& options, const std::string& teacher);
// The answers of a teacher that a stage's objectives read, as a cache keeps them. Error{recipe} for
// an objective that reads what no cache keeps.
teacher::Wanted wanted_answers(const train::TeacherOptions& options, const std::string& teacher,
                               const train::Binding& binding);

}  // namespace compress::pipeline
