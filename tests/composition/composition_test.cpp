// Everything that can take part in a training stage, two at a time: either both run in it, resumed
// to the same bits after a kill, or the plan says why they cannot. docs/composition.md is the
// table; `composition_test --write` writes it anew.

#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>

#include "composition/document.h"
#include "compress/base/files.h"
#include "compress/base/log.h"
#include "compress/nn/memory.h"

namespace compress::composition {
namespace {

const std::filesystem::path document_file =
    std::filesystem::path(COMPRESS_SOURCE_DIR) / "docs/composition.md";
constexpr int parts = 8;  // as ctest runs them side by side

TEST(Composition, TheDocumentIsWhatPlansTell) {
  const Ground ground;
  const Table table = plan_all(ground);
  EXPECT_GE(table.share_that_runs(), 0.9);
  EXPECT_EQ(read_file(document_file), document(table))
      << "write it anew with composition_test --write";
}

class Pairs : public testing::TestWithParam<int> {};

// Every eighth pair. $COMPRESS_PAIR is a part of the names of those that are looked at alone.
TEST_P(Pairs, RunAndGoOnAfterAKill) {
  const Ground ground;
  const std::vector<Entry> all = entries();
  const char* only = std::getenv("COMPRESS_PAIR");
  int number = 0;
  for (size_t a = 0; a < all.size(); ++a)
    for (size_t b = a + 1; b < all.size(); ++b) {
      const std::string name = all[a].name + " + " + all[b].name;
      if (number++ % parts != GetParam()) continue;
      if (only != nullptr && name.find(only) == std::string::npos) continue;
      try {
        const Outcome outcome = ground.plan(all[a], all[b]);
        if (outcome.one_slot || !outcome.refusal.empty()) continue;
        const std::string wrong = ground.run(outcome.recipe);
        EXPECT_EQ(wrong, "") << name << "\n" << outcome.recipe;
      } catch (const std::exception& error) {
        ADD_FAILURE() << name << ": " << error.what();
      }
    }
}

INSTANTIATE_TEST_SUITE_P(All, Pairs, testing::Range(0, parts));

}  // namespace
}  // namespace compress::composition

int main(int count, char** arguments) {
  testing::InitGoogleTest(&count, arguments);
  using namespace compress;
  log::set_level(log::Level::error);
  at::set_num_threads(1);    // small products are slower in many
  nn::keep_tensor_memory();  // as the program does
  if (count > 1 && std::string(arguments[1]) == "--write") {
    write_file(composition::document_file,
               composition::document(composition::plan_all(composition::Ground())));
    return 0;
  }
  return RUN_ALL_TESTS();
}
