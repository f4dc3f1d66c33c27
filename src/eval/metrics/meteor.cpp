// METEOR of written texts with its first stage alone, as NLTK's functions compute it.

#include <algorithm>
#include <unordered_map>

#include "compress/base/strings.h"
#include "compress/text/python.h"
#include "metrics/checks.h"
#include "metrics/ngrams.h"

namespace compress {

namespace {

// The words of two texts that are the same, and into how many runs they fall that are neighbours
// on both sides.
struct Alignment {
  int64_t matches = 0, chunks = 0;
};

// From the last word to the first, each takes the last place that is left of it (nltk's
// _match_enums), which need not give the fewest runs.
Alignment align(std::u32string_view written, std::u32string_view reference) {
  std::unordered_map<char32_t, std::vector<size_t>> places;
  for (size_t i = 0; i < reference.size(); ++i) places[reference[i]].push_back(i);
  Alignment found;
  size_t word = 0, place = 0;  // of the match before, which stands behind
  for (size_t i = written.size(); i-- > 0;) {
    const auto known = places.find(written[i]);
    if (known == places.end() || known->second.empty()) continue;
    const size_t at = known->second.back();
    known->second.pop_back();
    if (found.matches == 0 || word != i + 1 || place != at + 1) ++found.chunks;
    ++found.matches;
    word = i;
    place = at;
  }
  return found;
}

double meteor_of(std::u32string_view written, std::u32string_view reference) {
  constexpr double alpha = 0.9, gamma = 0.5;
  const Alignment found = align(written, reference);
  if (found.matches == 0) return 0;
  const auto matches = static_cast<double>(found.matches);
  const double precision = matches / static_cast<double>(written.size()),
               recall = matches / static_cast<double>(reference.size());
  const double mean = precision * recall / (alpha * precision + (1 - alpha) * recall);
  const double share = static_cast<double>(found.chunks) / matches;
  return (1 - gamma * share * share * share) * mean;
}

// Each text's, the best over its references.
std::vector<double> meteors_of(const WrittenTexts& texts) {
  std::vector<double> values;
  for (size_t i = 0; i < texts.written.size(); ++i) {
    Vocabulary vocabulary;
    auto symbols = [&](const std::string& text) {
      const std::u32string lower = text::lower(text::code_points(text));
      return vocabulary.symbols(words_between_spaces(lower));
    };
    const std::u32string written = symbols(texts.written[i]);
    double best = 0;
    for (const std::string& reference : texts.references[i])
      best = std::max(best, meteor_of(written, symbols(reference)));
    values.push_back(best);
  }
  return values;
}

}  // namespace

Metric meteor_exact(const WrittenTexts& texts) {
  check_texts("meteor_exact", texts);
  long double sum = 0;
  for (double value : meteors_of(texts)) sum += value;
  const auto count = static_cast<int64_t>(texts.written.size());
  Metric metric{
      "meteor_exact", static_cast<double>(sum / static_cast<long double>(count)), count, {}};
  metric.signature = str("nrefs:", references_of_each(texts),
                         "|stages:exact|case:lower|tok:space|alpha:0.9|beta:3|gamma:0.5|agg:mean");
  return metric;
}

namespace eval {

void add_meteor(MetricRegistry& registry) {
  add_metric(
      registry,
      {Need::texts, true, [](const Predictions& p, int64_t) { return meteor_exact(p.texts); },
       [](const Predictions& p, int64_t) {
         return Parts{{}, meteors_of(p.texts)};
       }},
      "meteor_exact", "METEOR's exact stage alone, mean over texts",
      "(1 - 0.5 (runs / matches)^3) P R / (0.9 P + 0.1 R) of equal words",
      "Lavie and Agarwal 2007, METEOR: an automatic metric for MT evaluation with high levels of "
      "correlation with human judgments",
      "Not METEOR as it is published: without the stages of stems and synonyms, which match "
      "further "
      "words, it is lower. Words are what stands between white space, in lower case. Equal to "
      "what NLTK 3.10.4's exact_match and single_meteor_score compute where the other stages are "
      "left out, with its places of words that occur several times (the last ones first); the best "
      "of several references; 0 without an equal word.");
}

}  // namespace eval
}  // namespace compress
