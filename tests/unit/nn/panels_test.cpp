#include "unit/nn/panels_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace compress::nn::panels {
namespace {

TEST(PackedPanels, EverySetGivesTheSumsOfIntegers) {
  EXPECT_THAT(faults(), testing::IsEmpty());
}

TEST(PackedPanels, TheBestSetMultipliesBytes) {
  if (cpu::set() >= cpu::Set::avxvnni && (cpu::has_vnni() || cpu::set() == cpu::Set::avxvnni))
    EXPECT_TRUE(has_bytes());
  if (cpu::set() <= cpu::Set::avx2) EXPECT_FALSE(has_bytes());
  EXPECT_EQ(Tiles(96).in_use(), cpu::set() == cpu::Set::amx);
  EXPECT_FALSE(Tiles(1).in_use());
}

}  // namespace
}  // namespace compress::nn::panels
