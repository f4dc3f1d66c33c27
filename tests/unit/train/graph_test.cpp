#include "graphs/graph.h"

#include "unit/train/stage.h"

namespace compress::train {
namespace {

using torch::Tensor;

data::Batch of_length(int64_t rows, int64_t each) {
  return nn::random_batch(std::vector<int64_t>(static_cast<size_t>(rows), each));
}

TEST(Bucket, RoundsTokensAndRows) {
  EXPECT_EQ(bucket_of(of_length(2, 5)), (Bucket{2, 64, 128}));
  EXPECT_EQ(bucket_of(of_length(2, 32)), (Bucket{2, 64, 128}));
  EXPECT_EQ(bucket_of(of_length(2, 33)), (Bucket{2, 128, 128}));
  EXPECT_EQ(bucket_of(of_length(8, 129)), (Bucket{8, 1088, 256}));
}

TEST(Bucket, WastesLittleAndHoldsItsPadding) {
  for (int64_t rows : {1, 8, 32})
    for (int64_t each = 1; each <= 512; each += 7) {
      data::Batch batch;
      batch.longest = each;
      for (int64_t row = 0; row <= rows; ++row) batch.row_offsets.push_back(row * each);
      batch.example_ids.assign(static_cast<size_t>(rows), 0);
      const Bucket bucket = bucket_of(batch);
      const int64_t padding = bucket.tokens - batch.tokens();
      EXPECT_GE(padding, 0);
      EXPECT_LT(padding, std::max<int64_t>(64, batch.tokens() / 16 + 1));
      EXPECT_GE(bucket.longest, std::max(each, padding));
      EXPECT_EQ(bucket.longest % 128, 0);
      EXPECT_EQ(bucket.rows, rows);
    }
}

GraphFacts fitting() {
  GraphFacts facts;
  facts.device = torch::Device(torch::kCUDA, 0);
  facts.library = facts.flash = true;
  facts.precision = nn::Precision::bf16;
  facts.head = nn::HeadKind::classification;
  return facts;
}

TEST(GraphPolicy, SaysWhyNot) {
  EXPECT_EQ(graph_refusal(fitting()), "");
  auto reason = [](const std::function<void(GraphFacts&)>& change) {
    GraphFacts facts = fitting();
    change(facts);
    return graph_refusal(facts);
  };
  EXPECT_NE(reason([](auto& f) { f.device = torch::kCPU; }).find("not CUDA"), std::string::npos);
  EXPECT_NE(reason([](auto& f) { f.library = false; }).find("without CUDA"), std::string::npos);
  EXPECT_NE(reason([](auto& f) { f.precision = nn::Precision::float32; }).find("float32"),
            std::string::npos);
  EXPECT_NE(reason([](auto& f) { f.flash = false; }).find("card"), std::string::npos);
  EXPECT_NE(reason([](auto& f) { f.captures.attention = true; }).find("attention scores"),
            std::string::npos);
  EXPECT_NE(reason([](auto& f) { f.head = nn::HeadKind::masked_lm; }).find("labelled"),
            std::string::npos);
  EXPECT_NE(reason([](auto& f) { f.head = nn::HeadKind::token_classification; }).find("labelled"),
            std::string::npos);
  EXPECT_NE(reason([](auto& f) { f.head = nn::HeadKind::span; }).find("padding"),
            std::string::npos);
  EXPECT_NE(reason([](auto& f) { f.head = nn::HeadKind::multiple_choice; }).find("choices"),
            std::string::npos);
  EXPECT_NE(reason([](auto& f) { f.decoder = true; }).find("decoders"), std::string::npos);
  EXPECT_NE(reason([](auto& f) { f.head = nn::HeadKind::embedding; }).find("mean"),
            std::string::npos);
  EXPECT_EQ(reason([](auto& f) {
              f.head = nn::HeadKind::embedding;
              f.pooling = "cls+lasttoken";
            }),
            "");
  EXPECT_NE(reason([](auto& f) {
              f.head = nn::HeadKind::embedding;
              f.pooling = "cls+max";
            }).find("cls+max"),
            std::string::npos);
  EXPECT_EQ(reason([](auto& f) { f.parts = "ranges see it"; }), "ranges see it");
  EXPECT_NE(reason([](auto& f) { f.accumulate = 2; }).find("parts"), std::string::npos);
}

TEST(GraphPolicy, OfOneStep) {
  const data::Batch batch = of_length(8, 5);
  EXPECT_EQ(step_refusal(batch, 8, {1, 2}, {1, 2}), "");
  EXPECT_NE(step_refusal(batch, 9, {1, 2}, {1, 2}).find("last batch"), std::string::npos);
  EXPECT_NE(step_refusal(batch, 8, {1, 2}, {1, 2.5}).find("changes"), std::string::npos);
}

// A stage's loss and gradients, from the parts that a pass consists of.
struct Passes {
  std::unique_ptr<nn::Model> student, teacher;
  nn::ParamTable auxiliary;
  std::unique_ptr<objective::Objective> logits, hidden;

  Passes() {
    nn::ModelState state = nn::tiny_bert(nn::HeadKind::classification);
    state.config.hidden_dropout = state.config.attention_dropout = state.config.classifier_dropout =
        0;
    student = nn::build(state, 1);
    state.tensors.begin()->second.mul_(1.5);
    teacher = nn::build(state, 2);
    teacher->freeze();
    logits = made("logits_mse");
    hidden = made("hidden_states: {projection: always}");
    for (objective::Objective* each : {logits.get(), hidden.get()})
      each->bind({.student = student->config(),
                  .weights = student->params(),
                  .helpers = auxiliary,
                  .teachers = {{"teacher", &teacher->config()}},
                  .seed = 3});
    for (nn::ParamTable* table : {&student->params(), &teacher->params(), &auxiliary})
      table->refresh(nn::Precision::float32);
  }
  static std::unique_ptr<objective::Objective> made(const std::string& text) {
    recipe::Component component;
    recipe::Problems problems;
    objective::objectives().read(recipe::parse_text(text), component, problems);
    problems.raise();
    return objective::make(component);
  }
  std::vector<nn::Parameter*> trained() {
    std::vector<nn::Parameter*> all = student->params().trainable();
    for (nn::Parameter& parameter : auxiliary.list()) all.push_back(&parameter);
    for (nn::Parameter* parameter : all) parameter->row_gradient = false;
    return all;
  }
  PassLosses pass(const data::Batch& batch) {
    const nn::Capture capture{.hidden = true};
    nn::Outputs target;
    {
      torch::NoGradGuard no_grad;
      target = teacher->forward(batch, capture, {});
    }
    nn::Outputs seen = student->forward(batch, capture, {true, 1, nn::Precision::float32});
    objective::Signals signals{batch, seen, &target, {}};
    Tensor a = logits->compute(signals).share(batch), b = hidden->compute(signals).share(batch),
           total = a + b;
    total.backward();
    student->params().collect_gradients(false);
    auxiliary.collect_gradients(false);
    return {{{"logits", a.detach()}, {"hidden", b.detach()}}, total.detach()};
  }
};

std::map<std::string, Tensor> gradients(const std::vector<nn::Parameter*>& parameters) {
  std::map<std::string, Tensor> all;
  for (nn::Parameter* parameter : parameters) {
    Tensor& gradient = parameter->latent.mutable_grad();
    if (gradient.defined()) all[parameter->name] = gradient.clone();
    gradient.reset();
  }
  return all;
}

TEST(StepGraphs, PaddingChangesNeitherLossNorGradients) {
  Passes passes;
  auto trained = passes.trained();
  const data::Batch batch = nn::random_batch({7, 3, 11, 20});
  const PassLosses plain = passes.pass(batch);
  const auto expected = gradients(trained);
  ASSERT_GT(expected.size(), 30u);
  StepGraphs graphs(torch::kCPU, trained);
  for (int round = 0; round < 3; ++round) {
    const data::Batch staged = graphs.stage(batch);
    EXPECT_EQ(staged.tokens(), 64);
    EXPECT_EQ(staged.rows(), 4);
    const PassLosses seen = graphs.run(5, [&] { return passes.pass(staged); });
    EXPECT_NEAR(seen.total.item<float>(), plain.total.item<float>(), 1e-5);
    ASSERT_EQ(seen.terms.size(), 2u);
    for (size_t i = 0; i < 2; ++i)
      EXPECT_NEAR(seen.terms[i].second.item<float>(), plain.terms[i].second.item<float>(), 1e-5)
          << seen.terms[i].first;
    for (nn::Parameter* parameter : trained)
      if (parameter->latent.grad().defined())
        EXPECT_TRUE(parameter->latent.grad().is_same(parameter->gradient_buffer))
            << parameter->name;
    const auto found = gradients(trained);
    ASSERT_EQ(found.size(), expected.size());
    for (const auto& [name, value] : expected)
      EXPECT_LT((value - found.at(name)).abs().max().item<float>(), 2e-5f) << name;
  }
  EXPECT_EQ(graphs.recorded(), 0);  // nothing is recorded on the CPU
}

TEST(StepGraphs, BatchesOfABucketShareMemory) {
  Passes passes;
  StepGraphs graphs(torch::kCPU, passes.trained());
  const data::Batch one = nn::random_batch({9, 4}, 1), two = nn::random_batch({6, 12}, 2),
                    other = nn::random_batch({40, 40}, 3);
  const data::Batch first = graphs.stage(one);
  const Tensor ids = first.token_ids.narrow(0, 0, 13).clone();
  EXPECT_TRUE(torch::equal(ids, one.token_ids));
  const Tensor logits = graphs.stage(torch::ones({2, 2}), "logits");
  const data::Batch second = graphs.stage(two);
  EXPECT_EQ(first.token_ids.data_ptr(), second.token_ids.data_ptr());
  EXPECT_TRUE(torch::equal(second.token_ids.narrow(0, 0, 18), two.token_ids));
  EXPECT_EQ(graphs.stage(torch::zeros({2, 2}), "logits").data_ptr(), logits.data_ptr());
  EXPECT_EQ(logits.sum().item<float>(), 0);
  const data::Batch third = graphs.stage(other);
  EXPECT_NE(first.token_ids.data_ptr(), third.token_ids.data_ptr());
  EXPECT_EQ(third.tokens(), 128);
}

TEST(StepGraphs, AStageOnTheCpuSaysThatItHasNone) {
  Bench with("for: 4 steps\nobjectives: [labels: {}]\ngraphs: true\n", false),
      without("for: 4 steps\nobjectives: [labels: {}]\n", false);
  run(with.job);
  run(without.job);
  expect_equal(with.weights(), without.weights());
}

}  // namespace
}  // namespace compress::train
