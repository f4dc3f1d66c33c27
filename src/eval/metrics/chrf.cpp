// chrF of a corpus as sacrebleu computes it.

#include <array>

#include "compress/base/strings.h"
#include "compress/text/python.h"
#include "metrics/checks.h"
#include "metrics/ngrams.h"

namespace compress {

namespace {

constexpr size_t chrf_orders = 6;
constexpr double beta = 2;

struct Matches {
  int64_t written = 0, reference = 0, both = 0;
};
using AllMatches = std::array<Matches, chrf_orders>;

// Of the mean precision and the mean recall over the orders that both sides have.
double chrf_of(const AllMatches& matches) {
  double precision = 0, recall = 0;
  int64_t effective = 0;
  for (const Matches& order : matches) {
    if (order.written == 0 || order.reference == 0) continue;
    precision += static_cast<double>(order.both) / static_cast<double>(order.written);
    recall += static_cast<double>(order.both) / static_cast<double>(order.reference);
    ++effective;
  }
  if (effective == 0) return 0;
  precision /= static_cast<double>(effective);
  recall /= static_cast<double>(effective);
  if (precision + recall == 0) return 0;
  constexpr double factor = beta * beta;
  return 100 * ((1 + factor) * precision * recall / (factor * precision + recall));
}

std::u32string without_spaces(std::string_view bytes) {
  std::u32string text = text::code_points(bytes);
  std::erase_if(text, text::is_space);
  return text;
}

AllMatches match(std::u32string_view written, std::u32string_view reference) {
  AllMatches matches;
  for (size_t n = 1; n <= chrf_orders; ++n) {
    auto runs = [&](std::u32string_view text) {
      return text.size() < n ? int64_t{0} : static_cast<int64_t>(text.size() - n + 1);
    };
    Matches& order = matches[n - 1];
    order.reference = runs(reference);
    order.written = order.reference > 0 ? runs(written) : 0;  // else not counted
    order.both = common(grams_of(written, n), grams_of(reference, n));
  }
  return matches;
}

}  // namespace

Metric chrf(const WrittenTexts& texts) {
  check_texts("chrf", texts);
  AllMatches sums;
  for (size_t i = 0; i < texts.written.size(); ++i) {
    const std::u32string written = without_spaces(texts.written[i]);
    AllMatches best;
    double best_score = -1;
    for (const std::string& reference : texts.references[i]) {
      const AllMatches found = match(written, without_spaces(reference));
      if (const double score = chrf_of(found); score > best_score) {
        best = found;
        best_score = score;
      }
    }
    for (size_t n = 0; n < chrf_orders; ++n) {
      sums[n].written += best[n].written;
      sums[n].reference += best[n].reference;
      sums[n].both += best[n].both;
    }
  }
  Metric metric{"chrf", chrf_of(sums), static_cast<int64_t>(texts.written.size()), {}};
  metric.signature = str("nrefs:", references_of_each(texts),
                         "|case:mixed|eff:yes|nc:6|nw:0|space:no|version:2.6.0");
  if (sums[0].both == 0) metric.note = "no character of a reference was written: 0";
  return metric;
}

namespace eval {

void add_chrf(MetricRegistry& registry) {
  add_metric(
      registry, {Need::texts, true, [](const Predictions& p, int64_t) { return chrf(p.texts); }},
      "chrf", "chrF of all written texts: F2 of runs of characters, 0 to 100",
      "100 (1 + 4) P R / (4 P + R),  P, R: means over n = 1 .. 6 of the shares of runs of n "
      "characters",
      "Popovic 2015, chrF: character n-gram F-score for automatic MT evaluation",
      "As sacrebleu 2.6.0's corpus_chrf: without white space, capitals kept, over the orders "
      "that both sides have, the best of several references; printed with its signature.");
}

}  // namespace eval
}  // namespace compress
