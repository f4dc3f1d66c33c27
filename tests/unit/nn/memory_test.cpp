#include "compress/nn/memory.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>

#include "compress/data/torch.h"

namespace compress::nn {
namespace {

// Installed for the whole process, so one test looks at all of it.
TEST(TensorMemory, IsKeptAndBounded) {
  torch::Tensor before = torch::ones({1000});
  EXPECT_EQ(tensor_memory().peak, 0);
  keep_tensor_memory();
  EXPECT_EQ(before.sum().item<float>(), 1000);  // older tensors stay what they were
  before = torch::Tensor();

  void* first = nullptr;
  {
    torch::Tensor big = torch::zeros({1 << 20});
    first = big.data_ptr();
    EXPECT_EQ(reinterpret_cast<uintptr_t>(first) % 64, 0u);
    EXPECT_EQ(tensor_memory().used, 4 << 20);
  }
  EXPECT_EQ(tensor_memory().used, 0);
  EXPECT_EQ(tensor_memory().kept, 4 << 20);
  {
    torch::Tensor again = torch::empty({(1 << 20) - 5000});  // a little smaller: the same block
    EXPECT_EQ(again.data_ptr(), first);
    torch::Tensor tiny = torch::empty({16});
    EXPECT_EQ(tensor_memory().used, 4 << 20) << "small tensors are malloc's";
    torch::Tensor far_smaller = torch::empty({1 << 18});
    EXPECT_NE(far_smaller.data_ptr(), first);
  }
  // Many sizes in turn do not add up: at most a quarter of the peak is kept beside what is used.
  for (int64_t i = 1; i < 200; ++i) torch::empty({i * 5000});
  const TensorMemory memory = tensor_memory();
  EXPECT_EQ(memory.used, 0);
  EXPECT_LE(memory.kept, memory.peak + memory.peak / 4);
  EXPECT_EQ(torch::empty({0}).numel(), 0);

  EXPECT_GT(memory.kept, 0);
  release_kept_memory();
  EXPECT_EQ(tensor_memory().kept, 0);
  EXPECT_EQ(tensor_memory().peak, memory.peak);
  EXPECT_EQ(torch::ones({1 << 20}).sum().item<float>(), 1 << 20);
}

int64_t resident_bytes() {
  int64_t all = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> all >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

TEST(PagedZeros, TakeMemoryForRowsThatAreWritten) {
  const int64_t before = resident_bytes();
  const torch::Tensor table = paged_zeros({int64_t{1} << 20, 512});  // 2 GiB
  EXPECT_EQ(table[12345].sum().item<float>(), 0);
  const torch::Tensor rows = torch::arange(100) * 10'000;
  table.index_add_(0, rows, torch::ones({100, 512}));
  EXPECT_EQ(table.index_select(0, rows).sum().item<float>(), 100 * 512);
  EXPECT_EQ(table[1].sum().item<float>(), 0);
  EXPECT_LT(resident_bytes() - before, 64 << 20);
  clear_pages(table);
  EXPECT_EQ(table.index_select(0, rows).sum().item<float>(), 0);
}

int64_t page_faults() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

TEST(PagedZeros, ClaimedPagesAreFaultedOnceAndKeepWhatIsThere) {
  const int64_t rows = 4096, width = sysconf(_SC_PAGESIZE) / 4;
  auto faults = [&](bool claims) {
    const torch::Tensor table = paged_zeros({rows, width});
    float* first = table.mutable_data_ptr<float>();
    const int64_t before = page_faults();
    for (int64_t i = 0; i < rows; ++i) {
      float* row = first + i * width;
      if (claims) claim_pages(row, width);
      // Read before it is written, and not known to the compiler.
      volatile float* at = row + 7;
      if (*at == 0) *at = 1;
    }
    const int64_t found = page_faults() - before;
    claim_pages(first, rows * width);
    EXPECT_EQ(table.sum().item<float>(), static_cast<float>(rows));
    return found;
  };
  const int64_t without = faults(false);
  if (without < rows) GTEST_SKIP() << "this system does not count page faults";
  EXPECT_LT(faults(true), without - rows / 2);
}

// Rows of one update after another: their pages stay up to 64 MiB, then go all at once.
TEST(PagedZeros, ClearedRowsKeepTheirPagesForAWhile) {
  const int64_t before = resident_bytes(), megabyte = 1 << 20;
  const torch::Tensor table = paged_zeros({80'000, 512});
  auto update = [&](int64_t first, int64_t count) {
    const torch::Tensor rows = torch::arange(first, first + count);
    const torch::Tensor part = table.narrow(0, first, count);  // no copy, which would count
    part.fill_(1);
    clear_rows(table, {rows, rows.slice(0, 0, 5)});
    EXPECT_EQ(part.sum().item<float>(), 0);
    return (resident_bytes() - before) / megabyte;
  };
  for (int64_t i = 0; i < 20; ++i) EXPECT_LE(update(100, 10'000), 45) << i;  // the same 20 MB
  EXPECT_GE(update(100, 10'000), 15);
  EXPECT_GE(update(20'000, 20'000), 50);
  // 80 MB were touched.
  EXPECT_LE(update(60'000, 10'000), 60) << "more than 64 MiB: all of them were given back";
  EXPECT_EQ(table.sum().item<float>(), 0);
}

}  // namespace
}  // namespace compress::nn
