#include "compress/base/log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "compress/base/error.h"
#include "compress/base/files.h"

namespace compress {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

class Log : public testing::Test {
 protected:
  void SetUp() override {
    file_ = std::filesystem::path(testing::TempDir()) /
            (std::string("compress_log_") + std::to_string(::getpid()) + "_" +
             testing::UnitTest::GetInstance()->current_test_info()->name() + ".txt");
    std::filesystem::remove(file_);
  }
  void TearDown() override {
    log::close_file();
    log::set_level(log::Level::info);
    std::filesystem::remove(file_);
  }
  std::filesystem::path file_;
};

TEST_F(Log, TerminalLinesArePlain) {
  testing::internal::CaptureStderr();
  log::debug("hidden");
  log::info("loading {} %s");  // never taken for a format
  log::warn("slow disk");
  log::error("no space");
  log::progress("step 1");
  log::progress("");
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "loading {} %s\nwarning: slow disk\nerror: no space\nstep 1\n");
}

TEST_F(Log, LevelsFilter) {
  testing::internal::CaptureStderr();
  log::set_level(log::Level::warning);
  log::info("info");
  log::progress("step 1");
  log::warn("w");
  log::set_level(log::Level::debug);
  log::debug("d");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "warning: w\ndebug: d\n");
}

TEST_F(Log, FileHasTimesAndLevelsWhateverTheTerminalShows) {
  write_file(file_, "earlier run\n");
  testing::internal::CaptureStderr();
  log::set_level(log::Level::error);
  log::add_file(file_);
  log::info("hello {}");
  log::debug("not kept");
  log::progress("not kept either");
  log::warn("careful");
  log::set_level(log::Level::debug);
  log::debug("kept");
  log::close_file();
  log::error("after");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "debug: kept\nerror: after\n");
  std::string text = read_file(file_);
  EXPECT_THAT(text, testing::StartsWith("earlier run\n"));
  EXPECT_THAT(text, ContainsRegex("\n20[0-9-]+ [0-9:.]+ info hello \\{\\}\n"));
  EXPECT_THAT(text, ContainsRegex(" warning careful\n"));
  EXPECT_THAT(text, ContainsRegex(" debug kept\n"));
  EXPECT_THAT(text, Not(HasSubstr("not kept")));
  EXPECT_THAT(text, Not(HasSubstr("after")));
}

TEST_F(Log, AFileThatCannotBeOpenedIsADiskError) {
  write_file(file_, "");
  try {
    log::add_file(file_ / "below a file" / "log.txt");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::disk);
    EXPECT_THAT(error.where(), HasSubstr("log.txt"));
    EXPECT_THAT(error.message(), HasSubstr("Not a directory"));
  }
}

TEST_F(Log, AFullDiskIsSaidOnceAndEndsNothing) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "needs /dev/full";
  testing::internal::CaptureStderr();
  log::add_file("/dev/full");
  log::info("one");
  log::info("two");
  log::close_file();
  std::string text = testing::internal::GetCapturedStderr();
  EXPECT_THAT(text, HasSubstr("No space left"));
  EXPECT_EQ(text.find("No space left"), text.rfind("No space left"));
  EXPECT_THAT(text, HasSubstr("one\n"));
  EXPECT_THAT(text, HasSubstr("two\n"));
}

TEST_F(Log, ProgressRewritesOneLineOfATerminal) {
  int terminal = ::posix_openpt(O_RDWR | O_NOCTTY);
  if (terminal < 0 || ::grantpt(terminal) != 0 || ::unlockpt(terminal) != 0)
    GTEST_SKIP() << "no pseudo-terminal here";
  int side = ::open(::ptsname(terminal), O_RDWR | O_NOCTTY);
  ASSERT_GE(side, 0);
  winsize size{24, 9, 0, 0};
  ::ioctl(side, TIOCSWINSZ, &size);
  int saved = ::dup(STDERR_FILENO);
  ::dup2(side, STDERR_FILENO);
  bool seen_terminal = log::on_terminal();
  log::progress("step 1");
  log::progress("stép 2 of many");
  log::info("saved");
  log::progress("step 3");
  log::progress("");
  ::dup2(saved, STDERR_FILENO);
  // What was written may arrive in pieces.
  const std::string expected = "step 1\r\033[Kstép 2 o\r\033[Ksaved\r\nstep 3\r\033[K";
  std::string got;
  pollfd ready{terminal, POLLIN, 0};
  while (got.size() < expected.size() && ::poll(&ready, 1, 2000) > 0) {
    char buffer[256];
    const ssize_t count = ::read(terminal, buffer, sizeof buffer);
    if (count <= 0) break;
    got.append(buffer, static_cast<size_t>(count));
  }
  for (int descriptor : {saved, side, terminal}) ::close(descriptor);
  EXPECT_TRUE(seen_terminal);
  EXPECT_EQ(got, expected);
}

}  // namespace
}  // namespace compress
