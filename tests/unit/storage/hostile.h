#pragma once
// Files that lie, by what is wrong with them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "compress/base/error.h"

namespace compress::storage {

struct HostileCase {
  const char* name;
  std::string content;
  const char* message;
};

inline std::ostream& operator<<(std::ostream& out, const HostileCase& each) {
  return out << each.name;
}

// A reader of `path` must end in Error{model} that tells `message` and names `place`.
template <class Reader>
void expect_refused(const std::filesystem::path& path, const char* message,
                    const std::filesystem::path& place) {
  try {
    Reader reader(path);
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::model);
    EXPECT_THAT(error.message(), testing::HasSubstr(message));
    EXPECT_THAT(error.where(), testing::HasSubstr(place.string()));
  }
}

}  // namespace compress::storage
