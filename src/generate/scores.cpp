#include "scores.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <queue>

#include "compress/base/error.h"
#include "compress/base/random.h"

namespace compress::generate {

namespace {

constexpr float never = -std::numeric_limits<float>::infinity();

bool inside(Scores scores, int64_t token) {
  return token >= 0 && token < static_cast<int64_t>(scores.size());
}

}  // namespace

void no_choice(float best) {
  if (best != never)
    throw Error(ErrorKind::diverged, "no token can be chosen: the model's outputs are not numbers",
                {}, "look at the weights");
  throw Error(ErrorKind::recipe,
              "no token can be chosen: banned words, suppressed tokens and n-grams that may not be "
              "repeated rule all of them out",
              {}, "allow some of them (the model's generation_config.json may name them, too)");
}

void penalize_repetition(Scores scores, History history, double penalty) {
  Tokens seen(history.begin(), history.end());
  std::sort(seen.begin(), seen.end());
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  const auto factor = static_cast<float>(penalty);
  for (int64_t token : seen) {
    if (!inside(scores, token)) continue;
    float& score = scores[static_cast<size_t>(token)];
    score = score < 0 ? score * factor : score / factor;
  }
}

void ban_repeated_ngrams(Scores scores, History history, int64_t n) {
  const auto before = static_cast<size_t>(n - 1);
  if (history.size() <= before) return;
  const History last = history.last(before);
  for (size_t end = before; end < history.size(); ++end)
    if (inside(scores, history[end]) &&
        std::equal(last.begin(), last.end(), history.begin() + static_cast<int64_t>(end - before)))
      scores[static_cast<size_t>(history[end])] = never;
}

void ban(Scores scores, std::span<const int64_t> tokens) {
  for (int64_t token : tokens)
    if (inside(scores, token)) scores[static_cast<size_t>(token)] = never;
}

void ban_completed(Scores scores, History history, const std::vector<Tokens>& sequences) {
  for (const Tokens& sequence : sequences) {
    const History before = History(sequence).first(sequence.size() - 1);
    const bool follows =
        before.empty() || (history.size() >= sequence.size() &&
                           std::equal(before.begin(), before.end(),
                                      history.end() - static_cast<int64_t>(before.size())));
    if (follows) ban(scores, {&sequence.back(), 1});
  }
}

void force(Scores scores, std::span<const int64_t> tokens) {
  std::fill(scores.begin(), scores.end(), never);
  for (int64_t token : tokens)
    if (inside(scores, token)) scores[static_cast<size_t>(token)] = 0;
}

void divide(Scores scores, double temperature) {
  const auto divisor = static_cast<float>(temperature);
  for (float& score : scores) score /= divisor;
}

void keep_top_k(Scores scores, int64_t k) {
  if (k >= static_cast<int64_t>(scores.size())) return;
  std::priority_queue<float, std::vector<float>, std::greater<>> kept;
  for (float score : scores) {
    if (static_cast<int64_t>(kept.size()) < k) {
      kept.push(score);
    } else if (score > kept.top()) {
      kept.pop();
      kept.push(score);
    }
  }
  const float least = kept.top();
  for (float& score : scores)
    if (score < least) score = never;
}

void keep_top_p(Scores scores, double p) {
  using Entry = std::pair<float, size_t>;
  std::vector<Entry> entries;
  for (size_t i = 0; i < scores.size(); ++i)
    if (scores[i] > never) entries.emplace_back(scores[i], i);
  if (entries.empty()) return;
  std::make_heap(entries.begin(), entries.end());
  const double most = entries.front().first;
  double total = 0;
  for (const Entry& entry : entries) total += std::exp(entry.first - most);
  // From the best down until the rest has at most 1 - p.
  double rest = total;
  auto end = entries.end();
  do {
    std::pop_heap(entries.begin(), end);
    --end;
    rest -= std::exp(end->first - most);
  } while (end != entries.begin() && rest > (1 - p) * total);
  for (auto entry = entries.begin(); entry != end; ++entry) scores[entry->second] = never;
}

void keep_min_p(Scores scores, double p) {
  const double least = *std::max_element(scores.begin(), scores.end()) + std::log(p);
  for (float& score : scores)
    if (score < least) score = never;
}

void renormalize(Scores scores) {
  const double most = *std::max_element(scores.begin(), scores.end());
  if (!std::isfinite(most)) return;
  double total = 0;
  for (float score : scores) total += std::exp(score - most);
  const auto shift = static_cast<float>(most + std::log(total));
  for (float& score : scores) score -= shift;
}

void process(Scores scores, History history, int64_t fresh, const Limits& limits,
             const Options& options) {
  if (options.repetition_penalty != 1)
    penalize_repetition(scores, history, options.repetition_penalty);
  if (options.no_repeat_ngram > 0) ban_repeated_ngrams(scores, history, options.no_repeat_ngram);
  ban_completed(scores, history, options.banned);
  if (fresh < limits.least) ban(scores, options.eos);
  const bool forces_first = options.forced_bos >= 0;
  if (forces_first && history.size() == 1) force(scores, {&options.forced_bos, 1});
  if (!options.forced_eos.empty() && fresh == limits.most - 1) force(scores, options.forced_eos);
  ban(scores, options.suppressed);
  const auto beginning = static_cast<int64_t>(history.size()) - fresh;
  if (fresh == (forces_first && beginning == 1 ? 1 : 0)) ban(scores, options.suppressed_first);
  if (options.sample) {
    if (options.temperature != 1) divide(scores, options.temperature);
    if (options.top_k > 0) keep_top_k(scores, options.top_k);
    if (options.top_p < 1) keep_top_p(scores, options.top_p);
    if (options.min_p > 0) keep_min_p(scores, options.min_p);
  }
  if (options.renormalize) renormalize(scores);
}

int64_t best(std::span<const float> scores) {
  size_t found = 0;
  float most = never;
  bool numbers = true;
  for (size_t i = 0; i < scores.size(); ++i) {
    numbers &= !std::isnan(scores[i]);
    if (scores[i] > most) {
      most = scores[i];
      found = i;
    }
  }
  if (!numbers || !std::isfinite(most)) no_choice(numbers ? most : NAN);
  return static_cast<int64_t>(found);
}

int64_t draw(std::span<const float> scores, double uniform) {
  int64_t found = best(scores);
  const double most = scores[static_cast<size_t>(found)];
  double total = 0;
  for (float score : scores)
    if (score > never) total += std::exp(score - most);
  double sum = 0;
  for (size_t i = 0; i < scores.size(); ++i) {
    if (!(scores[i] > never)) continue;
    sum += std::exp(scores[i] - most);
    if (sum <= uniform * total) continue;
    return static_cast<int64_t>(i);
  }
  return found;  // rounding: `uniform` is next to 1
}

double uniform(const Options& options, int64_t row, int64_t sequence, int64_t fresh) {
  const uint64_t seed = stream_seed(options.seed, "sampling", static_cast<uint64_t>(row),
                                    static_cast<uint64_t>(sequence));
  return Random(stream_seed(seed, "token", static_cast<uint64_t>(fresh))).uniform();
}

}  // namespace compress::generate
