#include "compress/base/stand_in.h"

#include <gtest/gtest.h>

namespace compress {
namespace {

TEST(StandIn, KnowsPointersAndPages) {
  EXPECT_NE(stand_in("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1\n"), "");
  EXPECT_EQ(stand_in("\n <!DOCTYPE HTML>\n<html>"), "a web page");
  EXPECT_EQ(stand_in("<html lang=\"en\">"), "a web page");
  for (const char* text : {"", " ", "version https", "{\"a\": 1}", "<s>\n</s>\n", "<htm", "html"})
    EXPECT_EQ(stand_in(text), "") << text;
}

}  // namespace
}  // namespace compress
