#include "compress/base/files.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compress/base/error.h"
#include "compress/base/hash.h"

namespace compress {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Files : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) /
              (std::string("compress_files_") + std::to_string(::getpid()) + "_" +
               testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    make_folder(folder_ / "deep" / "er");
  }
  void TearDown() override { fs::remove_all(folder_); }
  size_t entries() const {
    return static_cast<size_t>(
        std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }

  fs::path folder_;
};

template <class F>
Error caught(F&& body) {
  try {
    body();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no Error was thrown";
  return Error(ErrorKind::internal, "none");
}

TEST_F(Files, WriteThenReadIsExact) {
  std::string bytes("a\0b\r\n\xff", 6);
  write_file(folder_ / "f", bytes);
  EXPECT_EQ(read_file(folder_ / "f"), bytes);
  write_file(folder_ / "f", "");
  EXPECT_EQ(read_file(folder_ / "f"), "");
  std::string large(3000001, 'x');
  write_file(folder_ / "f", large);
  EXPECT_EQ(read_file(folder_ / "f"), large);
  EXPECT_EQ(sha256_file(folder_ / "f"), sha256(large));
  EXPECT_EQ(entries(), 2u);  // "deep" and "f": no temporary file is left
}

TEST_F(Files, ReadErrorsNameThePath) {
  Error missing = caught([&] { read_file(folder_ / "nope"); });
  EXPECT_EQ(missing.kind(), ErrorKind::disk);
  EXPECT_EQ(missing.where(), (folder_ / "nope").string());
  EXPECT_THAT(missing.message(), HasSubstr("No such file"));
  EXPECT_EQ(missing.hint(), "check the path");
  EXPECT_THAT(caught([&] { read_file(folder_); }).message(), HasSubstr("folder"));
  write_file(folder_ / "f", "12345");
  EXPECT_EQ(read_file(folder_ / "f", 5), "12345");
  EXPECT_THAT(caught([&] { read_file(folder_ / "f", 4); }).message(),
              HasSubstr("limit of 4 bytes"));
  EXPECT_EQ(caught([&] { sha256_file(folder_ / "nope"); }).kind(), ErrorKind::disk);
  EXPECT_EQ(caught([&] { sha256_file(folder_); }).kind(), ErrorKind::disk);
}

TEST_F(Files, WriteErrorsNameThePath) {
  Error no_folder = caught([&] { write_file(folder_ / "no" / "f", "x"); });
  EXPECT_EQ(no_folder.kind(), ErrorKind::disk);
  EXPECT_EQ(no_folder.where(), (folder_ / "no" / "f").string());
  EXPECT_THAT(no_folder.message(), HasSubstr("No such file"));
  EXPECT_THAT(caught([&] { write_file(folder_ / "deep", "x"); }).message(), HasSubstr("folder"));
  write_file(folder_ / "f", "x");
  EXPECT_EQ(caught([&] { make_folder(folder_ / "f"); }).kind(), ErrorKind::disk);
  EXPECT_EQ(caught([&] { make_folder(folder_ / "f" / "g"); }).kind(), ErrorKind::disk);
}

TEST_F(Files, FailedWriteKeepsTheOldFileAndLeavesNothing) {
  write_file(folder_ / "f", "old");
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit small{4096, before.rlim_max};
  auto handler = ::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  Error full = caught([&] { write_file(folder_ / "f", std::string(10000, 'y')); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, handler);
  EXPECT_EQ(full.kind(), ErrorKind::disk);
  EXPECT_THAT(full.message(), HasSubstr("File too large"));
  EXPECT_EQ(read_file(folder_ / "f"), "old");
  EXPECT_EQ(entries(), 2u);
}

TEST_F(Files, DevicesAndPipesAreWrittenToAndNotReplaced) {
  const fs::path pipe = folder_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const int reader = ::open(pipe.c_str(), O_RDONLY | O_NONBLOCK);
  ASSERT_GE(reader, 0);
  write_file(pipe, "through");
  char bytes[16];
  EXPECT_EQ(::read(reader, bytes, sizeof bytes), 7);
  ::close(reader);
  EXPECT_TRUE(fs::is_fifo(pipe));
  // By another name, so that the real one is not at stake.
  fs::create_symlink("/dev/null", folder_ / "null");
  fs::create_symlink("/dev/full", folder_ / "full");
  write_file(folder_ / "null", "x");
  EXPECT_EQ(caught([&] { write_file(folder_ / "full", "x"); }).kind(), ErrorKind::disk);
  EXPECT_TRUE(fs::is_symlink(folder_ / "null"));
  EXPECT_TRUE(fs::is_symlink(folder_ / "full"));
  EXPECT_EQ(entries(), 4u);
}

TEST_F(Files, AtomicFileAppearsOnlyOnCommit) {
  {
    AtomicFile dropped(folder_ / "f");
    dropped.append("abc");
  }
  EXPECT_EQ(entries(), 1u);
  AtomicFile file(folder_ / "f");
  file.append("abc");
  file.append("");
  file.append("dxx");
  file.seek(4);
  file.append("ef");
  EXPECT_FALSE(fs::exists(folder_ / "f"));
  file.commit();
  EXPECT_EQ(read_file(folder_ / "f"), "abcdef");
  EXPECT_EQ(entries(), 2u);
}

TEST_F(Files, AtomicFolderAppearsOnlyOnCommitAndReplaces) {
  {
    AtomicFolder dropped(folder_ / "run");
    write_file(dropped.path() / "f", "x");
  }
  EXPECT_EQ(entries(), 1u);
  for (const char* text : {"first", "second"}) {
    AtomicFolder work(folder_ / "run" / "");  // a trailing slash names the same folder
    write_file(work.path() / text, text);
    EXPECT_FALSE(fs::exists(folder_ / "run" / text));
    work.commit();
    EXPECT_EQ(read_file(folder_ / "run" / text), text);
  }
  EXPECT_FALSE(fs::exists(folder_ / "run" / "first"));
  EXPECT_EQ(entries(), 2u);
}

TEST_F(Files, AtomicFolderReportsABadPlace) {
  write_file(folder_ / "f", "x");
  EXPECT_EQ(caught([&] { AtomicFolder work(folder_ / "f" / "run"); }).kind(), ErrorKind::disk);
}

TEST_F(Files, MappedFileShowsTheContent) {
  write_file(folder_ / "f", "mapped");
  MappedFile file(folder_ / "f");
  EXPECT_EQ(std::string_view(file.data(), file.size()), "mapped");
  EXPECT_EQ(file.path(), folder_ / "f");
  write_file(folder_ / "empty", "");
  EXPECT_EQ(MappedFile(folder_ / "empty").size(), 0u);
  Error missing = caught([&] { MappedFile gone(folder_ / "nope"); });
  EXPECT_EQ(missing.kind(), ErrorKind::model);
  EXPECT_EQ(missing.where(), (folder_ / "nope").string());
  EXPECT_EQ(caught([&] { MappedFile bad(folder_); }).kind(), ErrorKind::model);
}

TEST_F(Files, ALockThatIsHeldIsNotWaitedFor) {
  const fs::path file = folder_ / "lock";
  {
    std::unique_ptr<FileLock> held = FileLock::attempt(file);
    ASSERT_NE(held, nullptr);
    EXPECT_FALSE(held->waited());
    held->note("who, and since when");
    held->note("who");
    EXPECT_EQ(FileLock::attempt(file), nullptr);
    EXPECT_EQ(read_file(file), "who");  // the attempt left it alone
  }
  EXPECT_NE(FileLock::attempt(file), nullptr);
  EXPECT_EQ(caught([&] { FileLock::attempt(folder_ / "nope" / "lock"); }).kind(), ErrorKind::disk);
}

TEST_F(Files, OnlyWhatOurWritersLeaveIsRemoved) {
  for (const char* name : {".a.b.12-3.tmp", "a.tmp", ".a.tmp", ".a.12.tmp", ".a.1-x.tmp",
                           ".a.12-3.partial", ".12-3.tmp", "a.12-3.tmp", ".a.12-3.tmp.txt", ".tmp"})
    write_file(folder_ / name, "");
  for (const char* name : {".run.12-3.partial", ".b.12-3.tmp", ".gone.12-3.old", ".kept.12-3.old",
                           "kept", "run.12-3.partial"})
    make_folder(folder_ / name / "inside");
  fs::create_symlink(folder_ / "kept", folder_ / ".link.12-3.partial");
  const size_t before = entries();
  EXPECT_EQ(remove_all_leftovers(folder_), 3);
  EXPECT_EQ(entries(), before - 3);
  for (const char* name : {".a.b.12-3.tmp", ".run.12-3.partial", ".kept.12-3.old"})
    EXPECT_FALSE(fs::exists(folder_ / name)) << name;
  EXPECT_EQ(remove_all_leftovers(folder_ / "nope"), 0);
}

}  // namespace
}  // namespace compress
