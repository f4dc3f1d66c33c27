#pragma once
// One training stage on a tiny model and synthetic rows, for tests of the loop.

#include <gtest/gtest.h>

#include "compress/base/error.h"
#include "compress/base/random.h"
#include "compress/data/compose.h"
#include "compress/data/mixture.h"
#include "compress/objective/objective.h"
#include "compress/optim/optim.h"
#include "compress/surgery/surgery.h"
#include "compress/train/train.h"
#include "unit/augment/words.h"
#include "unit/nn/dan.h"

namespace compress::train {

using torch::Tensor;

inline data::Split make_split(int64_t rows) {
  data::Split split;
  Random random(5);
  split.name = "train";
  split.file = "synthetic.tsv";
  split.labels = {"no", "yes"};
  split.offsets = {0};
  for (int64_t row = 0; row < rows; ++row) {
    int64_t length = 3 + static_cast<int64_t>(random.below(9)), sum = 0;
    for (int64_t t = 0; t < length; ++t) {
      split.ids.push_back(static_cast<int32_t>(random.below(50)));
      sum += split.ids.back();
    }
    split.offsets.push_back(static_cast<int64_t>(split.ids.size()));
    split.first_lengths.push_back(static_cast<int32_t>(length));
    split.classes.push_back(sum / length > 25 ? 1 : 0);
    split.lines.push_back(row + 2);
  }
  return split;
}

inline TrainOptions options_from(const std::string& yaml) {
  TrainOptions options;
  recipe::Problems problems;
  recipe::read_struct(TrainOptions::options().info(), recipe::parse_text(yaml), &options, problems);
  problems.raise();
  return options;
}

inline constexpr const char* head = "data: none\nprecision: float32\nbatch: 8\n";

// A comment in a stage's text: its rows are a mixture.
inline constexpr const char* mixed = "# mixture\n";

// A comment in a stage's text: rows have others in front of them, drawn anew in each epoch.
inline constexpr const char* composed = "# composed\n";

// Where a stage runs, and in what.
struct Place {
  torch::Device device = torch::kCPU;
  nn::Precision precision = nn::Precision::float32;
};

// Of a teacher that the stage is handed; a recipe with `teachers` says itself what it has.
inline bool reads_teacher(const std::string& yaml) {
  if (yaml.find("teachers:") != std::string::npos) return false;
  for (const char* term : {"soft_labels", "logits_mse", "continuation", "attention", "contrastive"})
    if (yaml.find(term) != std::string::npos) return true;
  return false;
}

// A model that masked tokens are taught to.
inline nn::ModelState masked_lm() {
  nn::ModelState state = nn::tiny_bert(nn::HeadKind::masked_lm);
  std::erase_if(state.tensors, [](const auto& entry) { return entry.first.starts_with("pooler"); });
  return state;
}

// A masked LM that also says which class a row has and, behind a layer of its own, which of its
// tokens were changed.
inline nn::ModelState several_heads() {
  nn::ModelState state = nn::tiny_bert(nn::HeadKind::masked_lm);
  nn::set_more_heads(
      state, {{.name = "row", .kind = nn::HeadKind::classification, .labels = {"no", "yes"}},
              {.name = "detect", .kind = nn::HeadKind::replaced_token, .layers = 1}});
  return state;
}

inline constexpr const char* several_terms =
    "objectives: [labels: {}, labels: {head: row}, labels: {head: detect}, soft_labels: {head: "
    "row}, logits_mse: {head: detect}]\naugment: [masking: {}]\n";

// A comment in a stage's text: its model has no layers, and averages its tokens.
inline constexpr const char* averaged = "# dan\n";

// A comment in a stage's text: each of three labels of a row is true or not by itself.
inline constexpr const char* sets = "# sets\n";

inline nn::ModelState several_labels() {
  nn::ModelState state = nn::tiny_bert(nn::HeadKind::none);
  nn::set_head(state, nn::HeadKind::multi_label, {"small", "even", "long"});
  return state;
}

// A comment in a stage's text: half of the weights of its layers' matrices are zeros.
inline constexpr const char* with_zeros = "# zeros\n";

inline nn::ModelState half_zeros() {
  nn::ModelState state = nn::tiny_bert(nn::HeadKind::classification);
  for (auto& [name, tensor] : state.tensors)
    if (name.starts_with("encoder.") && tensor.dim() == 2)
      tensor = tensor.masked_fill(tensor.abs() < tensor.abs().median(), 0);
  return state;
}

// What a stage trains and learns from.
inline nn::ModelState model_for(const std::string& yaml) {
  if (yaml.find(averaged) != std::string::npos) return nn::tiny_dan(nn::HeadKind::classification);
  if (yaml.find(sets) != std::string::npos) return several_labels();
  if (yaml.find(with_zeros) != std::string::npos) return half_zeros();
  return yaml.find("head: row") != std::string::npos ? several_heads()
                                                     : nn::tiny_bert(nn::HeadKind::classification);
}

// The model of the options: the tiny one with their edits.
inline std::unique_ptr<nn::Model> student_of(const TrainOptions& options, nn::ModelState state) {
  surgery::Workshop workshop(4);
  surgery::apply(options.model.surgery, state, workshop);
  return nn::build(state, 1);
}

// One run of a stage on fresh models; the student's latents afterwards. `yaml` may name a model:
// `model: {from: none, lora: {}}`.
struct Bench {
  data::Split split = make_split(50);
  augment::Words words;
  std::unique_ptr<nn::Model> student;
  std::unique_ptr<teacher::Teacher> teacher;
  TrainOptions options;
  Job job;

  data::Split large, small;  // of a mixture

  explicit Bench(const std::string& yaml, Place place = {})
      : Bench(yaml, reads_teacher(yaml), place) {}
  Bench(const std::string& yaml, bool with_teacher, Place place = {})
      : options(options_from(
            str(yaml.find("model:") == std::string::npos ? "model: none\n" : "", head, yaml))) {
    student = student_of(options, model_for(yaml));
    if (with_teacher) {
      std::unique_ptr<nn::Model> model = nn::build(model_for(yaml), 9);
      model->to(place.device);
      teacher = teacher::frozen(std::move(model), student->config(), true, place.precision, {});
    }
    job.device = place.device;
    job.precision = place.precision;
    job.stage = "stage";
    job.options = &options;
    job.student = student.get();
    if (!options.augment.empty()) job.tokenizer = &words;
    if (teacher) job.given = {{.teacher = teacher.get()}};
    job.data = &split;
    job.rows = split.rows();
    job.seed = 4;
    job.identity = "same";
    job.quiet = true;
    if (yaml.find(mixed) != std::string::npos) mix_rows();
    if (yaml.find(composed) != std::string::npos) compose_rows();
    if (yaml.find(sets) != std::string::npos) label_rows();
  }
  // Two rows, or as many as fit, stand in front of each.
  void compose_rows() {
    recipe::Component how;
    recipe::Problems problems;
    data::composers().read(
        recipe::parse_text("{demonstrations: {count: 2, separator: '', max_length: 24}}"), how,
        problems);
    problems.raise();
    split.composer = data::composers().maker(how).make(how, {split, words, nullptr});
  }
  // The rows have a set of labels in place of a class.
  void label_rows() {
    split.task = data::Task::multi_label;
    split.labels = {"small", "even", "long"};
    for (int64_t row = 0; row < split.rows(); ++row) {
      split.soft.push_back(split.classes[row] == 0 ? 1.f : 0.f);
      split.soft.push_back(split.ids[split.offsets[row]] % 2 == 0 ? 1.f : 0.f);
      split.soft.push_back(split.length(row) > 6 ? 1.f : 0.f);
    }
    split.classes.clear();
  }
  // The rows are then of two data sets, of which the smaller one's have weights.
  void mix_rows() {
    large = make_split(40);
    small = make_split(10);
    small.file = "small.tsv";
    for (int64_t row = 0; row < 10; ++row)
      small.weights.push_back(static_cast<float>(row % 4) * 0.75f);
    split = data::mix({{"large", &large}, {"small", &small}}, {{1, 1}, 2.0, {}, 46});
    job.rows = split.epoch_rows();
  }
  nn::TensorMap weights() const {
    nn::TensorMap map;
    for (const nn::Parameter& parameter : student->params().list())
      map[parameter.name] = parameter.latent.detach().cpu().clone();
    return map;
  }
};

inline void expect_equal(const nn::TensorMap& a, const nn::TensorMap& b) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, value] : a) EXPECT_TRUE(torch::equal(value, b.at(name))) << name;
}

// The largest difference of two runs' weights, beside how far the first one went from `start`.
struct Distance {
  double between = 0, moved = 0;
};
inline Distance distance(const nn::TensorMap& a, const nn::TensorMap& b,
                         const nn::TensorMap& start) {
  Distance result;
  for (const auto& [name, value] : a) {
    result.between = std::max(result.between, (value - b.at(name)).abs().max().item<double>());
    result.moved = std::max(result.moved, (value - start.at(name)).abs().max().item<double>());
  }
  return result;
}

}  // namespace compress::train
