#include "compress/constraint/calibration.h"

#include <cmath>

#include "compress/constraint/quantize.h"
#include "helpers.h"
#include "support/failure.h"

namespace compress::constraint {
namespace {

using testing::HasSubstr;
using torch::Tensor;

const std::string module = "encoder.layer.0.intermediate.dense";

CalibrationOptions options(const std::string& text) {
  CalibrationOptions options;
  recipe::Problems problems;
  recipe::read_struct(CalibrationOptions::options().info(), recipe::parse_text(text, "a.yaml"),
                      &options, problems);
  problems.raise();
  return options;
}

double squares(const Tensor& difference) {
  return difference.to(torch::kFloat64).square().sum().item<double>();
}

Tensor dequantized(const Tensor& weight, Granularity granularity) {
  return dequantize_weight(quantize_weight(weight, granularity));
}

TEST(CalibrationRange, OfAPercentileEndsWithItsBin) {
  Tensor counts = torch::zeros({10}, torch::kFloat64);
  counts[0] = 90.0;
  counts[1] = 9.0;
  counts[9] = 1.0;
  EXPECT_DOUBLE_EQ(percentile_range(counts, 5, 90), 0.5);
  EXPECT_DOUBLE_EQ(percentile_range(counts, 5, 90.5), 1);
  EXPECT_DOUBLE_EQ(percentile_range(counts, 5, 99), 1);
  EXPECT_DOUBLE_EQ(percentile_range(counts, 5, 99.5), 5);
  EXPECT_DOUBLE_EQ(percentile_range(counts, 5, 100), 5);
}

TEST(CalibrationRange, OfLeastErrorLeavesRareOutliersOut) {
  const int64_t bins = 2048;
  Tensor counts = torch::zeros({bins}, torch::kFloat64);
  counts.slice(0, 0, bins / 4).fill_(1000.0);
  counts[bins - 1] = 1.0;
  const double found = mse_range(counts, 8);
  EXPECT_GT(found, 1.9);
  EXPECT_LT(found, 2.4);
  // Where large magnitudes are as frequent as small ones, nothing is left out.
  EXPECT_NEAR(mse_range(torch::ones({bins}, torch::kFloat64), 8), 8, 8.0 / 64);
}

TEST(CalibrationRange, OfWeightsIsClippedWhereThatIsNearer) {
  torch::manual_seed(5);
  Tensor weight = torch::randn({3, 4000});
  weight[0] *= 0.1;
  weight[0][0] = 4.0;  // 40 standard deviations
  weight[1].zero_();
  const Tensor before = weight.clone();
  for (const Granularity granularity : {Granularity::channel, Granularity::tensor}) {
    Tensor clipped = before.clone();
    clip_to_mse(clipped, granularity);
    for (int64_t row : {int64_t{0}, int64_t{2}})
      EXPECT_LE(squares(dequantized(clipped, granularity) - before),
                squares(dequantized(before, granularity) - before))
          << row;
    EXPECT_EQ(squares(clipped[1]), 0);
    EXPECT_TRUE(torch::equal(clipped, before.clamp(-clipped.abs().amax().item<double>(),
                                                   clipped.abs().amax().item<double>())) ||
                granularity == Granularity::channel);
  }
  Tensor two = torch::tensor({{1.0F, -1.0F}});
  clip_to_mse(two, Granularity::channel);
  EXPECT_TRUE(torch::equal(two, torch::tensor({{1.0F, -1.0F}})));
}

// With moments H the error e of a column is made good by the next one's e H12 / H22. The third
// column's 127.5 makes the scale 1, and no other reads what it reads.
TEST(Gptq, AColumnMakesGoodTheErrorOfTheOneBefore) {
  const Tensor moments = torch::tensor({{2.0, 1.0, 0.0}, {1.0, 2.0, 0.0}, {0.0, 0.0, 2.0}});
  Tensor weight = torch::tensor({{10.4F, 20.35F, 127.5F}});
  round_by_moments(weight, moments, Granularity::channel);  // 20.35 + 0.4 / 2.02 = 20.548
  EXPECT_TRUE(torch::allclose(weight, torch::tensor({{10.0F, 21.0F, 127.5F}}), 0, 1e-5));
  Tensor other = torch::tensor({{10.4F, 20.25F, 127.5F}});  // 20.448
  round_by_moments(other, moments, Granularity::channel);
  EXPECT_TRUE(torch::allclose(other, torch::tensor({{10.0F, 20.0F, 127.5F}}), 0, 1e-5));
}

TEST(Gptq, IsNearestRoundingWhereInputsHaveNothingInCommon) {
  torch::manual_seed(7);
  for (const Granularity granularity : {Granularity::channel, Granularity::tensor}) {
    const Tensor before = torch::randn({6, 10});
    Tensor weight = before.clone();
    round_by_moments(weight, torch::eye(10) * 3, granularity);
    const QuantizedWeight wanted = quantize_weight(before, granularity);
    const QuantizedWeight found = quantize_weight(weight, granularity);
    EXPECT_TRUE(torch::equal(found.scale, wanted.scale));
    EXPECT_LE(
        (found.values.to(torch::kInt) - wanted.values.to(torch::kInt)).abs().max().item<int>(),
        1);  // -128 is not used beside the largest magnitude
    EXPECT_EQ((found.values != wanted.values).sum().item<int64_t>(),
              ((wanted.values == -128) & (before.abs() != before.abs().amax({1}, true)))
                  .sum()
                  .item<int64_t>());
  }
}

TEST(Gptq, LowersTheErrorOfOutputsAndKeepsZerosAndScales) {
  torch::manual_seed(11);
  const Tensor mixing = torch::randn({4, 16});
  const Tensor inputs = torch::randn({500, 4}).matmul(mixing) + 0.05 * torch::randn({500, 16});
  const Tensor moments = inputs.t().matmul(inputs);
  Tensor before = torch::randn({8, 16});
  before.masked_fill_(torch::rand({8, 16}) < 0.5, 0);
  before[3].zero_();
  Tensor weight = before.clone();
  round_by_moments(weight, moments, Granularity::channel);
  const QuantizedWeight found = quantize_weight(weight, Granularity::channel);
  EXPECT_TRUE(torch::equal(found.scale, quantize_weight(before, Granularity::channel).scale));
  EXPECT_TRUE(torch::equal((weight == 0) | (before != 0), torch::ones_like(weight, torch::kBool)));
  auto output_error = [&](const Tensor& values) {
    return squares(inputs.matmul((values - before).t()));
  };
  const double nearest = output_error(dequantized(before, Granularity::channel));
  EXPECT_LT(output_error(dequantize_weight(found)), nearest);
}

struct Calibrated {
  explicit Calibrated(const std::string& text)
      : p(model.add(torch::eye(4) * 2)), calibration(options(text), model) {}
  // Every pass shows the same rows.
  nn::Json run(const std::vector<Tensor>& rows) {
    return calibration.run([&] {
      ++passes;
      for (const Tensor& x : rows)
        EXPECT_TRUE(p.input == nullptr || p.input->apply(x, {}).is_same(x));
    });
  }
  TinyModel model;
  nn::Parameter& p;
  Calibration calibration;
  int passes = 0;
};

TEST(Calibration, AScaleIsTheRangeOverItsSteps) {
  Calibrated c("{activation_range: min_max}");
  EXPECT_EQ(c.calibration.passes(), 1);
  const nn::Json scheme = c.run({torch::full({2, 4}, 1.5), torch::full({1, 4}, -25.5)});
  EXPECT_EQ(c.passes, 1);
  EXPECT_FLOAT_EQ(scheme.at("input_scales").at(module).get<float>(), 0.2F);
  EXPECT_EQ(scheme.at("modules"), nn::Json::array({module}));
  EXPECT_EQ(scheme.at("weights").at("strategy"), "channel");
  EXPECT_EQ(scheme.at("activations").at("dynamic"), false);
  EXPECT_EQ(c.p.input, nullptr);
  EXPECT_NO_THROW(from_scheme(scheme, "here")
                      ->bind(roles::Scene{.student = c.model.config(),
                                          .weights = c.model.params(),
                                          .helpers = c.model.params()}));
}

TEST(Calibration, ReadsAsOftenAsItNeeds) {
  for (const auto& [text, passes] :
       std::vector<std::pair<std::string, int>>{{"{}", 2},
                                                {"{activation_range: percentile}", 2},
                                                {"{activation_scale: dynamic}", 0},
                                                {"{activations: none, weight_range: mse}", 0},
                                                {"{activation_scale: dynamic, rounding: gptq}", 1},
                                                {"{rounding: gptq}", 2}}) {
    Calibrated c(text);
    EXPECT_EQ(c.calibration.passes(), passes) << text;
    c.run({torch::rand({64, 4})});
    EXPECT_EQ(c.passes, passes == 0 ? 0 : passes) << text;
  }
}

TEST(Calibration, WhatWasNeverReadOrIsNotFiniteIsNamed) {
  Calibrated none("{}");
  EXPECT_THAT(failure([&] { none.run({}); }).message(), HasSubstr(module + " was never read"));
  TinyModel model;
  nn::Parameter& p = model.add(torch::eye(4));
  {
    Calibration calibration(options("{}"), model);
    const Error found = failure([&] {
      calibration.run([&] { p.input->apply(torch::full({1, 4}, std::nan("")), {}); });
    });
    EXPECT_EQ(found.kind(), ErrorKind::diverged);
    EXPECT_THAT(found.message(), HasSubstr("is not finite"));
  }
  EXPECT_EQ(p.input, nullptr);
}

TEST(Calibration, InputsThatAreAllZeroHaveAScale) {
  Calibrated c("{rounding: gptq}");
  const nn::Json scheme = c.run({torch::zeros({3, 4})});
  EXPECT_GT(scheme.at("input_scales").at(module).get<double>(), 0);
}

TEST(Calibration, OptionsThatSayNothingAreRefused) {
  EXPECT_THAT(failure([] { options("{weights: none, activations: none}"); }).what(),
              HasSubstr("neither weights nor activations"));
  EXPECT_THAT(failure([] { options("{weights: none, rounding: gptq}"); }).what(),
              HasSubstr("are of weights"));
}

}  // namespace
}  // namespace compress::constraint
