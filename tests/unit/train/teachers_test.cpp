// Teachers of several kinds in a stage, on values by hand.

#include <gmock/gmock.h>

#include "compress/augment/augment.h"
#include "compress/data/loader.h"
#include "compress/data/views.h"
#include "compress/train/binding.h"
#include "support/failure.h"
#include "unit/augment/words.h"
#include "unit/train/stage.h"

namespace compress::train {
namespace {

using testing::HasSubstr;

nn::ModelState calm(nn::HeadKind head) {
  nn::ModelState state = head == nn::HeadKind::masked_lm ? masked_lm() : nn::tiny_bert(head);
  nn::ModelConfig& c = state.config;
  c.hidden_dropout = c.attention_dropout = c.classifier_dropout = 0;
  return state;
}

void give_student(Bench& bench, const nn::ModelState& state) {
  bench.student = nn::build(state, 1);
  bench.job.student = bench.student.get();
}

constexpr const char* one_rate = "optimizer: {sgd: {lr: 0.1}}\nschedule: constant\nclip: 0\n";

// The stage has moved the weights by the gradients of `model` at that rate, and some of them are
// not tiny.
void expect_moved(const Bench& bench, const nn::Model& model) {
  const nn::TensorMap found = bench.weights();
  double moved = 0;
  for (const nn::Parameter& parameter : model.params().list()) {
    const torch::Tensor gradient = parameter.latent.grad();
    if (!gradient.defined()) continue;
    const torch::Tensor want = parameter.latent.detach() - 0.1 * gradient;
    EXPECT_LT((found.at(parameter.name) - want).abs().max().item<double>(), 1e-6) << parameter.name;
    moved = std::max(moved, gradient.abs().max().item<double>());
  }
  EXPECT_GT(moved, 1e-3);
}

TEST(Average, IsThatOfTheStudentsWeights) {
  Bench bench(std::string("for: 2 steps\nteachers: {old: {average: {decay: 0.75}}}\n"
                          "objectives: [labels: {}, soft_labels: {teacher: old}]\n") +
              one_rate);
  std::vector<nn::TensorMap> weights = {bench.weights()};
  bench.job.after_update = [&](int64_t) { weights.push_back(bench.weights()); };
  Binding binding(bench.job);
  run(bench.job, binding);
  ASSERT_EQ(weights.size(), 3u);
  const nn::TensorMap average = binding.roles().teachers.front()->state();
  ASSERT_EQ(average.size(), weights[0].size());
  double moved = 0;
  for (const auto& [name, found] : average) {
    // 0.75 (0.75 w0 + 0.25 w1) + 0.25 w2
    const Tensor want =
        weights[0].at(name) * 0.5625 + weights[1].at(name) * 0.1875 + weights[2].at(name) * 0.25;
    EXPECT_LT((found - want).abs().max().item<double>(), 1e-6) << name;
    moved += (weights[2].at(name) - weights[0].at(name)).abs().sum().item<double>();
  }
  EXPECT_GT(moved, 1e-2);
}

TEST(Average, IsInThePlansMemory) {
  Bench alone("for: 4 steps\nobjectives: [labels: {}]\n"),
      taught("for: 4 steps\nteachers: {old: {average: {}}}\nobjectives: [soft_labels: {}]\n");
  const int64_t before = plan(alone.job).state_bytes;
  EXPECT_EQ(plan(taught.job).state_bytes - before, 4 * taught.student->params().numel());
  // Its weights are kept as they are computed with, too.
  taught.job.precision = nn::Precision::bf16;
  EXPECT_EQ(plan(taught.job).state_bytes - before, 6 * taught.student->params().numel());
}

// The average begins as the student: nothing is to be learnt from it in the first update, and
// something in the second.
TEST(Average, IsReadAsATarget) {
  for (int steps : {1, 2}) {
    Bench bench(str("for: ", steps, " steps\nteachers: {old: {average: {decay: 0.5}}}\n",
                    "objectives: [labels: {}, logits_mse: {teacher: old, weight: 5}]\n", one_rate));
    Bench alone(str("for: ", steps, " steps\nobjectives: [labels: {}]\n", one_rate), false);
    for (Bench* each : {&bench, &alone}) {
      give_student(*each, calm(nn::HeadKind::classification));
      run(each->job);
    }
    double apart = 0;
    const nn::TensorMap a = bench.weights(), b = alone.weights();
    for (const auto& [name, value] : a)
      apart = std::max(apart, (value - b.at(name)).abs().max().item<double>());
    if (steps == 1)
      EXPECT_LT(apart, 1e-7);
    else
      EXPECT_GT(apart, 1e-4);
  }
}

// Masks of the student hold its average, which would otherwise answer as no student ever did.
TEST(Average, IsHeldByMasks) {
  Bench bench(std::string("for: 3 steps\nteachers: {old: {average: {decay: 0.5}}}\n"
                          "objectives: [labels: {}, soft_labels: {teacher: old}]\n"
                          "pruning: {magnitude: {sparsity: 50%, begin: 0 steps, end: 1 step}}\n") +
              one_rate);
  Binding binding(bench.job);
  run(bench.job, binding);
  teacher::Teacher& average = *binding.roles().teachers.front();
  const std::vector<int64_t> rows = {0, 1, 2};
  const data::Batch batch = data::pack(bench.split, rows);
  average.before_update({});
  const Tensor before = average.signals(batch, {}).logits;
  // The same weights with zeros at masked places give the same answers.
  nn::TensorMap state = average.state();
  const std::string name = "encoder.layer.0.intermediate.dense.weight";
  const Tensor zero = bench.student->params().find(name)->latent.detach().eq(0);
  ASSERT_GT(zero.sum().item<int64_t>(), 100);
  ASSERT_TRUE(state[name].masked_select(zero).ne(0).all().item<bool>());  // it is kept whole
  state[name] = state[name].masked_fill(zero, 0);
  average.load_state(state);
  average.before_update({});
  EXPECT_TRUE(torch::equal(average.signals(batch, {}).logits, before));
}

// One update of a masked LM that is told what it would say itself if nothing were masked.
TEST(Student, TeachesItselfOnUnmaskedRows) {
  const augment::Words words;
  Bench bench(std::string("for: 1 step\nteachers: {self: {student: {view: unmasked}}}\n"
                          "augment: [masking: {}]\nobjectives: [logits_mse: {teacher: self}]\n") +
              one_rate);
  give_student(bench, calm(nn::HeadKind::masked_lm));
  bench.job.tokenizer = &words;
  run(bench.job);

  const std::unique_ptr<nn::Model> model = nn::build(calm(nn::HeadKind::masked_lm), 1);
  model->params().refresh(nn::Precision::float32);
  data::Loader loader(bench.split, {8, bench.job.seed, 50, true}, 0);
  const data::Batch plain = loader.next();
  data::Batch masked = plain;
  Bench helper("for: 1 step\naugment: [masking: {}]\nobjectives: [labels: {}]\n", false);
  give_student(helper, calm(nn::HeadKind::masked_lm));
  helper.job.tokenizer = &words;
  const Binding bound(helper.job);
  augment::apply_all(*bound.roles().augments, masked, bench.job.seed, 0);
  ASSERT_FALSE(torch::equal(plain.token_ids, masked.token_ids));
  data::Batch seen = plain;
  seen.targets = masked.targets;
  const Tensor said = model->forward(masked, {}, {.training = true}).token_logits;
  const Tensor target = model->forward(seen, {}, {}).token_logits.detach();
  ASSERT_GT((said - target).abs().max().item<double>(), 0.01);
  (said - target).square().mean(1).mean().backward();
  model->params().collect_gradients(false);
  expect_moved(bench, *model);
}

std::unique_ptr<teacher::Teacher> frozen(uint64_t seed, const nn::Model& student,
                                         teacher::Manner manner = {}) {
  nn::ModelState state = nn::tiny_bert(nn::HeadKind::classification);
  state.tensors.erase("classifier.weight");
  state.tensors.erase("classifier.bias");
  std::unique_ptr<nn::Model> model = nn::build(state, seed);
  return teacher::frozen(std::move(model), student.config(), true, nn::Precision::float32, {}, 0,
                         manner);
}

// An update by two teachers is the weighted sum of those by each.
TEST(Teachers, SeveralAddUp) {
  auto moved = [](const std::string& objectives, std::vector<std::string> names) {
    Bench bench(std::string("for: 1 step\nobjectives: [") + objectives + "]\n" + one_rate, false);
    std::map<std::string, std::unique_ptr<teacher::Teacher>> made;
    made["big"] = frozen(21, *bench.student);
    made["other"] = frozen(22, *bench.student);
    for (const std::string& name : names)
      bench.job.given.push_back({.name = name, .teacher = made[name].get()});
    const nn::TensorMap before = bench.weights();
    run(bench.job);
    nn::TensorMap change = bench.weights();
    for (auto& [name, value] : change) value = value - before.at(name);
    return change;
  };
  const nn::TensorMap both =
      moved("soft_labels: {teacher: big, weight: 0.25}, logits_mse: {teacher: other, weight: 3}",
            {"big", "other"});
  const nn::TensorMap first = moved("soft_labels: {teacher: big}", {"big"}),
                      second = moved("logits_mse: {}", {"other"}),
                      swapped = moved("logits_mse: {}", {"big"});
  double largest = 0, apart = 0;
  for (const auto& [name, value] : both) {
    const Tensor want = first.at(name) * 0.25 + second.at(name) * 3;
    EXPECT_LT((value - want).abs().max().item<double>(), 1e-6) << name;
    largest = std::max(largest, want.abs().max().item<double>());
    apart = std::max(apart, (second.at(name) - swapped.at(name)).abs().max().item<double>());
  }
  EXPECT_GT(largest, 1e-3);
  EXPECT_GT(apart, 1e-4);  // the two do not say the same
}

// The rows of make_split() as other tokens: each token twice.
data::Split doubled(const data::Split& split) {
  data::Split view;
  view.name = split.name;
  view.file = split.file;
  view.labels = split.labels;
  view.offsets = {0};
  for (int64_t row = 0; row < split.rows(); ++row) {
    for (int64_t t = split.offsets[row]; t < split.offsets[row + 1]; ++t)
      for (int copy : {0, 1}) view.ids.push_back((split.ids[t] + 7 * copy) % 50);
    view.offsets.push_back(static_cast<int64_t>(view.ids.size()));
    view.first_lengths.push_back(static_cast<int32_t>(2 * split.length(row)));
    view.classes.push_back(split.classes[row]);
    view.lines.push_back(split.lines[row]);
  }
  return view;
}

// A frozen model that notes what it was shown.
class Shown final : public teacher::Teacher {
 public:
  explicit Shown(std::unique_ptr<teacher::Teacher> of) : of_(std::move(of)) {}
  nn::Outputs signals(const data::Batch& batch, const nn::Capture& capture) override {
    shown.push_back(batch);
    return of_->signals(batch, capture);
  }
  const nn::ModelConfig& config() const override { return of_->config(); }
  torch::Device device() const override { return of_->device(); }
  std::vector<data::Batch> shown;

 private:
  std::unique_ptr<teacher::Teacher> of_;
};

TEST(Views, ATeacherReadsTheSameRowsAsItsOwnTokens) {
  nn::TensorMap whole;
  for (int parts : {1, 2}) {
    Bench bench(
        str("for: 7 steps\naccumulate: ", parts, "\nobjectives: [soft_labels: {}]\n", one_rate),
        false);
    give_student(bench, calm(nn::HeadKind::classification));
    const data::Split view = doubled(bench.split);
    Shown teacher(frozen(21, *bench.student, {.own_tokens = true}));
    bench.job.given = {{.teacher = &teacher, .view = teacher::View::own, .rows = &view}};
    run(bench.job);
    data::Loader loader(bench.split, {8, bench.job.seed, 50, true}, 0);
    size_t at = 0;
    for (int step = 0; step < 7; ++step) {
      const data::Batch batch = loader.next();
      std::vector<int64_t> rows;
      int64_t tokens = 0;
      while (rows.size() < batch.example_ids.size()) {
        const data::Batch& shown = teacher.shown.at(at++);
        rows.insert(rows.end(), shown.example_ids.begin(), shown.example_ids.end());
        tokens += shown.token_ids.size(0);
        EXPECT_EQ(shown.part.tokens < 0 ? shown.tokens() : shown.part.tokens, 2 * batch.tokens());
      }
      EXPECT_EQ(rows, batch.example_ids);
      EXPECT_EQ(tokens, 2 * batch.tokens());
    }
    EXPECT_EQ(at, teacher.shown.size());
    const data::Batch& first = teacher.shown.front();
    EXPECT_TRUE(torch::equal(first.token_ids, data::pack(view, first.example_ids).token_ids));
    if (parts == 1) {
      whole = bench.weights();
      continue;
    }
    for (const auto& [name, value] : bench.weights())
      EXPECT_LT((value - whole.at(name)).abs().max().item<double>(), 2e-6) << name;
  }
}

// Words have one label each, at the first of their tokens: of every token of the student the
// teacher reads two, and they are compared word by word.
TEST(Views, WordsAreComparedOneByOne) {
  auto words = [](uint64_t seed) {
    nn::ModelState state = calm(nn::HeadKind::masked_lm);
    nn::set_head(state, nn::HeadKind::token_classification, {"no", "yes"});
    return nn::build(state, seed);
  };
  Bench bench(std::string("for: 1 step\nobjectives: [logits_mse: {}]\n") + one_rate, false);
  data::Split view = doubled(bench.split);
  bench.split.task = view.task = data::Task::token_classification;
  for (size_t t = 0; t < bench.split.ids.size(); ++t) {
    const bool word = t % 3 != 1;
    bench.split.token_classes.push_back(word ? 1 : -100);
    view.token_classes.push_back(word ? 1 : -100);
    view.token_classes.push_back(-100);
  }
  bench.split.classes.clear();
  view.classes.clear();
  bench.student = words(1);
  bench.job.student = bench.student.get();
  const auto teacher = teacher::frozen(words(2), bench.student->config(), true,
                                       nn::Precision::float32, {}, 0, {.own_tokens = true});
  bench.job.given = {{.teacher = teacher.get(), .view = teacher::View::own, .rows = &view}};
  run(bench.job);

  const std::unique_ptr<nn::Model> student = words(1), other = words(2);
  student->params().refresh(nn::Precision::float32);
  other->params().refresh(nn::Precision::float32);
  const data::Batch batch = data::Loader(bench.split, {8, bench.job.seed, 50, true}, 0).next();
  const Tensor said = student->forward(batch, {}, {.training = true}).token_logits;
  std::vector<Tensor> target;  // row by row, at every second token of the words
  for (int64_t row : batch.example_ids) {
    data::Batch alone = data::pack(view, std::vector<int64_t>{row});
    alone.targets = {};
    const Tensor all = other->forward(alone, {}, {}).token_logits.detach();
    for (int64_t t = 0; t < bench.split.length(row); ++t)
      if (bench.split.token_classes[bench.split.offsets[row] + t] != -100)
        target.push_back(all.narrow(0, 2 * t, 1));
  }
  (said - at::cat(target)).square().mean(1).mean().backward();
  student->params().collect_gradients(false);
  expect_moved(bench, *student);
}

TEST(Views, WhatBelongsToOtherTokensIsRefused) {
  for (const auto& [term, what] :
       {std::pair{"hidden_states", "hidden states of tokens"}, {"attention", "attention scores"}}) {
    Bench bench(str("for: 1 step\nobjectives: [", term, ": {}]\n"), false);
    const data::Split view = doubled(bench.split);
    const auto teacher = frozen(21, *bench.student, {.own_tokens = true});
    bench.job.given = {{.teacher = teacher.get(), .view = teacher::View::own, .rows = &view}};
    const Error error = failure([&] { Binding bound(bench.job); });
    EXPECT_EQ(error.kind(), ErrorKind::recipe);
    EXPECT_EQ(error.message(), str("objective '", term, "' compares ", what,
                                   ", but the teacher 'teacher' reads other tokens than the "
                                   "student"));
    EXPECT_THAT(error.where(), HasSubstr("objectives"));
  }
}

TEST(Views, RowsOfAMixtureAreThoseOfItsSources) {
  const data::Split first = make_split(6), second = make_split(4), cut = make_split(3);
  auto mixed = [&](const data::Split& other) {
    return data::mix({{"first", &first}, {"second", &other}}, {{1, 1}, {}, {}, {}});
  };
  data::require_same_rows(mixed(second), mixed(second));
  EXPECT_EQ(failure([&] { data::require_same_rows(mixed(second), mixed(cut)); }).where(),
            "synthetic.tsv:5");
}

TEST(Views, RowsAndLabelsMustBeTheSame) {
  const data::Split split = make_split(6);
  data::Split view = doubled(split);
  data::require_same_rows(split, view);
  data::Split shorter = make_split(5);
  const Error missing = failure([&] { data::require_same_rows(split, shorter); });
  EXPECT_EQ(missing.kind(), ErrorKind::data);
  EXPECT_EQ(missing.where(), "synthetic.tsv:7");
  EXPECT_THAT(missing.message(), HasSubstr("the student's tokenizer alone"));
  view.lines.edit()[2] = 5;  // the teacher left line 4 out
  EXPECT_EQ(failure([&] { data::require_same_rows(split, view); }).where(), "synthetic.tsv:4");
  data::Split words = make_split(2), cut = make_split(2);
  for (data::Split* each : {&words, &cut})
    for (size_t t = 0; t < each->ids.size(); ++t) each->token_classes.push_back(0);
  data::require_same_labels(words, cut);
  cut.token_classes.edit().back() = -100;
  const Error fewer = failure([&] { data::require_same_labels(words, cut); });
  EXPECT_EQ(fewer.where(), "synthetic.tsv:3");
}

TEST(Teachers, AreChosenByName) {
  auto bound = [](const std::string& yaml, std::vector<std::string> given) {
    Bench bench("for: 1 step\n" + yaml, false);
    const auto made = frozen(21, *bench.student);
    for (const std::string& name : given)
      bench.job.given.push_back({.name = name, .teacher = made.get()});
    Binding binding(bench.job);
  };
  const Error unclear = failure([&] {
    bound("objectives: [soft_labels: {}]\n", {"big", "other"});
  });
  EXPECT_THAT(unclear.message(), HasSubstr("which of the stage's teachers"));
  EXPECT_THAT(unclear.hint(), HasSubstr("big, other"));
  const Error unknown = failure([&] {
    bound("objectives: [soft_labels: {teacher: bug}]\n", {"big", "other"});
  });
  EXPECT_THAT(unknown.message(), HasSubstr("'bug'"));
  EXPECT_THAT(unknown.where(), HasSubstr("teacher"));
  const Error unused = failure([&] {
    bound("objectives: [soft_labels: {teacher: big}]\n", {"big", "other"});
  });
  EXPECT_THAT(unused.message(), HasSubstr("'other' that no objective uses"));
  bound(
      "teachers: {old: average}\nobjectives: [soft_labels: {teacher: big}, logits_mse: {teacher: "
      "old}]\n",
      {"big"});
  EXPECT_THROW(
      options_from(std::string(head) + "for: 1 step\nteacher: x\nteachers: {old: average}\n"
                                       "objectives: [soft_labels: {}]\n"),
      Error);
}

// Dropout of a teacher is drawn by a token's place in the update, anew in each, and apart from the
// student's.
TEST(Dropout, OfATeacherIsTheSameHoweverAnUpdateIsCut) {
  Bench bench("for: 1 step\nobjectives: [soft_labels: {}]\n", false);
  const auto teacher = frozen(21, *bench.student, {.dropout = true}),
             calm = frozen(21, *bench.student);
  teacher->called("teacher", {});
  bench.job.given = {{.teacher = teacher.get()}};
  const Binding binding(bench.job);
  teacher->bind(binding.scene());
  const std::vector<int64_t> rows = {0, 1, 2, 3, 4, 5};
  const data::Batch batch = data::pack(bench.split, rows);
  Progress progress{3, 10, 5};
  teacher->before_update(progress);
  const Tensor whole = teacher->signals(batch, {}).logits;
  EXPECT_TRUE(torch::equal(teacher->signals(batch, {}).logits, whole));  // a second pass
  const Tensor parts = at::cat({teacher->signals(data::slice(batch, 0, 2), {}).logits,
                                teacher->signals(data::slice(batch, 2, 6), {}).logits});
  EXPECT_LT((whole - parts).abs().max().item<double>(), 1e-6);
  EXPECT_GT((whole - calm->signals(batch, {}).logits).abs().max().item<double>(), 1e-3);
  progress.step = 4;
  teacher->before_update(progress);
  EXPECT_GT((whole - teacher->signals(batch, {}).logits).abs().max().item<double>(), 1e-3);
  EXPECT_THROW(
      options_from(std::string(head) + "for: 1 step\nteacher: {from: x, dropout: true, cache: y}\n"
                                       "objectives: [soft_labels: {}]\n"),
      Error);
}

}  // namespace
}  // namespace compress::train
