#include "compress/base/base64.h"

#include <gtest/gtest.h>

namespace compress {
namespace {

TEST(Base64, ReadsWhatItWrote) {
  EXPECT_EQ(encode_base64("Man"), "TWFu");
  EXPECT_EQ(encode_base64("Ma"), "TWE=");
  EXPECT_EQ(encode_base64("M"), "TQ==");
  for (std::string text : {"", "M", "Ma", "Man", "Many"})
    EXPECT_EQ(decode_base64(encode_base64(text)), text);
  EXPECT_EQ(decode_base64("T!"), std::nullopt);
}

}  // namespace
}  // namespace compress
