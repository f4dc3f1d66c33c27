#include "compress/roles/row_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <functional>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/strings.h"
#include "support/failure.h"

namespace compress::roles {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using torch::Tensor;

using Rows = std::vector<int64_t>;

std::vector<float> floats(const Tensor& tensor) {
  const Tensor flat = tensor.to(torch::kFloat32).contiguous();
  return {flat.const_data_ptr<float>(), flat.const_data_ptr<float>() + flat.numel()};
}

TEST(RowStore, WhatIsPutIsReadAfterItIsSettled) {
  RowStore store(5);
  store.add("samples", torch::kInt32);
  EXPECT_FALSE(store.has("samples"));
  EXPECT_FALSE(store.get("samples", Rows{0}).values.defined());
  // Row 3 has two values, row 1 none, row 0 one.
  store.put("samples", Rows{3, 1, 0}, torch::tensor({7, 8, 9}, torch::kInt32), Rows{2, 0, 1});
  EXPECT_FALSE(store.has("samples"));
  store.settle(nullptr);
  RowStore::Values found = store.get("samples", Rows{0, 3, 4, 3});
  EXPECT_THAT(found.counts, ElementsAre(1, 2, 0, 2));
  EXPECT_THAT(floats(found.values), ElementsAre(9, 7, 8, 7, 8));
  EXPECT_EQ(found.values.scalar_type(), torch::kInt32);
  // Other rows stay; of what is put twice the later stands.
  store.put("samples", Rows{0, 4}, torch::tensor({1, 2}, torch::kInt32));
  store.put("samples", Rows{4}, torch::tensor({3, 4}, torch::kInt32), Rows{2});
  EXPECT_THAT(floats(store.get("samples", Rows{0}).values), ElementsAre(9));
  store.settle(nullptr);
  found = store.get("samples", Rows{0, 1, 2, 3, 4});
  EXPECT_THAT(found.counts, ElementsAre(1, 0, 0, 2, 2));
  EXPECT_THAT(floats(found.values), ElementsAre(1, 7, 8, 3, 4));
}

TEST(RowStore, KeepsVectorsAndHalves) {
  RowStore store(3);
  store.add("states", torch::kFloat16, {2});
  store.put("states", Rows{2, 0}, torch::tensor({{1.5, 2.5}, {3.5, 4.5}}, torch::kFloat16));
  store.settle(nullptr);
  const RowStore::Values found = store.get("states", Rows{0, 1, 2});
  EXPECT_THAT(found.counts, ElementsAre(1, 0, 1));
  EXPECT_EQ(found.values.sizes(), (std::vector<int64_t>{2, 2}));
  EXPECT_THAT(floats(found.values), ElementsAre(3.5, 4.5, 1.5, 2.5));
}

TEST(RowStore, RefusesOtherKindsOfValues) {
  RowStore store(3);
  store.add("scores", torch::kFloat32);
  const Tensor one = torch::ones({1});
  for (const auto& wrong : std::vector<std::function<void()>>{
           [&] { store.put("others", Rows{0}, one); }, [&] { store.put("scores", Rows{3}, one); },
           [&] {
             store.put("scores", Rows{0, 1}, one);
           },
           [&] { store.put("scores", Rows{0}, one.to(torch::kInt32)); },
           [&] {
             store.put("scores", Rows{0}, torch::ones({1, 2}));
           },
           [&] {
             store.put("scores", Rows{0, 1}, one, Rows{1});
           },
           [&] { store.add("scores", torch::kFloat32); },
           [&] { store.add("wide", torch::kFloat64); }, [&] { store.get("scores", Rows{-1}); }})
    EXPECT_EQ(failure(wrong).kind(), ErrorKind::internal);
}

TEST(RowStore, GoesOnFromItsState) {
  auto made = [] {
    RowStore store(4);
    store.add("samples", torch::kInt32);
    return store;
  };
  RowStore first = made();
  first.put("samples", Rows{1}, torch::tensor({5, 6}, torch::kInt32), Rows{2});
  first.settle(nullptr);
  first.put("samples", Rows{2, 1}, torch::tensor({8, 9}, torch::kInt32));
  RowStore second = made();
  second.load_state(first.state());
  EXPECT_THAT(floats(second.get("samples", Rows{1, 2}).values), ElementsAre(5, 6));
  for (RowStore* store : {&first, &second}) store->settle(nullptr);
  EXPECT_THAT(floats(second.get("samples", Rows{1, 2}).values), ElementsAre(9, 8));
  const nn::TensorMap a = first.state(), b = second.state();
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, value] : a) EXPECT_TRUE(torch::equal(value, b.at(name))) << name;

  for (const auto& [name, tensor] : std::map<std::string, Tensor>{
           {"samples/offsets", torch::tensor({0, 1, 2, 1, 2}, torch::kInt64)},
           {"samples/offsets", torch::tensor({0, 1}, torch::kInt64)},
           {"samples/values", torch::ones({2})}}) {
    nn::TensorMap broken = a;
    broken[name] = tensor;
    EXPECT_EQ(failure([&] { made().load_state(broken); }).kind(), ErrorKind::model) << name;
  }
  nn::TensorMap beyond = a;
  beyond["samples/waiting.rows"] = torch::tensor({4}, torch::kInt64);
  beyond["samples/waiting.counts"] = torch::tensor({1}, torch::kInt64);
  beyond["samples/waiting.values"] = torch::tensor({4}, torch::kInt32);
  EXPECT_EQ(failure([&] { made().load_state(beyond); }).kind(), ErrorKind::model);
}

class Files : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / str("compress-rows-", getpid());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_;
};

TEST_F(Files, AreReadByRows) {
  RowStore store(4);
  store.add("sets", torch::kInt32);
  store.add("states", torch::kFloat32, {2});
  store.put("sets", Rows{2, 0}, torch::tensor({4, 5, 6}, torch::kInt32), Rows{1, 2});
  store.put("states", Rows{3}, torch::tensor({{1.0f, 2.0f}}));
  store.settle(nullptr);
  store.save(folder_ / "store");
  RowStore read(4);
  read.open(folder_ / "store", "sets");
  read.open(folder_ / "store", "states");
  const RowStore::Values sets = read.get("sets", Rows{0, 1, 2, 3});
  EXPECT_THAT(sets.counts, ElementsAre(2, 0, 1, 0));
  EXPECT_THAT(floats(sets.values), ElementsAre(5, 6, 4));
  EXPECT_THAT(floats(read.get("states", Rows{0, 3}).values), ElementsAre(1, 2));
  RowStore unknown;
  unknown.open(folder_ / "store", "sets");
  EXPECT_EQ(unknown.rows(), 4);
}

TEST_F(Files, AreCheckedBeforeTheyAreRead) {
  RowStore store(2);
  store.add("sets", torch::kInt32);
  store.put("sets", Rows{0}, torch::tensor({4}, torch::kInt32));
  store.settle(nullptr);
  store.save(folder_);
  RowStore other(3);
  const Error rows = failure([&] { other.open(folder_, "sets"); });
  EXPECT_EQ(rows.kind(), ErrorKind::model);
  EXPECT_THAT(rows.message(), HasSubstr("2 rows, and the data has 3"));
  EXPECT_THAT(rows.where(), HasSubstr("sets.safetensors"));
  RowStore again(2);
  EXPECT_THAT(failure([&] { again.open(folder_, "none"); }).message(), HasSubstr("no such values"));
  // Offsets beyond the values.
  std::string bytes = read_file(folder_ / "sets.safetensors");
  const int64_t far = 99;
  std::string last(reinterpret_cast<const char*>(&far), sizeof far);
  const uint64_t header = *reinterpret_cast<const uint64_t*>(bytes.data());
  bytes.replace(8 + header + 16, 8, last);  // offsets lie first: their elements are larger
  std::ofstream(folder_ / "sets.safetensors", std::ios::binary) << bytes;
  EXPECT_THAT(failure([&] { again.open(folder_, "sets"); }).message(), HasSubstr("do not rise"));
}

}  // namespace
}  // namespace compress::roles
