// Processes that share each batch train the model that one process trains on the whole of it.

#include <functional>

#include "compress/base/strings.h"
#include "compress/train/binding.h"
#include "processes/together.h"
#include "unit/augment/words.h"
#include "unit/train/stage.h"

namespace compress::train {
namespace {

using parallel::Processes;

// The stage's weights on every rank.
std::vector<nn::TensorMap> shared(int world, const std::string& yaml) {
  std::vector<nn::TensorMap> weights(static_cast<size_t>(world));
  parallel::all_together(world, [&](Processes& processes) {
    Bench bench(yaml);
    bench.job.processes = &processes;
    run(bench.job);
    weights[static_cast<size_t>(processes.rank())] = bench.weights();
  });
  return weights;
}

double largest_difference(const nn::TensorMap& a, const nn::TensorMap& b) {
  double largest = 0;
  for (const auto& [name, value] : a)
    largest = std::max(largest, (value - b.at(name)).abs().max().item<double>());
  return largest;
}

int64_t moved_zeros(const nn::TensorMap& a, const nn::TensorMap& b) {
  int64_t count = 0;
  for (const auto& [name, value] : a)
    count += value.eq(0).ne(b.at(name).eq(0)).sum().item<int64_t>();
  return count;
}

// 50 rows in batches of 8: an epoch ends with a batch of two rows, of which three processes have
// one without any.
constexpr const char* sgd = "for: 10 steps\noptimizer: {sgd: {lr: 0.05, momentum: 0.9}}\n";

class Share : public testing::TestWithParam<std::string> {};

TEST_P(Share, EqualsTheWholeBatch) {
  const std::string yaml = sgd + GetParam();
  Bench whole(yaml);
  const nn::TensorMap before = whole.weights();
  run(whole.job);
  ASSERT_GT(largest_difference(before, whole.weights()), 1e-3);
  for (int world : {2, 3}) {
    const std::vector<nn::TensorMap> ranks = shared(world, yaml);
    for (int rank = 1; rank < world; ++rank)
      expect_equal(ranks[0], ranks[static_cast<size_t>(rank)]);  // to the bit
    // Sums in another order: float32 rounding, carried through ten updates.
    EXPECT_LT(largest_difference(ranks[0], whole.weights()), 2e-6) << world << " processes";
    EXPECT_EQ(moved_zeros(ranks[0], whole.weights()), 0) << world << " processes";
  }
}

INSTANTIATE_TEST_SUITE_P(
    Recipes, Share,
    testing::Values("objectives: [labels: {}]\n",
                    "objectives: [soft_labels: {temperature: 2}, labels: {weight: 0.5}]\n"
                    "sharpness: {sam: {rho: 0.05}}\naveraging: {swa: {start: 50%}}\n",
                    "objectives: [labels: {}]\naccumulate: 2\n",
                    "# sets\nobjectives: [soft_labels: {temperature: 2}, labels: {}]\n"
                    "accumulate: 2\n",
                    "teachers: {old: {average: {decay: 0.8}}, self: student}\n"
                    "objectives: [labels: {}, soft_labels: {teacher: old}, logits_mse: {teacher: "
                    "self, weight: 0.1}]\naccumulate: 2\n",
                    "# mixture\nobjectives: [soft_labels: {}, labels: {}]\naccumulate: 2\n",
                    "# composed\nobjectives: [soft_labels: {}, labels: {}]\naccumulate: 2\n",
                    "objectives: [soft_labels: {}]\naccumulate: 2\nsharpness: {asam: {rho: 0.5}}\n",
                    "objectives: [logits_mse: {}, hidden_states: {projection: always}]\n"
                    "averaging: {ema: {start: 5 steps}}\n",
                    "objectives: [soft_labels: {loss: cross_entropy, classes: mean}, "
                    "hidden_states: {projection: always, projections: each, projection_bias: "
                    "true}]\n",
                    "objectives: [continuation: {scale: {from: 0.1, to: 1}, margin: 0.1}]\n",
                    several_terms, std::string(several_terms) + "accumulate: 2\n",
                    "objectives: [contrastive: {bank: 20, learn_temperature: true}]\n"
                    "sharpness: {sam: {rho: 0.05}}\n",
                    "objectives: [soft_labels: {}]\n"
                    "pruning: {magnitude: {sparsity: 60%, begin: 0%, end: 60%, every: 2 steps}}\n"
                    "sharpness: {sam: {rho: 0.05}}\naveraging: {swa: {start: 80%}}\n",
                    "objectives: [soft_labels: {}]\nschedule: {cyclic_linear: {cycle: 4 steps}}\n"
                    "pruning: {magnitude: {sparsity: 80%, initial: 50%, begin: 20%, end: 80%, "
                    "every: 1 step, regrowth: false}}\n",
                    "objectives: [soft_labels: {}]\n"
                    "pruning: {magnitude: {sparsity: 75%, end: 60%, every: 2 steps, pattern: "
                    "{block: [1, 4]}}}\n",
                    "objectives: [soft_labels: {}]\n"
                    "pruning: {magnitude: {end: 60%, every: 2 steps, pattern: {n: 2, of: 4}}}\n",
                    "# zeros\nobjectives: [soft_labels: {}, labels: {}]\nschedule: {cosine: "
                    "{warmup: 2 steps}}\npruning: {keep_pattern: {}}\n",
                    "objectives: [labels: {}]\naveraging: {swa: {start: 0%, every: 2 steps, lr: "
                    "0.05, start_weights: true}}\n",
                    "# dan\nobjectives: [soft_labels: {}, labels: {}]\naccumulate: 2\n"
                    "sharpness: {sam: {rho: 0.05}}\naveraging: {swa: {start: 50%}}\n",
                    "objectives: [labels: {}]\naccumulate: 2\n"
                    "augment: [hidden_noise: {sigma: 0.05, where: both}]\n",
                    "objectives: [labels: {}]\nmodel: {from: none, lora: {rank: 2, dropout: 0.1}, "
                    "adapter: {size: 4}, prefix: {length: 3}, train: [attachment, value, head]}\n"
                    "sharpness: {sam: {rho: 0.05}}\n"));

// Rounding to integers turns differences of float32 rounding into whole steps now and then, so the
// whole run is compared more coarsely; ranks agree to the bit all the same.
class ShareQuantized : public testing::TestWithParam<std::string> {};

TEST_P(ShareQuantized, StaysNearTheWholeBatch) {
  const std::string yaml = sgd + GetParam();
  // A step of 4 bits is 127 / 7 of one of 8.
  const double bound = yaml.find("int4") == std::string::npos ? 1e-3 : 1e-3 * 127 / 7;
  Bench whole(yaml);
  run(whole.job);
  for (int world : {2, 3}) {
    const std::vector<nn::TensorMap> ranks = shared(world, yaml);
    for (int rank = 1; rank < world; ++rank)
      expect_equal(ranks[0], ranks[static_cast<size_t>(rank)]);
    EXPECT_LT(largest_difference(ranks[0], whole.weights()), bound) << world << " processes";
    EXPECT_EQ(moved_zeros(ranks[0], whole.weights()), 0) << world << " processes";
  }
}

INSTANTIATE_TEST_SUITE_P(
    Recipes, ShareQuantized,
    testing::Values(
        "objectives: [soft_labels: {}]\nquantization: {}\nsharpness: {sam: {rho: 0.05}}\n"
        "averaging: {swa: {start: 80%}}\n"
        "pruning: {magnitude: {sparsity: 60%, begin: 0%, end: 20%, every: 1 step}}\n",
        "objectives: [labels: {}]\nquantization: {activation_scale: static}\n",
        "objectives: [labels: {}]\nquantization: {weight_granularity: tensor, weight_range: "
        "widening, activations: uint8, activation_scale: static, outputs: uint8}\n",
        "objectives: [labels: {}]\nquantization: {embeddings: int4, embedding_group: 8}\n",
        // Second differences of losses have few digits left.
        "objectives: [labels: {}]\naccumulate: 2\nsharpness: {delta_sam: {sigma: 0.05}}\n"));

// The weights that `trained` leaves in one process (null) and in each of several.
void expect_same_in_processes(const std::function<nn::TensorMap(Processes*)>& trained) {
  const nn::TensorMap whole = trained(nullptr);
  for (int world : {2, 3}) {
    std::vector<nn::TensorMap> ranks(static_cast<size_t>(world));
    parallel::all_together(world, [&](Processes& processes) {
      ranks[static_cast<size_t>(processes.rank())] = trained(&processes);
    });
    expect_equal(ranks[0], ranks[1]);
    EXPECT_LT(largest_difference(ranks[0], whole), 2e-6) << world << " processes";
  }
}

// How many tokens of the whole update are masked is known to no process alone; each row masks
// another number of them.
class ShareMasked : public testing::TestWithParam<std::string> {};

TEST_P(ShareMasked, EqualsTheWholeBatch) {
  const std::string yaml = sgd + GetParam();
  const augment::Words words;
  auto trained = [&](Processes* processes) {
    Bench bench(yaml);
    bench.student = nn::build(masked_lm(), 1);
    bench.job.student = bench.student.get();
    bench.job.tokenizer = &words;
    bench.job.processes = processes;
    run(bench.job);
    return bench.weights();
  };
  expect_same_in_processes(trained);
}

INSTANTIATE_TEST_SUITE_P(
    Recipes, ShareMasked,
    testing::Values("objectives: [labels: {}]\naugment: [masking: {}]\n",
                    // The student's words on unmasked rows; its own words of the epoch before,
                    // which every process reads whoever drew them (an epoch is seven updates).
                    "teachers: {self: student}\nobjectives: [labels: {}, soft_labels: {}]\n"
                    "augment: [masking: {}]\naccumulate: 2\n",
                    "objectives: [labels: {}]\naugment: [self_replacement: {}]\n",
                    // Labels of masked tokens beside soft labels of all.
                    "teachers: {old: {average: {decay: 0.8}}}\nobjectives: [labels: {tokens: "
                    "masked, weight: 0.5}, soft_labels: {temperature: 2, weight: 0.5}]\n"
                    "augment: [masking: {predict: all}]\naccumulate: 2\n",
                    // As many tokens as a share of the whole update's, whoever reads them.
                    "objectives: [labels: {}]\naugment: [masking: {draw: update}]\n"
                    "length_width: 4\naccumulate: 2\n"));

// A teacher that reads the same rows as tokens of its own.
TEST(ShareViews, EqualsTheWholeBatch) {
  const std::string yaml = std::string(sgd) + "objectives: [soft_labels: {}]\naccumulate: 2\n";
  auto trained = [&](Processes* processes) {
    Bench bench(yaml, false);
    data::Split view = make_split(50);
    for (int32_t& id : view.ids.edit()) id = (id + 7) % 50;
    std::unique_ptr<nn::Model> model = nn::build(nn::tiny_bert(nn::HeadKind::classification), 9);
    const auto teacher =
        teacher::frozen(std::move(model), bench.student->config(), true, nn::Precision::float32, {},
                        0, {.dropout = true, .own_tokens = true});
    bench.job.given = {{.teacher = teacher.get(), .view = teacher::View::own, .rows = &view}};
    bench.job.processes = processes;
    run(bench.job);
    return bench.weights();
  };
  expect_same_in_processes(trained);
}

// What each process keeps of its rows is known to all once an epoch is over, and in a saved state.
TEST(ShareRows, AreKnownToAllProcesses) {
  using Rows = std::vector<int64_t>;
  parallel::all_together(3, [&](Processes& processes) {
    const int rank = processes.rank();
    roles::RowStore store(7);
    store.add("words", torch::kInt32);
    // Rank 2 has nothing to say.
    if (rank < 2)
      store.put("words", Rows{rank, rank + 3}, torch::tensor({rank, 10, 11}, torch::kInt32),
                Rows{1, 2});
    store.share(&processes);
    roles::RowStore resumed(7);
    resumed.add("words", torch::kInt32);
    resumed.load_state(store.state());
    if (rank == 2)
      for (roles::RowStore* each : {&store, &resumed})
        each->put("words", Rows{6}, torch::tensor({6}, torch::kInt32));
    for (roles::RowStore* each : {&store, &resumed}) {
      each->settle(&processes);
      const roles::RowStore::Values found = each->get("words", Rows{0, 1, 2, 3, 4, 5, 6});
      EXPECT_EQ(found.counts, (Rows{1, 1, 0, 2, 2, 0, 1}));
      EXPECT_TRUE(
          torch::equal(found.values, torch::tensor({0, 1, 10, 11, 10, 11, 6}, torch::kInt32)));
    }
  });
}

class ShareAdam : public testing::TestWithParam<std::string> {};

TEST_P(ShareAdam, EqualsTheWholeBatchWhereGradientsAreNotTiny) {
  const std::string yaml = "for: 10 steps\nobjectives: [labels: {}]\n" + GetParam();
  Bench whole(yaml);
  run(whole.job);
  for (int world : {2, 3}) {
    const std::vector<nn::TensorMap> ranks = shared(world, yaml);
    expect_equal(ranks[0], ranks[1]);
    EXPECT_LT(largest_difference(ranks[0], whole.weights()), 2e-5) << world << " processes";
  }
}

INSTANTIATE_TEST_SUITE_P(
    Recipes, ShareAdam,
    testing::Values("optimizer: {adamw: {lr: 1e-3, eps: 1e-4}}\n",
                    // A row stays where no process reads it.
                    "# dan\noptimizer: {adamw: {lr: 1e-3, eps: 1e-4, rows: lazy}}\n"));

TEST(ShareSam, PerturbsByProcessWhereAskedTo) {
  const std::string yaml = std::string(sgd) + "objectives: [labels: {}]\n";
  const auto synchronised = shared(2, yaml + "sharpness: {sam: {rho: 0.5}}\n");
  const auto own = shared(2, yaml + "sharpness: {sam: {rho: 0.5, processes: per_process}}\n");
  const auto parts = shared(
      2, yaml + "accumulate: 2\nsharpness: {sam: {rho: 0.5, accumulation: per_micro_batch}}\n");
  expect_equal(own[0], own[1]);
  expect_equal(parts[0], parts[1]);
  EXPECT_GT(largest_difference(synchronised[0], own[0]), 1e-4);
}

// Where each process perturbs or unscales for itself, a gradient may overflow on one alone: the
// terms weigh so much that it does at the first scales.
TEST(ShareFp16, AnUpdateIsLeftOutByAllOrNone) {
  for (const char* how : {"objectives: [labels: {weight: 5}]\n"
                          "sharpness: {sam: {rho: 0.5, processes: per_process}}\n",
                          "objectives: [labels: {weight: 5}]\naccumulate: 2\n"
                          "sharpness: {sam: {rho: 0.5, accumulation: per_micro_batch}}\n"}) {
    std::vector<nn::TensorMap> ranks(2);
    std::vector<std::string> notes(2);
    parallel::all_together(2, [&](Processes& processes) {
      Bench bench(std::string("for: 10 steps\noptimizer: {sgd: {lr: 1e-4}}\n") + how,
                  Place{torch::kCPU, nn::Precision::fp16});
      bench.job.processes = &processes;
      const auto rank = static_cast<size_t>(processes.rank());
      notes[rank] = join(run(bench.job).notes, "; ");
      ranks[rank] = bench.weights();
    });
    expect_equal(ranks[0], ranks[1]);
    EXPECT_EQ(notes[0], notes[1]);
    EXPECT_NE(notes[0].find("left out"), std::string::npos) << notes[0];
    for (const auto& [name, value] : ranks[0])
      EXPECT_TRUE(value.isfinite().all().item<bool>()) << name;
  }
}

// Every process failed with this kind, and says this.
void expect_all(const std::vector<std::exception_ptr>& thrown, ErrorKind kind,
                const std::string& fragment) {
  for (const std::exception_ptr& one : thrown) {
    ASSERT_TRUE(one);
    try {
      std::rethrow_exception(one);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.message();
      EXPECT_NE(error.message().find(fragment), std::string::npos) << error.message();
    }
  }
}

TEST(ShareStop, OneStopsAll) {
  const auto folder = std::filesystem::temp_directory_path() / str("compress-share-", getpid());
  std::filesystem::create_directories(folder);
  const std::string yaml = std::string(sgd) + "objectives: [labels: {}]\n";
  const auto expected = shared(2, yaml);
  const auto thrown = parallel::together(2, [&](Processes& processes) {
    std::atomic<bool> stop{processes.rank() == 1};
    Bench bench(yaml);
    bench.job.processes = &processes;
    bench.job.stop = &stop;
    bench.job.state_file = folder / "state";
    run(bench.job);
  });
  expect_all(thrown, ErrorKind::interrupted, "stopped at step");
  parallel::all_together(2, [&](Processes& processes) {
    Bench bench(yaml);
    bench.job.processes = &processes;
    bench.job.state_file = folder / "state";
    EXPECT_EQ(run(bench.job).steps, 10);
    expect_equal(expected[0], bench.weights());
  });
  std::filesystem::remove_all(folder);
}

TEST(ShareCheck, DifferentModelsAreRefused) {
  const auto thrown = parallel::together(2, [&](Processes& processes) {
    Bench bench("for: 10 steps\nobjectives: [labels: {}]\n");
    bench.job.processes = &processes;
    torch::NoGradGuard no_grad;
    if (processes.rank() == 1)
      bench.student->params().find("classifier.weight")->latent[0][0] += 1e-6;
    run(bench.job);
  });
  expect_all(thrown, ErrorKind::process, "classifier.weight");
}

}  // namespace
}  // namespace compress::train
