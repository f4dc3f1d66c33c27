// Stages of models that write text.

#include <numeric>

#include "stage.h"
#include "unit/nn/writers.h"

namespace compress::train {
namespace {

using data::Task;

// Rows of a pattern: token t of a row is its first one plus t. Sources, where there are some, are
// the first token alone.
data::Split counting(Task task, int64_t length) {
  data::Split split;
  Random random(5);
  split.name = "train";
  split.file = "synthetic.tsv";
  split.task = task;
  split.offsets = {0};
  for (int64_t row = 0; row < 50; ++row) {
    const auto first = static_cast<int32_t>(random.below(30));
    const int64_t wanted = length > 0 ? length : 3 + static_cast<int64_t>(random.below(9));
    for (int32_t t = 0; t < wanted; ++t) split.ids.push_back(first + t);
    split.offsets.push_back(static_cast<int64_t>(split.ids.size()));
    split.first_lengths.push_back(
        static_cast<int32_t>(task == Task::sequence_to_sequence ? 1 : wanted));
    split.lines.push_back(row + 2);
  }
  return split;
}

// A stage of GPT-2 or T5, with a deeper teacher of its kind where an objective needs one.
void set_up(Bench& bench, Task task, int64_t length) {
  const bool writes = task == Task::sequence_to_sequence;
  auto model = [&](int64_t layers) {
    nn::ModelState state = writes ? nn::tiny_t5(layers) : nn::tiny_gpt2(layers);
    state.config.hidden_dropout = state.config.attention_dropout = 0;
    state.config.embedding_dropout = state.config.activation_dropout = 0;
    return nn::build(state, 1);
  };
  bench.split = counting(task, length);
  bench.student = model(1);
  bench.job.student = bench.student.get();
  bench.teacher =
      teacher::frozen(model(2), bench.student->config(), true, nn::Precision::float32, {});
}

nn::TensorMap trained(const std::string& yaml, Task task, int64_t length = 0) {
  Bench bench("for: 12 steps\noptimizer: {sgd: {lr: 0.1}}\n" + yaml, false);
  set_up(bench, task, length);
  if (yaml.find("soft_labels") != std::string::npos)
    bench.job.given = {{.teacher = bench.teacher.get()}};
  run(bench.job);
  return bench.weights();
}

nn::TensorMap untrained(Task task) {
  Bench bench("for: 1 steps\n", false);
  set_up(bench, task, 6);
  return bench.weights();
}

TEST(Written, CountingIsLearnt) {
  for (Task task : {Task::language_model, Task::sequence_to_sequence}) {
    Bench bench("for: 20 epochs\noptimizer: {adamw: {lr: 2e-2}}\nobjectives: [labels: {}]\n",
                false);
    set_up(bench, task, 0);
    auto loss = [&] {
      torch::NoGradGuard no_grad;
      std::vector<int64_t> rows(50);
      std::iota(rows.begin(), rows.end(), 0);
      const data::Batch batch = data::pack(bench.split, rows);
      bench.student->params().refresh(nn::Precision::float32);
      const nn::Outputs out = bench.student->forward(batch, {}, {});
      return at::cross_entropy_loss(out.token_logits,
                                    batch.targets.token_labels.index_select(0, out.token_index))
          .item<double>();
    };
    const double before = loss();
    run(bench.job);
    EXPECT_LT(loss(), 0.5 * before);
  }
}

TEST(Written, PartsOfAnUpdateGiveTheWhole) {
  for (const char* objectives :
       {"objectives: [labels: {}]\n",
        "objectives: [soft_labels: {temperature: 2}, labels: {weight: 0.5}, hidden_states: {}]\n"})
    for (Task task : {Task::language_model, Task::sequence_to_sequence}) {
      const nn::TensorMap whole = trained(objectives, task, 6),
                          parts = trained(str(objectives, "accumulate: 4\n"), task, 6),
                          start = untrained(task);
      const Distance found = distance(whole, parts, start);
      EXPECT_LT(found.between, 0.02 * found.moved) << objectives;
    }
}

}  // namespace
}  // namespace compress::train
