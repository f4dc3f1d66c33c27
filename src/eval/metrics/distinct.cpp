// How varied written texts are.

#include <set>

#include "compress/base/strings.h"
#include "compress/text/python.h"
#include "metrics/checks.h"
#include "metrics/ngrams.h"

namespace compress {

Metric distinct_at(const WrittenTexts& texts, int64_t n) {
  check_texts("distinct", texts);
  Vocabulary vocabulary;
  std::set<std::u32string> distinct;
  int64_t all = 0;
  for (const std::string& text : texts.written) {
    const std::u32string points = text::code_points(text);
    const std::u32string symbols = vocabulary.symbols(words_between_spaces(points));
    for (const auto& [gram, count] : grams_of(symbols, static_cast<size_t>(n))) {
      distinct.emplace(gram);
      all += count;
    }
  }
  Metric metric{"distinct", 0, static_cast<int64_t>(texts.written.size()), {}};
  if (all > 0)
    metric.value = static_cast<double>(distinct.size()) / static_cast<double>(all);
  else
    metric.note =
        str("no written text has ", n, n == 1 ? " word" : " words", ": undefined, reported as 0");
  metric.signature = str("n:", n, "|case:mixed|tok:space|level:corpus|of:ngrams");
  return metric;
}

namespace eval {

void add_distinct(MetricRegistry& registry) {
  add_metric(
      registry,
      {Need::texts, true,
       [](const Predictions& p, int64_t at) { return distinct_at(p.texts, at); }},
      "distinct@k", "share of runs of k words that are distinct, over all written texts",
      "(distinct runs of k words) / (runs of k words)",
      "Li et al. 2016, arXiv 1510.03055, section 5",
      "Words are what stands between white space, capitals kept; runs do not cross texts. The "
      "paper divides by the number of words; here it is that of runs, which k = 1 makes the "
      "same. 0 with a note where no text has k words. References are not looked at.");
}

}  // namespace eval
}  // namespace compress
