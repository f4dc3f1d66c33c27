// Terms of heads that say something of tokens or choices.

#include <cmath>

#include "../../../src/objective/token_losses.h"
#include "support.h"

namespace compress::objective {
namespace {

using testing::HasSubstr;
using torch::Tensor;

nn::Outputs with_tokens(const Tensor& logits, std::vector<int64_t> index = {}) {
  nn::Outputs outputs;
  outputs.token_logits = logits;
  outputs.token_index = index.empty() ? torch::arange(logits.size(0)) : torch::tensor(index);
  return outputs;
}

data::Batch with_token_labels(std::vector<int64_t> labels) {
  data::Batch batch;
  batch.targets.token_labels = torch::tensor(labels);
  return batch;
}

// Rows of the given lengths, without tokens.
data::Batch rows_of(const std::vector<int64_t>& lengths) {
  data::Batch batch;
  std::vector<int64_t> slots;
  batch.row_offsets = {0};
  for (int64_t length : lengths) batch.longest = std::max(batch.longest, length);
  for (size_t row = 0; row < lengths.size(); ++row) {
    for (int64_t i = 0; i < lengths[row]; ++i)
      slots.push_back(static_cast<int64_t>(row) * batch.longest + i);
    batch.row_offsets.push_back(batch.row_offsets.back() + lengths[row]);
    batch.example_ids.push_back(static_cast<int64_t>(row));
  }
  batch.slots = torch::tensor(slots);
  return batch;
}

TEST(TokenLabels, CausalLmByHandWithGradient) {
  Bound labels("labels", model(HeadKind::causal_lm));
  const data::Batch batch = with_token_labels({1, -100, 0, -100});
  Tensor z = torch::tensor({{0.0f, std::log(3.0f)}, {0.0f, 0.0f}}).requires_grad_(true);
  Tensor loss = labels(batch, with_tokens(z, {0, 2}));
  EXPECT_NEAR(loss.item<double>(), (std::log(4.0 / 3) + std::log(2.0)) / 2, 1e-6);
  EXPECT_EQ(labels.unit(batch, with_tokens(z, {0, 2})), Unit::labels);
  (loss * 3).backward();
  const Tensor expected = torch::tensor({{0.25f, -0.25f}, {-0.5f, 0.5f}}) * 1.5;
  EXPECT_TRUE(torch::allclose(z.grad(), expected, 1e-5, 1e-7));
  Tensor none = labels(batch, with_tokens(torch::empty({0, 5}).requires_grad_(true), {}));
  EXPECT_EQ(none.item<double>(), 0);
  none.backward();
  EXPECT_THAT(failure([&] { labels({}, with_tokens(z)); }).message(), HasSubstr("causal_lm"));
}

// Values and gradients in chunks are those of LibTorch's functions on the whole.
TEST(TokenLosses, CrossEntropyIsThatOfTheWhole) {
  torch::manual_seed(1);
  for (int64_t vocabulary : {7, 300000})  // chunks of many rows, of one
    for (double smoothing : {0.0, 0.1}) {
      const Tensor labels = torch::randint(vocabulary, {9});
      Tensor ours = (torch::randn({9, vocabulary}) * 3).requires_grad_(true);
      Tensor theirs = ours.detach().clone().requires_grad_(true);
      Tensor a = token_cross_entropy(ours, labels, smoothing).mean();
      Tensor b = at::cross_entropy_loss(theirs, labels, {}, at::Reduction::Mean, -100, smoothing);
      EXPECT_NEAR(a.item<double>(), b.item<double>(), 1e-5);
      (a * 0.3).backward();
      (b * 0.3).backward();
      EXPECT_TRUE(torch::allclose(ours.grad(), theirs.grad(), 1e-4, 1e-8));
      torch::NoGradGuard no_grad;
      EXPECT_EQ(token_cross_entropy(ours, labels, smoothing).mean().item<float>(), a.item<float>());
    }
}

TEST(TokenLosses, DivergenceIsThatOfTheWhole) {
  torch::manual_seed(2);
  for (double temperature : {1.0, 2.5}) {
    const Tensor teacher = torch::randn({40, 30000}) * 2;
    Tensor ours = torch::randn({40, 30000}).requires_grad_(true);
    Tensor theirs = ours.detach().clone().requires_grad_(true);
    Tensor a = token_divergence(ours, teacher, temperature).sum();
    Tensor b = at::kl_div(at::log_softmax(theirs / temperature, 1),
                          at::log_softmax(teacher / temperature, 1), at::Reduction::Sum, true);
    EXPECT_NEAR(a.item<double>() / b.item<double>(), 1, 1e-5);
    a.backward();
    b.backward();
    EXPECT_TRUE(torch::allclose(ours.grad(), theirs.grad(), 1e-4, 1e-8));
  }
}

TEST(TokenLosses, BackwardRunsOnce) {
  Tensor z = torch::zeros({2, 3}).requires_grad_(true);
  Tensor loss = token_cross_entropy(z, torch::tensor({0, 1}), 0).sum();
  loss.backward({}, /*retain_graph=*/true);
  EXPECT_THROW(loss.backward(), Error);
}

// A causal LM's terms are those of a masked LM, whose losses are LibTorch's own.
TEST(TokenSoftLabels, AreThoseOfAMaskedLm) {
  torch::manual_seed(3);
  const Tensor taught = torch::randn({6, 5}) * 3;
  const auto [values, ids] = at::log_softmax(taught, 1).topk(2, 1);
  nn::Outputs all = with_tokens(taught), top;
  top.top_tokens = {ids, values,
                    at::log_softmax(taught, 1).scatter(1, ids, -INFINITY).logsumexp(1)};
  for (const char* text : {"soft_labels", "soft_labels: {temperature: 3}"})
    for (const nn::Outputs* teacher : {&all, &top}) {
      const auto masked = model(HeadKind::masked_lm), causal = model(HeadKind::causal_lm);
      nn::Outputs one = with_tokens(torch::randn({6, 5}).requires_grad_(true)),
                  two = with_tokens(one.token_logits.detach().clone().requires_grad_(true));
      Tensor a = Bound(text, masked, masked)({}, one, teacher),
             b = Bound(text, causal, causal)({}, two, teacher);
      EXPECT_NEAR(a.item<double>(), b.item<double>(), 1e-5);
      a.backward();
      b.backward();
      EXPECT_TRUE(torch::allclose(one.token_logits.grad(), two.token_logits.grad(), 1e-4, 1e-6));
    }
}

// With one tokenizer the rows behind the smaller table are padding: the loss is that without them.
TEST(TokenSoftLabels, AreOverTheTokensThatBothHave) {
  torch::manual_seed(4);
  const auto masked = model(HeadKind::masked_lm), causal = model(HeadKind::causal_lm);
  const Tensor taught = torch::randn({6, 5}), whole = torch::randn({6, 5});
  for (nn::ModelConfig config : {masked, causal})
    for (const char* text : {"soft_labels: {temperature: 2}", "logits_mse"}) {
      const nn::Outputs teacher = with_tokens(taught), student = with_tokens(whole);
      const Tensor expected = Bound(text, config, config)({}, student, &teacher);
      nn::ModelConfig padded = config;
      padded.vocab_size = 8;
      const Tensor rows = torch::randn({6, 3});
      nn::Outputs wide = with_tokens(at::cat({whole, rows}, 1).requires_grad_(true));
      Tensor loss = Bound(text, padded, config)({}, wide, &teacher);
      EXPECT_NEAR(loss.item<double>(), expected.item<double>(), 1e-6);
      loss.backward();
      EXPECT_EQ(wide.token_logits.grad().slice(1, 5).abs().max().item<float>(), 0);
      const nn::Outputs other = with_tokens(at::cat({taught, rows}, 1));
      EXPECT_NEAR(Bound(text, config, padded)({}, student, &other).item<double>(),
                  expected.item<double>(), 1e-6);
    }
}

TEST(TokenLabels, ClassesOfTokensByHand) {
  const auto config = model(HeadKind::token_classification);
  const nn::Outputs outputs =
      with_tokens(torch::tensor({{0.0f, std::log(3.0f)}, {0.0f, 0.0f}}), {1, 3});
  Bound labels("labels", config);
  EXPECT_NEAR(labels(with_token_labels({-100, 1, -100, 0}), outputs).item<double>(),
              (std::log(4.0 / 3) + std::log(2.0)) / 2, 1e-6);
  const nn::Outputs teacher = with_tokens(torch::zeros({2, 2}), {1, 3});
  Bound soft("soft_labels", config, config), mse("logits_mse", config, config);
  EXPECT_EQ(soft.unit({}, outputs, &teacher), Unit::labels);
  // KL of (1/2, 1/2) to (1/4, 3/4), and 0.
  EXPECT_NEAR(soft({}, outputs, &teacher).item<double>(), 0.5 * 0.5 * std::log(4.0 / 3), 1e-6);
  EXPECT_NEAR(mse({}, outputs, &teacher).item<double>(), std::pow(std::log(3.0), 2) / 4, 1e-6);
}

TEST(TokenLabels, ReplacedTokensByHand) {
  const auto config = model(HeadKind::replaced_token, 0);
  const nn::Outputs outputs = with_tokens(torch::tensor({{std::log(3.0f)}, {0.0f}}));
  Bound labels("labels", config);
  EXPECT_NEAR(labels(with_token_labels({0, 1}), outputs).item<double>(),
              (std::log(4.0) + std::log(2.0)) / 2, 1e-6);
  const nn::Outputs teacher = with_tokens(torch::zeros({2, 1}));
  Bound soft("soft_labels", config, config);
  EXPECT_NEAR(soft({}, outputs, &teacher).item<double>(), 0.5 * 0.5 * std::log(4.0 / 3), 1e-6);
}

// Where masking says which tokens it changed, the loss is of all of them.
TEST(TokenLabels, ChangedTokensByHand) {
  const auto config = model(HeadKind::replaced_token, 0);
  nn::Outputs outputs = with_tokens(torch::tensor({{std::log(3.0f)}, {0.0f}, {0.0f}}), {0, 1, 2});
  data::Batch batch = with_token_labels({-100, 4, -100});
  batch.targets.changed = torch::tensor({0, 1, 0});
  Bound labels("labels", config);
  EXPECT_EQ(labels.unit(batch, outputs), Unit::tokens);
  EXPECT_NEAR(labels(batch, outputs).item<double>(), (std::log(4.0) + 2 * std::log(2.0)) / 3, 1e-6);
}

// A masked LM that also says whether one text follows the other.
TEST(Heads, TermsReadTheirOwn) {
  nn::ModelConfig config = model(HeadKind::masked_lm, 0);
  config.more_heads = {
      {.name = "next", .kind = HeadKind::classification, .labels = {"is_next", "not_next"}}};
  nn::Outputs student = with_tokens(torch::zeros({1, 5}), {1}), teacher = student;
  student.more["next"].logits = torch::tensor({{0.0f, std::log(3.0f)}, {0.0f, 0.0f}});
  teacher.more["next"].logits = torch::zeros({2, 2});
  data::Batch batch = with_token_labels({-100, 4});
  batch.targets.distribution = torch::tensor({{0.0f, 1.0f}, {1.0f, 0.0f}});
  EXPECT_NEAR(Bound("labels", config)(batch, student).item<double>(), std::log(5.0), 1e-6);
  Bound next("labels: {head: next}", config);
  EXPECT_EQ(next.unit(batch, student), Unit::rows);
  EXPECT_THAT(next.term->needs().student.heads, testing::ElementsAre("next"));
  EXPECT_NEAR(next(batch, student).item<double>(), (std::log(4.0 / 3) + std::log(2.0)) / 2, 1e-6);
  Bound soft("soft_labels: {head: next}", config, config);
  EXPECT_NEAR(soft(batch, student, &teacher).item<double>(), 0.25 * std::log(4.0 / 3), 1e-6);
  const roles::Needs needs = soft.term->needs();
  EXPECT_THAT(needs.teachers.at("teacher").capture.heads, testing::ElementsAre("next"));
  EXPECT_FALSE(needs.teachers.at("teacher").logits);
  Bound mse("logits_mse: {head: next}", config, config);
  EXPECT_NEAR(mse(batch, student, &teacher).item<double>(), std::pow(std::log(3.0), 2) / 4, 1e-6);
  // A teacher that has the classes in another order is read in the student's.
  nn::ModelConfig turned = config;
  turned.more_heads[0].labels = {"not_next", "is_next"};
  nn::Outputs other = teacher;
  other.more["next"].logits = student.more["next"].logits.flip(1);
  EXPECT_NEAR(
      Bound("soft_labels: {head: next}", config, turned)(batch, student, &other).item<double>(), 0,
      1e-7);
}

TEST(Heads, WhatDoesNotFitIsRefused) {
  nn::ModelConfig config = model(HeadKind::masked_lm, 0), none = config;
  config.more_heads = {{.name = "next", .kind = HeadKind::classification, .labels = {"a", "b"}}};
  EXPECT_THAT(failure([&] { Bound("labels: {head: nxt}", config); }).hint(), HasSubstr("'next'"));
  EXPECT_THAT(failure([&] { Bound("soft_labels: {head: next}", config, none); }).message(),
              HasSubstr("which the teacher does not have"));
  nn::ModelConfig other = config;
  other.more_heads[0].labels = {"c", "d"};
  EXPECT_THAT(failure([&] { Bound("soft_labels: {head: next}", config, other); }).message(),
              HasSubstr("the classes of the head 'next' differ"));
  const Error late = failure([&] { Bound("labels: {head: next, label_smoothing: 0.1}", none); });
  EXPECT_THAT(late.where(), HasSubstr("recipe.yaml:1:1"));
}

TEST(TokenLabels, SpansByHandWithGradient) {
  const auto config = model(HeadKind::span, 0);
  data::Batch batch = rows_of({2, 1});
  batch.targets.spans = torch::tensor({{1, 0}, {0, 0}});
  // First row: firsts (0, log 3), lasts (0, 0); the second has one token, which is sure.
  Tensor z =
      torch::tensor({{0.0f, 0.0f}, {std::log(3.0f), 0.0f}, {5.0f, -5.0f}}).requires_grad_(true);
  Bound labels("labels", config);
  EXPECT_EQ(labels.unit(batch, with_tokens(z)), Unit::rows);
  Tensor loss = labels(batch, with_tokens(z));
  EXPECT_NEAR(loss.item<double>(), (std::log(4.0 / 3) + std::log(2.0)) / 4, 1e-6);
  loss.backward();
  EXPECT_TRUE(torch::allclose(
      z.grad(), torch::tensor({{0.25f, -0.5f}, {-0.25f, 0.5f}, {0.0f, 0.0f}}) / 4, 1e-5, 1e-7));
  Tensor again = z.detach().clone().requires_grad_(true);
  const nn::Outputs teacher = with_tokens(torch::zeros({3, 2}));
  Bound soft("soft_labels", config, config);
  Tensor divergence = soft(batch, with_tokens(again), &teacher);
  EXPECT_NEAR(divergence.item<double>(), 0.5 * std::log(4.0 / 3) / 4, 1e-6);
  divergence.backward();
  EXPECT_TRUE(torch::allclose(
      again.grad(), torch::tensor({{-0.25f, 0.0f}, {0.25f, 0.0f}, {0.0f, 0.0f}}) / 4, 1e-5, 1e-7));
}

TEST(TokenLabels, ChoicesByHand) {
  const auto config = model(HeadKind::multiple_choice, 0);
  data::Batch batch = rows_of({1, 1, 1, 1});
  batch.choices = 2;
  batch.targets.distribution = torch::tensor({{0.0f, 1.0f}, {1.0f, 0.0f}});
  const nn::Outputs outputs =
      with_logits(torch::tensor({{0.0f}, {std::log(3.0f)}, {0.0f}, {0.0f}}));
  Bound labels("labels", config);
  EXPECT_EQ(labels.unit(batch, outputs), Unit::rows);
  EXPECT_NEAR(labels(batch, outputs).item<double>(), (std::log(4.0 / 3) + std::log(2.0)) / 2, 1e-6);
  const nn::Outputs teacher = with_logits(torch::zeros({4, 1}));
  Bound soft("soft_labels", config, config);
  EXPECT_NEAR(soft(batch, outputs, &teacher).item<double>(), 0.5 * 0.5 * std::log(4.0 / 3), 1e-6);
}

TEST(TokenLabels, WrongUses) {
  for (HeadKind head : {HeadKind::span, HeadKind::replaced_token})
    EXPECT_THAT(failure([&] { Bound("labels: {label_smoothing: 0.1}", model(head, 0)); }).message(),
                HasSubstr("no meaning"));
}

// Two states of one width: what the term sees of each stack.
TEST(HiddenStates, BothStacksOfAnEncoderDecoder) {
  auto config = model(HeadKind::seq2seq_lm, 0, 1, 2);
  config.decoder_layers = 1;
  nn::Outputs student, teacher;
  student.hidden = {torch::zeros({1, 2}), torch::zeros({1, 2})};
  student.decoder_hidden = {torch::zeros({3, 2}), torch::zeros({3, 2})};
  teacher.hidden = {torch::zeros({1, 2}), torch::ones({1, 2})};
  teacher.decoder_hidden = {torch::zeros({3, 2}), torch::ones({3, 2}) * 2};
  auto value = [&](const char* text) {
    return Bound(text, config, config)({}, student, &teacher).item<double>();
  };
  EXPECT_NEAR(value("hidden_states"), 1 + 4, 1e-6);
  EXPECT_NEAR(value("hidden_states: {stack: encoder}"), 1, 1e-6);
  EXPECT_NEAR(value("hidden_states: {stack: decoder}"), 4, 1e-6);
  EXPECT_EQ(Bound("hidden_states", config, config).term->summary(),
            "student 1<-1; student's decoder 1<-1");
  const auto single = model(HeadKind::causal_lm, 0, 1, 2);
  EXPECT_THAT(failure([&] { Bound("hidden_states", single, config); }).message(),
              HasSubstr("encoder-decoder"));
  EXPECT_THAT(failure([&] { Bound("hidden_states: {stack: decoder}", single, single); }).message(),
              HasSubstr("`stack`"));
}

}  // namespace
}  // namespace compress::objective
