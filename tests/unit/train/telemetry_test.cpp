#include "compress/train/telemetry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <bit>
#include <cmath>
#include <csignal>
#include <ctime>
#include <fstream>
#include <limits>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/strings.h"

namespace compress {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Pair;

class Telemetry : public testing::Test {
 protected:
  Telemetry() {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::path(testing::TempDir()) /
              str("telemetry-", ::getpid(), "-", test->name());
    std::filesystem::create_directories(folder_);
  }
  ~Telemetry() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path file() const { return folder_ / "metrics.jsonl"; }
  std::string text() const { return read_file(file()); }
  void put(std::string_view bytes) const { std::ofstream(file(), std::ios::binary) << bytes; }

  std::filesystem::path folder_;
};

ErrorKind failure(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& error) {
    return error.kind();
  }
  ADD_FAILURE() << "no error was thrown";
  return ErrorKind::internal;
}

void write_steps(MetricsLog& log, int from, int to) {
  for (int step = from; step <= to; ++step) log.write(step, 0, 0, NamedValues{{"loss", step}});
}

std::string line(const std::string& stage, int step) {
  return str("{\"stage\":\"", stage, "\",\"step\":", step,
             ",\"epoch\":0,\"seconds\":0,\"loss\":", step, "}\n");
}

TEST_F(Telemetry, WritesOneObjectALine) {
  MetricsLog log(folder_);
  log.start_stage("student", -1);
  log.write(3, 0.25, 1.5, NamedValues{{"loss", 0.1}, {"a \"b\"\n", 1e300}});
  log.write(4, 0.5, 2, {});
  EXPECT_EQ(text(),
            "{\"stage\":\"student\",\"step\":3,\"epoch\":0.25,\"seconds\":1.5,\"loss\":0.1,\"a "
            "\\\"b\\\"\\n\":1e+300}\n"
            "{\"stage\":\"student\",\"step\":4,\"epoch\":0.5,\"seconds\":2}\n");
}

TEST_F(Telemetry, NonFiniteValuesBecomeNull) {
  MetricsLog log(folder_);
  log.start_stage("s", -1);
  log.write(1, 0, 0,
            NamedValues{{"a", std::nan("")}, {"b", -std::numeric_limits<double>::infinity()}});
  EXPECT_THAT(text(), HasSubstr("\"a\":null,\"b\":null}"));
}

TEST_F(Telemetry, ResumedRunLeavesOneLineAStep) {
  {
    MetricsLog log(folder_);
    log.start_stage("teacher", -1);
    write_steps(log, 1, 9);
    log.start_stage("student", -1);
    write_steps(log, 1, 7);  // killed here; the last saved state is of step 4
  }
  MetricsLog log(folder_);
  log.start_stage("student", 4);
  write_steps(log, 5, 8);
  log.sync();
  std::string expected;
  for (int step = 1; step <= 9; ++step) expected += line("teacher", step);
  for (int step = 1; step <= 8; ++step) expected += line("student", step);
  EXPECT_EQ(text(), expected);
}

TEST_F(Telemetry, StartingAnewDropsTheStageAlone) {
  put(line("teacher", 5) + line("student", 0) + line("student", 1));
  MetricsLog log(folder_);
  log.start_stage("student", -1);
  EXPECT_EQ(text(), line("teacher", 5));
}

TEST_F(Telemetry, TornLastLineIsCutOff) {
  std::string torn = line("s", 3);
  put(line("s", 1) + line("s", 2) + torn.substr(0, torn.size() / 2));
  MetricsLog log(folder_);
  log.start_stage("s", 2);
  write_steps(log, 3, 3);
  EXPECT_EQ(text(), line("s", 1) + line("s", 2) + line("s", 3));
}

TEST_F(Telemetry, WholeLastLineWithoutALineEndIsKept) {
  std::string last = line("s", 2);
  put(line("s", 1) + last.substr(0, last.size() - 1));
  MetricsLog log(folder_);
  log.start_stage("s", 2);
  EXPECT_EQ(text(), line("s", 1) + line("s", 2));
}

TEST_F(Telemetry, LinesThatAreNotMetricsAreDropped) {
  put(line("s", 1) +
      "garbage\n[1]\n{\"stage\":7,\"step\":1}\n{\"stage\":\"s\",\"step\":\"1\"}\n{\"step\":1}\n\n" +
      std::string("\xff\x00\x01\n", 4) + line("s", 2));
  MetricsLog log(folder_);
  log.start_stage("s", 5);
  EXPECT_EQ(text(), line("s", 1) + line("s", 2));
}

TEST_F(Telemetry, MisuseAndUnwritableFoldersAreErrors) {
  MetricsLog log(folder_);
  EXPECT_EQ(failure([&] { log.write(1, 0, 0, {}); }), ErrorKind::internal);
  log.start_stage("s", -1);
  EXPECT_EQ(failure([&] { log.write(1, 0, 0, NamedValues{{"step", 1}}); }), ErrorKind::internal);
  EXPECT_EQ(text(), "");
  MetricsLog nowhere(folder_ / "missing");
  EXPECT_EQ(failure([&] { nowhere.start_stage("s", -1); }), ErrorKind::disk);
  AppendFile full("/dev/full");
  EXPECT_EQ(failure([&] { full.append("x"); }), ErrorKind::disk);
}

TEST_F(Telemetry, PartlyWrittenRecordIsCutOff) {
  AppendFile out(file());
  out.append("12345\n");
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit small = before;
  small.rlim_cur = 10;  // room for four more bytes
  auto* handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  ErrorKind kind = failure([&] { out.append("abcdefgh\n"); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(kind, ErrorKind::disk);
  EXPECT_EQ(text(), "12345\n");
}

// The vectors of RFC 3720, B.4, and the usual check value.
TEST(Crc32c, KnownVectors) {
  EXPECT_EQ(crc32c(""), 0u);
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(crc32c(std::string(32, '\xFF')), 0x62A8AB43u);
  std::string rising;
  for (int i = 0; i < 32; ++i) rising.push_back(static_cast<char>(i));
  EXPECT_EQ(crc32c(rising), 0x46DD794Eu);
  // 0xE3069283 rotated right by 15 is 0x2507C60D.
  EXPECT_EQ(masked_crc32c("123456789"), 0x2507C60Du + 0xA282EAD8u);
}

// A reader written from the format's description, independent of the writer.
struct Reader {
  std::string_view rest;

  uint64_t fixed(size_t bytes) {
    if (rest.size() < bytes) throw std::runtime_error("short");
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; ++i) value |= uint64_t{static_cast<uint8_t>(rest[i])} << (8 * i);
    rest.remove_prefix(bytes);
    return value;
  }
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      uint64_t byte = fixed(1);
      value |= (byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
  }
  std::string_view bytes(size_t size) {
    if (rest.size() < size) throw std::runtime_error("short");
    std::string_view out = rest.substr(0, size);
    rest.remove_prefix(size);
    return out;
  }
};

std::vector<std::string_view> records(std::string_view file) {
  std::vector<std::string_view> out;
  Reader reader{file};
  while (!reader.rest.empty()) {
    std::string_view length = reader.rest.substr(0, 8);
    uint64_t size = reader.fixed(8);
    EXPECT_EQ(reader.fixed(4), masked_crc32c(length));
    out.push_back(reader.bytes(size));
    EXPECT_EQ(reader.fixed(4), masked_crc32c(out.back()));
  }
  return out;
}

struct DecodedEvent {
  double wall_time = 0;
  int64_t step = 0;
  std::string version, session;
  std::vector<std::pair<std::string, float>> values;
};

std::pair<std::string, float> decode_value(std::string_view bytes) {
  Reader reader{bytes};
  EXPECT_EQ(reader.varint(), 1u << 3 | 2u);
  std::string tag(reader.bytes(reader.varint()));
  EXPECT_EQ(reader.varint(), 2u << 3 | 5u);
  auto value = std::bit_cast<float>(static_cast<uint32_t>(reader.fixed(4)));
  EXPECT_TRUE(reader.rest.empty());
  return {tag, value};
}

DecodedEvent decode(std::string_view bytes) {
  DecodedEvent event;
  Reader reader{bytes};
  while (!reader.rest.empty()) {
    uint64_t key = reader.varint();
    if (key == (1 << 3 | 1)) {
      event.wall_time = std::bit_cast<double>(reader.fixed(8));
    } else if (key == (2 << 3 | 0)) {
      event.step = static_cast<int64_t>(reader.varint());
    } else if (key == (3 << 3 | 2)) {
      event.version = reader.bytes(reader.varint());
    } else if (key == (7 << 3 | 2)) {
      event.session = reader.bytes(reader.varint());
    } else {
      EXPECT_EQ(key, 5u << 3 | 2u);
      Reader summary{reader.bytes(reader.varint())};
      while (!summary.rest.empty()) {
        EXPECT_EQ(summary.varint(), 1u << 3 | 2u);
        event.values.push_back(decode_value(summary.bytes(summary.varint())));
      }
    }
  }
  return event;
}

TEST_F(Telemetry, TensorBoardFileDecodes) {
  TensorBoardWriter writer(folder_ / "tb");
  EXPECT_THAT(
      writer.path().filename().string(),
      MatchesRegex(str("events\\.out\\.tfevents\\.[0-9]{10}\\..+\\.", ::getpid(), "\\.[0-9]+")));
  writer.write(300, 1700000000.25, NamedValues{{"loss", 0.5}, {"loss/labels", -2.75}});
  writer.write(int64_t{1} << 40,
               NamedValues{{std::string(200, 'x'), 1e300}, {"bad", std::nan("")}});
  std::string bytes = read_file(writer.path());
  std::vector<std::string_view> found = records(bytes);
  ASSERT_EQ(found.size(), 3u);
  DecodedEvent first = decode(found[0]), second = decode(found[1]), third = decode(found[2]);
  EXPECT_EQ(first.version, "brain.Event:2");
  EXPECT_NEAR(first.wall_time, static_cast<double>(std::time(nullptr)), 60);
  EXPECT_EQ(second.wall_time, 1700000000.25);
  EXPECT_EQ(second.step, 300);
  EXPECT_THAT(second.values, ElementsAre(Pair("loss", 0.5f), Pair("loss/labels", -2.75f)));
  EXPECT_EQ(third.step, int64_t{1} << 40);
  EXPECT_EQ(third.values[0].second, std::numeric_limits<float>::max());
  EXPECT_TRUE(std::isnan(third.values[1].second));
  TensorBoardWriter other(folder_ / "tb");
  EXPECT_NE(other.path(), writer.path());
}

TEST_F(Telemetry, ResumedTensorBoardFileStartsASession) {
  TensorBoardWriter writer(folder_ / "tb", 41);
  std::string bytes = read_file(writer.path());
  std::vector<std::string_view> found = records(bytes);
  ASSERT_EQ(found.size(), 2u);
  DecodedEvent session = decode(found[1]);
  EXPECT_EQ(session.step, 42);
  EXPECT_EQ(session.session, std::string("\x08\x01"));
}

// A progress line with a clock and a printer of its own.
struct Screen {
  double now = 100;
  int reads = 0;
  std::vector<std::pair<std::string, bool>> lines;

  ProgressOptions options(bool terminal) {
    return {terminal, 10, [this] { return now; },
            [this](std::string_view text, bool rewrite) { lines.emplace_back(text, rewrite); }};
  }
  ProgressLine::ReadLosses losses() {
    return [this] {
      ++reads;
      return NamedValues{{"loss", 0.51234}, {"labels", 1.5}};
    };
  }
};

TEST(ProgressText, ShowsWhatIsKnown) {
  EXPECT_EQ(progress_text("student", {120, 1200, 300}, {{"loss", 0.512345}, {"labels", 0.5}},
                          4.5e-5, 352.4, 200),
            "student  step 120/1,200 (10%)  epoch 0.40  loss 0.5123  labels 0.5  lr 4.5e-05  352 "
            "samples/s  "
            "3 min 20 s left");
  EXPECT_EQ(progress_text("s", {7, 0, 0}, {}, 0.1, -1, -1), "s  step 7  lr 0.1");
  EXPECT_THAT(progress_text("s", {999, 1000, 0}, {{"loss", std::nan("")}}, 0.1, 22700, 0),
              HasSubstr("(99%)  loss nan  lr 0.1  22.7k samples/s"));
}

TEST(ProgressLine, OnATerminalRewritesFiveTimesASecondAtMost) {
  Screen screen;
  ProgressLine progress("s", {}, screen.options(true));
  for (int step = 1; step <= 1000; ++step) {  // one second in all
    screen.now += 0.001;
    progress.update({step, 1000, 0}, 32, 0.1, screen.losses());
  }
  EXPECT_EQ(screen.lines.size(), 5u);  // the first step, then every 0.2 s
  EXPECT_EQ(screen.reads, 5);
  EXPECT_THAT(screen.lines[0].first, HasSubstr("step 1/1,000"));
  EXPECT_TRUE(screen.lines[0].second);
  EXPECT_THAT(screen.lines[4].first, HasSubstr("32.0k samples/s"));
}

TEST(ProgressLine, ElsewhereAPlainLineEveryTenSecondsAndAtTheEnd) {
  Screen screen;
  ProgressLine progress("s", {100, 200, 50}, screen.options(false));  // resumed at step 100
  for (int step = 101; step <= 125; ++step) {
    screen.now += 1;
    progress.update({step, 200, 50}, 8, 0.1, screen.losses());
  }
  ASSERT_EQ(screen.lines.size(), 2u);
  EXPECT_EQ(screen.lines[0].first,
            "s  step 110/200 (55%)  epoch 2.20  loss 0.5123  labels 1.5  lr 0.1  8.0 samples/s  1 "
            "min 30 s left");
  EXPECT_FALSE(screen.lines[0].second);
  EXPECT_THAT(screen.lines[1].first, HasSubstr("step 120/200"));
  progress.finish({125, 200, 50}, 0.1, screen.losses());
  EXPECT_EQ(screen.reads, 3);
  EXPECT_EQ(screen.lines[2].first,
            "s  step 125/200 (62%)  epoch 2.50  loss 0.5123  labels 1.5  lr 0.1  8.0 samples/s  25 "
            "steps in 25 s");
  EXPECT_FALSE(screen.lines[2].second);
}

TEST(ProgressLine, RatesFollowAChangeOfPace) {
  Screen screen;
  ProgressLine progress("s", {}, screen.options(false));
  for (int step = 1; step <= 200; ++step) {
    screen.now += step <= 100 ? 1 : 4;
    progress.update({step, 1000, 0}, 8, 0.1, screen.losses());
  }
  EXPECT_THAT(screen.lines.back().first, HasSubstr("step 199/1,000"));
  EXPECT_THAT(screen.lines.back().first,
              HasSubstr("2.0 samples/s  53 min 24 s left"));  // 801 steps of 4 s
}

}  // namespace
}  // namespace compress
