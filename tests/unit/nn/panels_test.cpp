#include "unit/nn/panels_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace compress::nn::panels {
namespace {

TEST(PackedPanels, EverySetGivesTheSumsOfIntegers) {
  EXPECT_THAT(faults(), testing::IsEmpty());
}

TEST(PackedPanels, TheBestSetMultipliesBytes) {
  EXPECT_EQ(has_bytes(), cpu::has_vnni() || cpu::set() == cpu::Set::avxvnni);
  EXPECT_EQ(Tiles(96).in_use(), cpu::set() == cpu::Set::amx);
  EXPECT_FALSE(Tiles(1).in_use());
}

}  // namespace
}  // namespace compress::nn::panels
