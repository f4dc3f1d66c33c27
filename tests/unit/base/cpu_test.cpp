#include "compress/base/cpu.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "compress/base/error.h"

namespace compress::cpu {
namespace {

TEST(Cpu, ALimitHoldsToTheBestSetUpToIt) {
  const Set before = set();
  for (Set held : available()) {
    const Limit limit(held);
    EXPECT_EQ(set(), held) << name(held);
    EXPECT_LE(float_set(), held);
    EXPECT_TRUE(float_set() == Set::plain || float_set() == Set::avx2 ||
                float_set() == Set::avx512);
    EXPECT_TRUE(held >= Set::avx512 || !(has_vnni() || has_bf16())) << name(held);
    EXPECT_TRUE(held == Set::amx || !has_amx()) << name(held);
    EXPECT_TRUE(held != Set::amx || has_vnni());
  }
  EXPECT_EQ(set(), before);
  EXPECT_EQ(available().front(), Set::plain);
}

TEST(Cpu, TheEnvironmentNamesASet) {
  const Limit back(Set::amx);
  for (Set named : {Set::plain, Set::dotprod, Set::avx2, Set::avxvnni, Set::avx512, Set::amx}) {
    const std::vector<Set> all = available();
    const bool has = std::find(all.begin(), all.end(), named) != all.end();
    ASSERT_EQ(::setenv("COMPRESS_CPU", name(named), 1), 0);
    if (has) {
      limit_from_environment();
      EXPECT_EQ(set(), named);
    } else {
      EXPECT_THROW(limit_from_environment(), Error) << name(named);
    }
  }
  ASSERT_EQ(::setenv("COMPRESS_CPU", "avx3", 1), 0);
  EXPECT_THROW(limit_from_environment(), Error);
  ::unsetenv("COMPRESS_CPU");
}

}  // namespace
}  // namespace compress::cpu
