// Losses of heads whose labels are true or not by themselves.

#include <cmath>

#include "support.h"

namespace compress::objective {
namespace {

using testing::HasSubstr;

TEST(LabelSets, LossByHandWithGradient) {
  Bound labels("labels", model(HeadKind::multi_label, 3));
  data::Batch batch;
  batch.targets.distribution = torch::tensor({{1.0f, 0.0f, 1.0f}, {0.0f, 0.25f, 1.0f}});
  const float three = std::log(3.0f);  // s(z) = 3/4
  torch::Tensor z =
      torch::tensor({{three, three, 0.0f}, {-three, 0.0f, three}}).requires_grad_(true);
  torch::Tensor loss = labels(batch, with_logits(z));
  const double first = std::log(4.0 / 3) + std::log(4.0) + std::log(2.0),
               second = std::log(4.0 / 3) + std::log(2.0) + std::log(4.0 / 3);
  EXPECT_NEAR(loss.item<double>(), (first / 3 + second / 3) / 2, 1e-6);
  loss.backward();
  EXPECT_TRUE(torch::allclose(z.grad(), (z.detach().sigmoid() - batch.targets.distribution) / 6,
                              1e-5, 1e-7));
}

TEST(LabelSets, DistilsEachLabelByItself) {
  const auto config = model(HeadKind::multi_label, 2);
  Bound term("soft_labels: {temperature: 2}", config, config);
  const float z = 2 * std::log(3.0f);  // s(z / 2) = 3/4
  torch::Tensor logits = torch::zeros({1, 2}).requires_grad_(true);
  nn::Outputs student = with_logits(logits), teacher = with_logits(torch::tensor({{z, 0.0f}}));
  data::Batch batch;
  // KL((3/4, 1/4) || (1/2, 1/2)) of the first label, 0 of the second.
  const double divergence = 0.75 * std::log(1.5) + 0.25 * std::log(0.5);
  torch::Tensor loss = term(batch, student, &teacher);
  EXPECT_NEAR(loss.item<double>(), 4 * divergence / 2, 1e-6);
  loss.backward();  // T^2 / (T C) (b_S - b_T)
  EXPECT_TRUE(torch::allclose(logits.grad(), torch::tensor({{0.5f - 0.75f, 0.0f}}), 1e-5, 1e-7));
}

TEST(LabelSets, WrongUses) {
  EXPECT_THAT(failure([] {
                Bound("labels: {label_smoothing: 0.1}", model(HeadKind::multi_label, 2));
              }).message(),
              HasSubstr("no meaning for multi_label_classification"));
  EXPECT_THAT(failure([] {
                Bound("soft_labels", model(HeadKind::multi_label, 2),
                      model(HeadKind::classification));
              }).message(),
              HasSubstr("the student's head is multi_label_classification and the teacher's is "
                        "classification"));
}

}  // namespace
}  // namespace compress::objective
