#include "beams.h"

#include <algorithm>
#include <cmath>

#include "scores.h"

namespace compress::generate {

namespace {

// As low as a sum of log-probabilities does not get: beams that are not there, and those that
// ended.
constexpr float absent = -1e9F;

}  // namespace

// All beams begin at the prompt, so all but the first are ruled out; they come in only where the
// first has too few continuations.
Beams::Beams(const Options& options, int64_t most)
    : options_(options), most_(most), beams_(static_cast<size_t>(options.num_beams)) {
  running_.assign(beams_, {{}, absent, false});
  running_[0].score = 0;
  finished_.assign(beams_, {{}, absent, false});
}

void Beams::advance(const std::vector<std::span<const float>>& rows) {
  std::vector<Candidate> found = candidates(rows);
  bool all_end = true;
  for (Candidate& candidate : found) {
    candidate.ends = length_ + 1 >= most_ || ends(candidate);
    all_end &= candidate.ends;
  }
  finish(found);
  run_on(found);
  ++length_;
  const bool full = std::all_of(finished_.begin(), finished_.end(),
                                [](const Hypothesis& one) { return one.finished; });
  done_ = all_end || (full && options_.early_stopping == EarlyStopping::yes) || !may_improve();
}

// The best continuations of all beams, the best first. One pass with a short sorted list.
std::vector<Beams::Candidate> Beams::candidates(
    const std::vector<std::span<const float>>& rows) const {
  const size_t wanted = std::max<size_t>(2, 1 + options_.eos.size()) * beams_;
  std::vector<Candidate> found;
  found.reserve(wanted + 1);
  for (size_t beam = 0; beam < beams_; ++beam) {
    const float before = running_[beam].score;
    for (size_t token = 0; token < rows[beam].size(); ++token) {
      const float score = rows[beam][token] + before;
      if (std::isnan(score)) no_choice(score);
      if (found.size() == wanted && !(score > found.back().score)) continue;
      const auto behind = std::find_if(found.rbegin(), found.rend(), [&](const Candidate& one) {
                            return one.score >= score;
                          }).base();
      found.insert(behind, {score, static_cast<int64_t>(beam), static_cast<int64_t>(token), false});
      if (found.size() > wanted) found.pop_back();
    }
  }
  if (!std::isfinite(found.front().score)) no_choice(found.front().score);
  return found;
}

Tokens Beams::extended(const Candidate& candidate) const {
  Tokens tokens = running_[static_cast<size_t>(candidate.beam)].tokens;
  tokens.push_back(candidate.token);
  return tokens;
}

bool Beams::ends(const Candidate& candidate) const {
  if (std::find(options_.eos.begin(), options_.eos.end(), candidate.token) != options_.eos.end())
    return true;
  return options_.stop && options_.stop(extended(candidate));
}

float Beams::penalized(float score, int64_t length) const {
  return score / static_cast<float>(std::pow(static_cast<double>(length), options_.length_penalty));
}

void Beams::finish(const std::vector<Candidate>& found) {
  for (size_t i = 0; i < std::min(beams_, found.size()); ++i)
    if (found[i].ends)
      finished_.push_back({extended(found[i]), penalized(found[i].score, length_ + 1), true});
  std::stable_sort(finished_.begin(), finished_.end(),
                   [](const Hypothesis& a, const Hypothesis& b) { return a.score > b.score; });
  finished_.resize(beams_);
}

void Beams::run_on(const std::vector<Candidate>& found) {
  std::vector<Candidate> left = found;
  for (Candidate& candidate : left)
    if (candidate.ends) candidate.score += absent;
  std::stable_sort(left.begin(), left.end(),
                   [](const Candidate& a, const Candidate& b) { return a.score > b.score; });
  std::vector<Hypothesis> next;
  parents_.clear();
  for (size_t i = 0; i < beams_; ++i) {
    next.push_back({extended(left[i]), left[i].score, false});
    parents_.push_back(left[i].beam);
  }
  running_ = std::move(next);
}

bool Beams::may_improve() const {
  const bool at_the_end =
      options_.early_stopping == EarlyStopping::never && options_.length_penalty > 0;
  const float best = penalized(running_[0].score, at_the_end ? most_ : length_);
  const float least = finished_.back().score;
  return std::any_of(finished_.begin(), finished_.end(),
                     [&](const Hypothesis& one) { return best > (one.finished ? least : absent); });
}

std::vector<Sequence> Beams::finished(int64_t count) const {
  std::vector<Sequence> all;
  for (int64_t i = 0; i < count; ++i) {
    const Hypothesis& one = finished_[static_cast<size_t>(i)];
    all.push_back({one.tokens, one.score});
  }
  return all;
}

}  // namespace compress::generate
