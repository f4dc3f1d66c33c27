#pragma once
// What a recipe says of one training stage. The loop knows roles; which methods fill them is the
// recipe's choice.

#include <optional>
#include <string>
#include <vector>

#include "compress/constraint/constraint.h"
#include "compress/recipe/options.h"
#include "compress/teacher/options.h"

namespace compress::train {

// A head beside the model's own: `next_sentence: classification`, or `{kind: ..., layers: 1}`.
struct HeadOptions {
  std::string kind;
  std::vector<std::string> labels;  // empty: those that it has, else the data's
  int64_t layers = 0;               // of its own, in place of the stack's last ones
  static const recipe::Options<HeadOptions>& options();
};

// `model: teacher`, or `model: {from: models/x, head: classification, drop_layers: {...}}`.
struct ModelOptions {
  recipe::ModelReference from;                    // an earlier stage or a folder
  std::string head;                               // "" = keep, or what the data's task asks for
  std::vector<recipe::Named<HeadOptions>> heads;  // beside it; empty: those that it has
  std::string pooling = "auto";                   // of the embedding head
  std::vector<recipe::Component> surgery;
  recipe::Placed<std::vector<std::string>> train;  // selectors; empty: everything
  recipe::Mark mark;
  static const recipe::Options<ModelOptions>& options();
};

using teacher::CacheOptions;
using teacher::TeacherOptions;

struct EvaluationOptions {
  recipe::Placed<std::string> head;              // that is scored; "" = the model's own
  std::vector<recipe::MetricReference> metrics;  // reported; empty = the task's
  recipe::MetricReference select;  // best checkpoint by this metric; "" = the first reported
  Duration every = Duration::epochs(1);
  std::string keep = "best";  // best | last
  int64_t patience = 0;       // evaluations without gain before stopping; 0 = never stop early
  bool before = false;        // also before the first update
  int64_t batch = 64;
  static const recipe::Options<EvaluationOptions>& options();
};

struct CheckpointOptions {
  Duration every = Duration::epochs(1);
  static const recipe::Options<CheckpointOptions>& options();
};

// `data: {mix: {mnli: 2, qnli: 1}, temperature: 2, cap: 20000, epoch: 100000}`: several data sets
// as one (data/mixture.h).
struct MixOptions {
  std::vector<recipe::Named<double>> mix;  // weights by the names of data sets
  std::optional<double> temperature;
  std::optional<int64_t> cap, epoch;
  recipe::DataReference validation;  // whose validation part scores; "" = the first
  recipe::Mark mark;
  static const recipe::Options<MixOptions>& options();
};

// `data: mnli`, or a mixture. As a reference it is the data set that tells task and classes, and
// whose validation and test parts are scored.
struct TrainingData : recipe::DataReference {
  std::optional<MixOptions> mixture;
  using recipe::DataReference::DataReference;
  // The data sets that are trained on, with their places.
  std::vector<recipe::DataReference> sources() const;
};

struct TrainOptions {
  ModelOptions model;
  std::optional<TeacherOptions> teacher;  // short for one of `teachers` that is a model
  std::vector<recipe::Named<recipe::Component>> teachers;
  std::optional<recipe::ModelReference> helpers;  // whose trained ones, projections say, go on
  TrainingData data;
  Duration length = Duration::epochs(3);  // key `for`
  int64_t batch = 32;
  int64_t accumulate = 1;
  std::string precision = "auto";                            // auto | float32 | bf16 | fp16
  recipe::Placed<std::string> device = std::string("auto");  // auto | cpu | cuda | cuda:<n>
  bool graphs = true;  // CUDA graphs of the passes, where they can be
  std::vector<recipe::Component> augment;
  std::vector<recipe::Component> objectives;  // empty: labels
  recipe::Component optimizer, schedule, sharpness, averaging;
  double clip = 1.0;  // 0 = off
  std::vector<recipe::Component> pruning;
  std::optional<constraint::QuantizationOptions> quantization;
  EvaluationOptions evaluate;
  CheckpointOptions checkpoint;
  int64_t length_window = 50;   // batches sorted by length together; 1 = plain shuffling
  int64_t length_width = 1;     // tokens by which lengths may differ and yet sort as equal
  std::optional<int64_t> seed;  // default: the recipe's
  recipe::Mark mark;
  static const recipe::Options<TrainOptions>& options();
};

// The teachers of a stage by name, in the order of the recipe.
std::vector<recipe::Named<recipe::Component>> teachers_of(const TrainOptions& options);
std::vector<std::string> teacher_names(const TrainOptions& options);

}  // namespace compress::train

template <>
struct compress::recipe::Type<compress::train::TrainingData> {
  static std::string name();
  static Json schema();
  static bool read(const Node& node, train::TrainingData& value, Problems& problems);
  static Node write(const train::TrainingData& value);
  static void references(const train::TrainingData& value, const std::string& path,
                         std::vector<Referred>& found);
};
