#pragma once
// Beam search for one prompt, apart from any model.

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "compress/generate/generate.h"

namespace compress::generate {

class Beams {
 public:
  // `most`: new tokens of a sequence at most.
  Beams(const Options& options, int64_t most);

  // Reads a step: rows[b] are the vocabulary's log-probabilities behind beam b, processed; rows may
  // be the same. Of the max(2, 1 + number of ends) * num_beams best continuations (equal ones in
  // the order of beams and ids) those among the first num_beams that end are put with the finished
  // ones, of which the best num_beams stay, and the best num_beams that do not end run on.
  // no_choice() for scores that are not numbers, or where all are ruled out.
  void advance(const std::vector<std::span<const float>>& rows);
  bool done() const { return done_; }

  // The running sequences, the best first: which one before the last step each one continues, and
  // its new tokens so far.
  const std::vector<int64_t>& parents() const { return parents_; }
  const Tokens& tokens(int64_t beam) const { return running_[static_cast<size_t>(beam)].tokens; }
  // The best finished sequences, once done() holds.
  std::vector<Sequence> finished(int64_t count) const;

 private:
  struct Hypothesis {
    Tokens tokens;
    float score = 0;
    bool finished = false;
  };
  struct Candidate {
    float score = 0;
    int64_t beam = 0, token = 0;
    bool ends = false;
  };
  std::vector<Candidate> candidates(const std::vector<std::span<const float>>& rows) const;
  Tokens extended(const Candidate& candidate) const;
  bool ends(const Candidate& candidate) const;
  void finish(const std::vector<Candidate>& found);
  void run_on(const std::vector<Candidate>& found);
  // Whether the best running sequence may still come to stand among the finished ones.
  bool may_improve() const;
  float penalized(float score, int64_t length) const;

  const Options& options_;
  int64_t most_;
  size_t beams_;
  int64_t length_ = 0;  // new tokens of the running sequences
  bool done_ = false;
  std::vector<Hypothesis> running_, finished_;
  std::vector<int64_t> parents_;
};

}  // namespace compress::generate
