#pragma once
// One training stage: the loop, its binding of roles to models, and its state on disk.

#include <atomic>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "compress/constraint/constraint.h"
#include "compress/data/dataset.h"
#include "compress/nn/model.h"
#include "compress/parallel/processes.h"
#include "compress/teacher/teacher.h"
#include "compress/text/tokenizer.h"
#include "compress/train/options.h"
#include "compress/train/telemetry.h"

namespace compress::train {

// A score on the validation part. `selected` is the value that chooses checkpoints.
struct Score {
  NamedValues values;
  double selected = 0;
  bool higher_is_better = true;
};

// A teacher that is handed to a stage, under its name in the recipe.
struct Given {
  std::string name = teacher::only_teacher;
  const nn::ModelConfig* config = nullptr;  // what parts bind to; null: that of `teacher`
  teacher::Teacher* teacher = nullptr;      // may be set between Binding and run()
  teacher::View view = teacher::View::student;
  const data::Split* rows = nullptr;  // what it reads where the view is its own; not in a plan
};

// What a stage is given. Pointers are not owned; those marked optional may be null.
struct Job {
  std::string stage;
  const TrainOptions* options = nullptr;
  nn::Model* student = nullptr;
  std::vector<Given> given;           // teachers that are not made of the student
  const data::Split* data = nullptr;  // optional when only planning
  // Optional: the folder of tensors that an earlier stage left.
  std::function<std::filesystem::path(const recipe::StoreReference&)> left;
  std::filesystem::path helpers;  // a file of save_helpers() that those begin as; empty: drawn
  int64_t rows = 0;               // training rows
  const text::Tokenizer* tokenizer = nullptr;
  uint64_t seed = 0;
  nn::Precision precision = nn::Precision::float32;
  torch::Device device = torch::kCPU;
  std::function<Score()> evaluate;  // optional: scores `student` with the weights it has
  // optional: called with the number of updates done after each, before anything of it is read
  std::function<void(int64_t)> after_update;
  std::filesystem::path state_file;  // empty: nothing is saved
  // Stands for all that decides an update; a saved state of another identity is refused.
  std::string identity;
  std::string inputs;  // the same in words (YAML), kept with the state to tell differences
  MetricsLog* metrics = nullptr;  // optional
  std::filesystem::path events;   // TensorBoard folder; empty: none
  const std::atomic<bool>* stop =
      nullptr;         // optional: set by a signal; the state is saved and the loop leaves
  bool quiet = false;  // no progress line
  // The processes that share each batch; null: this one alone. All run the same job; metrics,
  // events and the state file are the first one's business.
  parallel::Processes* processes = nullptr;
};

struct Result {
  int64_t steps = 0;              // updates done
  double seconds = 0;             // training time over all sittings, evaluation included
  double samples_per_second = 0;  // of the updates of this sitting
  std::optional<double> best;     // selected score of the kept weights
  int64_t best_step = 0;
  double earlier_seconds = 0;  // of sittings before a resume
  nn::Json scheme;  // how the model is quantised (Constraint::export_scheme), null when it is not
  std::vector<std::string> notes;  // "averaged weights of 758 updates", "stopped early at ..."
};

// What a stage resolved to, for `compress plan`.
struct Plan {
  Progress progress;  // total_steps and steps_per_epoch
  std::vector<constraint::Match> matches;
  std::vector<std::string> notes;  // objectives and schedules in words
  int64_t auxiliary_parameters = 0;
  int64_t state_bytes = 0;  // gradients, moments, averages, masks, copies
};

class Binding;  // binding.h

// What terms train beside the student and no export has. A later stage may go on with it
// (Job::helpers).
using HelperShapes = std::map<std::string, std::vector<int64_t>>;
HelperShapes helpers_of(const Binding& binding);
// Error{recipe} at the place of `helpers` unless some of what its stage left is among those of the
// binding, and each that is has its shape.
void check_helpers(const TrainOptions& options, const HelperShapes& left, const Binding& binding);
// False, and no file, where there are none. Errors: as checkpoint::save_state.
bool save_helpers(const Binding& binding, const std::filesystem::path& file);

// What the stage of a binding resolved to.
Plan plan(const Job& job, const Binding& binding);
// Trains. On return the student holds the stage's weights (averaged or best ones where asked for),
// constraints included. Errors: Error{diverged} naming step and example ids; Error{interrupted}
// after a stop, with the state saved; Error{recipe} where the saved state is another job's.
Result run(const Job& job, Binding& binding);
// The same with a binding of its own.
Plan plan(const Job& job);
Result run(const Job& job);

// Whether a device has such a name, there or not: auto, cpu, cuda, cuda:<n>.
bool is_device(const std::string& name);
inline constexpr const char* device_names = "auto, cpu, cuda or cuda:<n>";
// The device and precision that a stage gets from its options. Error{device} when they cannot be
// had, Error{recipe} for a name that is none, both at `where`.
// Each of several processes gets the CUDA device of its number on its machine.
torch::Device resolve_device(const std::string& name,
                             const parallel::Processes* processes = nullptr,
                             const std::string& where = {});
nn::Precision resolve_precision(const std::string& name, torch::Device device);

}  // namespace compress::train
