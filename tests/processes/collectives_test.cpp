#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "processes/together.h"

namespace compress::parallel {
namespace {

using torch::Tensor;

class Collectives : public testing::TestWithParam<int> {};

TEST_P(Collectives, SumMaximumMinimum) {
  const int world = GetParam();
  all_together(world, [&](Processes& processes) {
    EXPECT_EQ(processes.world(), world);
    const double mine = processes.rank() + 1, total = world * (world + 1) / 2.0;
    for (torch::ScalarType type : {torch::kFloat32, torch::kFloat64, torch::kInt64}) {
      Tensor values = torch::full({2, 3}, mine, type);
      processes.sum(values);
      EXPECT_TRUE(values.eq(total).all().item<bool>()) << values;
    }
    Tensor high = torch::tensor({mine, -mine}), low = high.clone();
    processes.maximum(high);
    processes.minimum(low);
    EXPECT_TRUE(torch::equal(high, torch::tensor({double(world), -1.0})));
    EXPECT_TRUE(torch::equal(low, torch::tensor({1.0, -double(world)})));
  });
}

TEST_P(Collectives, AverageOfManyTensors) {
  const int world = GetParam();
  all_together(world, [&](Processes& processes) {
    std::vector<Tensor> tensors;  // more than one bucket, two types, a view
    for (int i = 0; i < 5; ++i)
      tensors.push_back(torch::full({3'000'000}, (i + 1.0) * (processes.rank() + 1)));
    tensors.push_back(torch::full({7}, processes.rank() + 1.0, torch::kFloat64));
    Tensor base = torch::full({4, 6}, processes.rank() + 1.0);
    tensors.push_back(base.t());
    processes.average(tensors);
    const double mean = (world + 1) / 2.0;
    for (int i = 0; i < 5; ++i)
      EXPECT_TRUE(tensors[static_cast<size_t>(i)].eq((i + 1.0) * mean).all().item<bool>()) << i;
    EXPECT_TRUE(tensors[5].eq(mean).all().item<bool>());
    EXPECT_TRUE(base.eq(mean).all().item<bool>());
  });
}

TEST_P(Collectives, GathersRowsInTheOrderOfRanks) {
  const int world = GetParam();
  all_together(world, [&](Processes& processes) {
    const int rank = processes.rank();
    // Rank 0 has none, rank r has r rows of r.
    Tensor all = processes.gather_rows(torch::full({rank, 2}, rank, torch::kInt64));
    std::vector<int64_t> expected;
    for (int r = 0; r < world; ++r) expected.insert(expected.end(), static_cast<size_t>(r), r);
    ASSERT_EQ(all.size(0), static_cast<int64_t>(expected.size()));
    EXPECT_EQ(all.size(1), 2);
    for (size_t i = 0; i < expected.size(); ++i)
      EXPECT_EQ(all[static_cast<int64_t>(i)][1].item<int64_t>(), expected[i]);
  });
}

TEST_P(Collectives, TextFlagsAndWaiting) {
  const int world = GetParam();
  std::atomic<int> worked{0};
  all_together(world, [&](Processes& processes) {
    EXPECT_EQ(processes.from_first(processes.first() ? "déjà vu" : "others"), "déjà vu");
    EXPECT_EQ(processes.from_first(""), "");
    EXPECT_TRUE(processes.any(processes.rank() == world - 1));
    EXPECT_FALSE(processes.any(false));
    processes.first_only([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      ++worked;
    });
    EXPECT_EQ(worked, 1);
  });
}

// Two leaves, one of them reached by the first rank's loss alone.
TEST_P(Collectives, GradientsAreAveragedDuringTheBackwardPass) {
  const int world = GetParam();
  all_together(world, [&](Processes& processes) {
    Tensor a = torch::ones({3}).requires_grad_(), b = torch::ones({2}).requires_grad_();
    Tensor unused = torch::ones({4}).requires_grad_();
    GradientAverage average(processes, {a, b, unused});
    const double mine = processes.rank() + 1;
    for (int step = 0; step < 3; ++step) {
      for (Tensor* leaf : {&a, &b}) leaf->mutable_grad().reset();
      Tensor loss = (a * mine).sum();
      if (processes.first()) loss = loss + (b * 6).sum();
      average.expect(loss);
      loss.backward();
      EXPECT_TRUE(a.grad().eq((world + 1) / 2.0).all().item<bool>()) << a.grad();
      EXPECT_TRUE(b.grad().eq(6.0 / world).all().item<bool>()) << b.grad();
      EXPECT_FALSE(unused.grad().defined());
      a.mutable_grad().reset();  // a pass of one's own
      (a * mine).sum().backward();
      EXPECT_TRUE(a.grad().eq(mine).all().item<bool>()) << a.grad();
    }
    EXPECT_TRUE(average.fits({a, b, unused}));
    EXPECT_FALSE(average.fits({a, b}));
    EXPECT_FALSE(average.fits({a, unused, b}));
  });
}

TEST_P(Collectives, Bf16GradientsAreAveraged) {
  all_together(GetParam(), [&](Processes& processes) {
    Tensor a = torch::ones({40}, torch::kBFloat16).requires_grad_();
    GradientAverage average(processes, {a});
    Tensor loss = (a * (processes.rank() * 2.0)).sum();
    average.expect(loss);
    loss.backward();
    EXPECT_TRUE(a.grad().eq(processes.world() - 1.0).all().item<bool>()) << a.grad();
  });
}

INSTANTIATE_TEST_SUITE_P(Worlds, Collectives, testing::Values(2, 3));

TEST(Lost, TheOthersAreTold) {
  std::vector<std::exception_ptr> thrown = together(3, [](Processes& processes) {
    processes.barrier();
    if (processes.rank() == 1) throw Error(ErrorKind::data, "a broken row");
    for (int i = 0; i < 100; ++i) processes.barrier();
  });
  for (int rank : {0, 2}) {
    ASSERT_TRUE(thrown[static_cast<size_t>(rank)]);
    try {
      std::rethrow_exception(thrown[static_cast<size_t>(rank)]);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::process);
      EXPECT_NE(error.message().find(str("process ", rank, " of 3")), std::string::npos)
          << error.message();
    }
  }
}

TEST(Lost, NobodyComes) {
  const Launch alone{0, 2, 0, 2, "127.0.0.1", free_port(), "a test"};
  try {
    Processes processes(alone, std::chrono::seconds(1));
    ADD_FAILURE() << "connected to nobody";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::process);
  }
}

}  // namespace
}  // namespace compress::parallel
