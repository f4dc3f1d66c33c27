#include "shared/running.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <csignal>

#include "compress/base/error.h"
#include "compress/base/strings.h"

namespace compress::cli {

namespace {

std::atomic<bool> stop_wanted{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler sets it");

// Several processes stop together, and launchers repeat their signals: there the first one counts.
void on_shared_signal(int) {
  stop_wanted = true;
}

// The first signal asks the training loop to save its state and leave; the second one has its
// ordinary effect at once. Only functions that are safe in a signal handler are called.
void on_signal(int) {
  stop_wanted = true;
  for (int signal : {SIGINT, SIGTERM, SIGUSR1}) std::signal(signal, SIG_DFL);
  constexpr std::string_view text = "\nstopping after this update; once more to end at once\n";
  [[maybe_unused]] ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
}

}  // namespace

const std::atomic<bool>* stop_on_signals(bool shared) {
  for (int signal : {SIGINT, SIGTERM, SIGUSR1})
    std::signal(signal, shared ? on_shared_signal : on_signal);
  return &stop_wanted;
}

std::string expectations_text(const std::vector<pipeline::Expectation>& expectations) {
  std::string text;
  for (const pipeline::Expectation& expectation : expectations)
    text += expectation.verdict() + expectation.text + "\n";
  return text;
}

void require_held(const std::vector<pipeline::Expectation>& expectations,
                  const std::string& place) {
  size_t missed = 0, undecided = 0;
  for (const pipeline::Expectation& expectation : expectations) {
    missed += expectation.held || expectation.undecided ? 0 : 1;
    undecided += expectation.undecided ? 1 : 0;
  }
  if (missed + undecided == 0) return;
  if (missed == 0)
    throw Error(ErrorKind::undecided,
                str(undecided, " of ", expectations.size(), " expectations could not be decided"),
                place,
                "the run is complete and its results are kept; more seeds (--seeds) or a larger "
                "part see smaller differences");
  throw Error(ErrorKind::expectation,
              str(missed, " of ", expectations.size(), " expected numbers did not hold"), place,
              "the run is complete and its results are kept; lines marked MISSED tell by how much");
}

std::vector<int64_t> seeds_of(const std::vector<std::string>& texts) {
  constexpr int64_t most = 1000;  // in one range: more is a slip of the keyboard
  std::vector<int64_t> seeds;
  for (const std::string& text : texts) {
    auto number = [&](std::string_view part) {
      int64_t value = -1;
      const auto [end, failed] = std::from_chars(part.data(), part.data() + part.size(), value);
      if (failed != std::errc() || end != part.data() + part.size() || value < 0)
        throw Error(ErrorKind::recipe, "'" + text + "' is no seed", "--seeds",
                    "whole numbers: 13,14,15 or 13..15");
      return value;
    };
    const size_t dots = text.find("..");
    const int64_t first = number(std::string_view(text).substr(0, dots));
    const int64_t last =
        dots == std::string::npos ? first : number(std::string_view(text).substr(dots + 2));
    if (last < first || last - first >= most)
      throw Error(ErrorKind::recipe, "'" + text + "' is no range of seeds", "--seeds",
                  str("from the smaller to the larger, at most ", most));
    for (int64_t seed = first; seed <= last; ++seed) {
      if (std::find(seeds.begin(), seeds.end(), seed) != seeds.end())
        throw Error(ErrorKind::recipe, str("seed ", seed, " is named twice"), "--seeds",
                    "one run would count as two in means and tests");
      seeds.push_back(seed);
    }
  }
  return seeds;
}

}  // namespace compress::cli
