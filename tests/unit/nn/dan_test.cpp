// Deep averaging networks: forward and gradient by hand, what dropout draws, heads, refusals.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "compress/base/error.h"
#include "compress/base/hash.h"
#include "compress/nn/architecture.h"
#include "support/failure.h"
#include "unit/nn/dan.h"

namespace compress::nn {
namespace {

using testing::HasSubstr;
using torch::Tensor;

data::Batch batch_of(const std::vector<std::vector<int64_t>>& rows) {
  std::vector<int64_t> lengths, ids;
  for (const auto& row : rows) {
    lengths.push_back(static_cast<int64_t>(row.size()));
    ids.insert(ids.end(), row.begin(), row.end());
  }
  data::Batch batch = random_batch(lengths);
  batch.token_ids = torch::tensor(ids);
  return batch;
}

// E = (9, 9), (1, 2), (3, -4), (0, 2), of which 0 is the padding; one dense layer with W = 1 and
// b = (0, 1); logits of (1, 1; 1, -1) and (1/2, 0).
ModelState by_hand(const std::string& reduction = "mean") {
  ModelState state = tiny_dan(HeadKind::classification, 4, 2, 2);
  state.config.raw["reduction"] = reduction;
  state.config.embedding_dropout = state.config.classifier_dropout = 0;
  state.tensors["embeddings.weight"] = torch::tensor({{9., 9.}, {1., 2.}, {3., -4.}, {0., 2.}});
  state.tensors["dense.0.weight"] = torch::eye(2);
  state.tensors["dense.0.bias"] = torch::tensor({0., 1.});
  state.tensors["classifier.weight"] = torch::tensor({{1., 1.}, {1., -1.}});
  state.tensors["classifier.bias"] = torch::tensor({0.5, 0.});
  return state;
}

std::string refusal(const std::function<void()>& act) {
  const Error error = failure(act);
  EXPECT_EQ(error.kind(), ErrorKind::model);
  return error.message();
}

std::unique_ptr<Model> ready(const ModelState& state) {
  std::unique_ptr<Model> model = build(state, 1);
  for (Parameter& parameter : model->params().list()) parameter.latent.requires_grad_(true);
  model->params().refresh(Precision::float32);
  return model;
}

TEST(Dan, ForwardByHand) {
  torch::NoGradGuard no_grad;
  const data::Batch batch = batch_of({{1, 2, 2}, {0}});
  // Means (7/3, -2) and, of a row with no n-gram, 0; through the layer and ReLU (7/3, 0), (0, 1).
  const Outputs mean = ready(by_hand())->forward(batch, {.pooled = true}, {});
  EXPECT_TRUE(torch::allclose(mean.pooled, torch::tensor({{7. / 3, 0.}, {0., 1.}})));
  EXPECT_TRUE(torch::allclose(mean.logits, torch::tensor({{17. / 6, 7. / 3}, {1.5, -1.}})));
  const Outputs sum = ready(by_hand("sum"))->forward(batch, {}, {});
  EXPECT_TRUE(torch::allclose(sum.logits, torch::tensor({{7.5, 7.}, {1.5, -1.}})));
  EXPECT_FALSE(sum.pooled.defined());
}

TEST(Dan, GradientByHand) {
  const std::unique_ptr<Model> model = ready(by_hand());
  const Outputs out = model->forward(batch_of({{1, 2, 2, 0}, {0}}), {}, {.training = true});
  out.logits[0][0].backward();
  model->params().collect_gradients(false);
  // The second unit of the layer is off: d logit / d mean = (1, 0), a third of it for each token.
  const Parameter& table = *model->params().find("embeddings.weight");
  EXPECT_TRUE(table.row_gradient);
  EXPECT_TRUE(torch::allclose(table.latent.grad(),
                              torch::tensor({{0., 0.}, {1. / 3, 0.}, {2. / 3, 0.}, {0., 0.}})));
  EXPECT_TRUE(torch::allclose(model->params().find("dense.0.weight")->latent.grad(),
                              torch::tensor({{7. / 3, -2.}, {0., 0.}})));
}

TEST(Dan, OrderAndPaddingDoNotMatter) {
  torch::NoGradGuard no_grad;
  const auto model = ready(tiny_dan(HeadKind::classification));
  const Tensor a = model->forward(batch_of({{5, 6, 7, 6}}), {}, {}).logits,
               b = model->forward(batch_of({{6, 0, 7, 6, 5, 0}}), {}, {}).logits;
  EXPECT_TRUE(torch::allclose(a, b, 1e-5, 1e-6));
}

// Dropout is a matter of a token's and a row's place in the update: its parts draw what it does.
TEST(Dan, PartsOfAnUpdateDrawWhatTheWholeDraws) {
  torch::NoGradGuard no_grad;
  const auto model = ready(tiny_dan(HeadKind::classification));
  const data::Batch whole = random_batch({5, 3, 9, 2});
  const Pass pass{.training = true, .dropout_seed = 11};
  const Tensor expected = model->forward(whole, {}, pass).logits;
  const Tensor first = model->forward(data::slice(whole, 0, 1), {}, pass).logits,
               rest = model->forward(data::slice(whole, 1, 4), {}, pass).logits;
  EXPECT_TRUE(torch::allclose(torch::cat({first, rest}), expected, 1e-5, 1e-6));
  EXPECT_FALSE(torch::allclose(model->forward(whole, {}, {}).logits, expected, 1e-3, 1e-3));
}

TEST(Dan, NgramDropoutLeavesTokensOut) {
  torch::NoGradGuard no_grad;
  ModelState state = by_hand();
  state.config.embedding_dropout = 0.5;
  state.tensors["embeddings.weight"] = torch::tensor({{9., 9.}, {1., 0.}, {2., 0.}, {4., 0.}});
  const auto model = ready(state);
  // The mean of a row with tokens 1 and 2 is 0, 1, 2 or 1.5: the mean of those that stay.
  std::map<double, int> seen;
  for (uint64_t seed = 0; seed < 200; ++seed)
    ++seen[model
               ->forward(batch_of({{1, 2}}), {.pooled = true},
                         {.training = true, .dropout_seed = mix64(seed)})
               .pooled[0][0]
               .item<double>()];
  ASSERT_EQ(seen.size(), 4u);
  for (const double mean : {0., 1., 2., 1.5}) EXPECT_NEAR(seen[mean], 50, 30) << mean;
}

TEST(Dan, HasFurtherHeadsAndEmbeddings) {
  torch::NoGradGuard no_grad;
  ModelState state = tiny_dan(HeadKind::classification);
  set_more_heads(state,
                 {{.name = "topic", .kind = HeadKind::classification, .labels = {"a", "b"}}});
  const auto model = ready(state);
  Capture capture;
  capture.heads = {"topic"};
  const Outputs out = model->forward(random_batch({4, 3}), capture, {});
  ASSERT_EQ(out.of("topic").logits.sizes(), out.logits.sizes());
  EXPECT_FALSE(torch::equal(out.of("topic").logits, out.logits));
  state = tiny_dan(HeadKind::embedding);
  state.config.normalize = true;
  const Tensor vectors = ready(state)->forward(random_batch({4, 3}), {}, {}).pooled;
  EXPECT_TRUE(torch::allclose(vectors.norm(2, 1), torch::ones({2})));
}

TEST(Dan, ConfigIsReadAndWritten) {
  const Family& dan = family("dan");
  const Json json = Json::parse(R"({"model_type": "dan", "vocab_size": 7, "embedding_size": 3,
    "hidden_size": 4, "num_dense_layers": 2, "reduction": "sum", "ngram_dropout": 0.25,
    "architectures": ["DanForSequenceClassification"], "id2label": {"0": "a", "1": "b"}})");
  const ModelConfig config = dan.read_config(json);
  EXPECT_EQ(config.head, HeadKind::classification);
  EXPECT_DOUBLE_EQ(config.embedding_dropout, 0.25);
  EXPECT_TRUE(dan.remarks(json).empty());
  const std::vector<NamedShape> body = dan.body(config);
  ASSERT_EQ(body.size(), 5u);
  EXPECT_EQ(body[0].shape, (std::vector<int64_t>{7, 3}));
  EXPECT_EQ(body[3].name, "dense.1.weight");
  EXPECT_EQ(body[3].shape, (std::vector<int64_t>{4, 4}));
  const Json again = dan.write_config(config);
  EXPECT_EQ(again.at("num_dense_layers"), 2);
  EXPECT_EQ(dan.read_config(again).embedding_size, 3);
  auto said = [&](const char* key, const Json& value) {
    Json other = json;
    other[key] = value;
    return refusal([&] { dan.read_config(other); });
  };
  EXPECT_THAT(said("num_dense_layers", 0), HasSubstr("hidden_size must be embedding_size"));
  EXPECT_THAT(said("num_dense_layers", 1000000), HasSubstr("0 to 64"));
  EXPECT_THAT(said("num_dense_layers", "two"), HasSubstr("whole number"));
  EXPECT_THAT(said("reduction", "max"), HasSubstr("\"mean\" or \"sum\""));
  EXPECT_THAT(said("pad_token_id", 7), HasSubstr("no token of a vocab_size"));
}

TEST(Dan, HasNoLayersToCaptureOrAttachTo) {
  const auto model = ready(tiny_dan(HeadKind::classification));
  Capture capture;
  capture.hidden = true;
  EXPECT_THAT(refusal([&] { model->forward(random_batch({3}), capture, {}); }),
              HasSubstr("no layers"));
  ModelState state = tiny_dan(HeadKind::classification);
  state.config.attachments = {{"lora", "lora", {}}};
  EXPECT_THAT(refusal([&] { build(state, 1); }), HasSubstr("no layers"));
  state = tiny_dan(HeadKind::classification);
  state.tensors.clear();
  EXPECT_THAT(refusal([&] { build(state, 1); }), HasSubstr("no weights yet"));
}

// The gradient of a large table is memory for touched rows only; it is added to, and cleared.
TEST(Dan, ALargeTablesGradientIsItsTouchedRows) {
  ModelState state = tiny_dan(HeadKind::classification, 70'000, 256, 4);
  state.config.embedding_dropout = 0;
  const auto model = ready(state);
  Parameter& table = *model->params().find("embeddings.weight");
  for (int pass = 0; pass < 2; ++pass) {
    Tensor once;
    for (int part = 0; part < 2; ++part) {
      model->forward(batch_of({{69'999, 3, 69'999}}), {}, {}).logits.sum().backward();
      if (part == 0) once = table.latent.grad().index_select(0, torch::tensor({3, 69'999})).clone();
    }
    const Tensor& gradient = table.latent.grad();
    EXPECT_GT(once.abs().max().item<double>(), 0);
    EXPECT_TRUE(torch::allclose(once[1], once[0] * 2));
    EXPECT_TRUE(torch::allclose(gradient.index_select(0, torch::tensor({3, 69'999})), once * 2));
    EXPECT_EQ(gradient.ne(0).any(1).sum().item<int64_t>(), 2);
    model->params().clear_gradients();
    EXPECT_EQ(table.latent.grad().count_nonzero().item<int64_t>(), 0);
    EXPECT_TRUE(table.touched.empty());
  }
}

}  // namespace
}  // namespace compress::nn
