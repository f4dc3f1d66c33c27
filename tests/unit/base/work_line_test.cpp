#include "compress/base/work_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace compress {
namespace {

using testing::ElementsAre;

// A line with a clock and a printer of its own.
class WorkLines : public testing::Test {
 protected:
  WorkLine::Options options(bool terminal) {
    WorkLine::Options options;
    options.terminal = terminal;
    options.clock = [this] { return now; };
    options.print = [this](std::string_view line, bool rewrite) {
      lines.push_back(std::string(line) + (rewrite ? " ~" : ""));
    };
    return options;
  }
  double now = 100;
  std::vector<std::string> lines;
};

TEST_F(WorkLines, ShortWorkHasNone) {
  {
    WorkLine line("a", 100, options(true));
    now += 2.9;
    line.update(50);
    now += 10;
    line.update(100);  // the end needs no line
    line.update(0);
  }
  {
    WorkLine nameless("", 100, options(false));
    now += 1000;
    nameless.update(50);
  }
  EXPECT_THAT(lines, ElementsAre());
}

TEST_F(WorkLines, ATerminalHasOneThatIsRewrittenAndWiped) {
  {
    WorkLine line("a  teacher answers", 8087, options(true));
    now += 4;
    line.update(1280);  // 320 a second: 21.3 s for the other 6,807
    now += 0.1;
    line.update(1300);
    now += 0.9;
    line.update(1600);
  }
  EXPECT_THAT(
      lines,
      ElementsAre("a  teacher answers: row 1,280 of 8,087 (15%)  320 rows/s  21 s left ~",
                  "a  teacher answers: row 1,600 of 8,087 (19%)  320 rows/s  20 s left ~", " ~"));
}

TEST_F(WorkLines, ElsewherePlainLinesComeNowAndThen) {
  {
    WorkLine line("a  test", 100, options(false));
    now += 9;
    line.update(20);
    now += 1;
    line.update(25, 0.5);  // long rows come first: half the work is done
    now += 9;
    line.update(30);
    now += 1;
    line.update(40);
  }
  EXPECT_THAT(lines, ElementsAre("a  test: row 25 of 100 (50%)  2.5 rows/s  10 s left",
                                 "a  test: row 40 of 100 (40%)  2.0 rows/s  30 s left"));
}

}  // namespace
}  // namespace compress
