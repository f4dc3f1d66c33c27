// BLEU of a corpus as sacrebleu computes it.

#include <array>
#include <cmath>
#include <cstdlib>

#include "compress/base/strings.h"
#include "compress/text/python.h"
#include "metrics/checks.h"
#include "metrics/ngrams.h"

namespace compress {

namespace {

constexpr size_t word_orders = 4;

void replace_all(std::u32string& text, std::u32string_view what, std::u32string_view with) {
  for (size_t at = 0; (at = text.find(what, at)) != std::u32string::npos; at += with.size())
    text.replace(at, what.size(), with);
}

bool is_digit(char32_t c) {
  return c >= U'0' && c <= U'9';
}
bool is_stop(char32_t c) {
  return c == U'.' || c == U',';
}

// Characters that stand for themselves: ASCII's punctuation but ' , - and .
bool stands_alone(char32_t c) {
  return (c >= U'{' && c <= U'~') || (c >= U'[' && c <= U'`') || (c >= U' ' && c <= U'&') ||
         (c >= U'(' && c <= U'+') || (c >= U':' && c <= U'@') || c == U'/';
}

// Puts spaces around a run of two characters that fits, or between: re.sub of two groups, whose
// matches do not overlap. `form` says where spaces go: before, between, behind.
template <class Fits>
std::u32string spaced(const std::u32string& text, const Fits& fits, std::array<bool, 3> form) {
  std::u32string out;
  for (size_t at = 0; at < text.size(); ++at) {
    if (at + 1 >= text.size() || !fits(text[at], text[at + 1])) {
      out.push_back(text[at]);
      continue;
    }
    if (form[0]) out.push_back(U' ');
    out.push_back(text[at]);
    if (form[1]) out.push_back(U' ');
    out.push_back(text[++at]);
    if (form[2]) out.push_back(U' ');
  }
  return out;
}

// The tokenizer 13a (mteval-v13a.pl, by way of sacrebleu): its rules in their order. What it leaves
// is split at white space.
std::u32string tokenised(std::string_view bytes) {
  std::u32string text = text::code_points(bytes);
  while (!text.empty() && text::is_space(text.back())) text.pop_back();
  replace_all(text, U"<skipped>", U"");
  replace_all(text, U"-\n", U"");
  replace_all(text, U"\n", U" ");
  replace_all(text, U"&quot;", U"\"");
  replace_all(text, U"&amp;", U"&");
  replace_all(text, U"&lt;", U"<");
  replace_all(text, U"&gt;", U">");
  std::u32string alone = U" ";
  for (char32_t c : text)
    if (stands_alone(c))
      alone += {U' ', c, U' '};
    else
      alone.push_back(c);
  alone.push_back(U' ');
  text = spaced(alone, [](char32_t a, char32_t b) { return !is_digit(a) && is_stop(b); },
                {false, true, true});
  text = spaced(text, [](char32_t a, char32_t b) { return is_stop(a) && !is_digit(b); },
                {true, true, false});
  return spaced(text, [](char32_t a, char32_t b) { return is_digit(a) && b == U'-'; },
                {false, true, true});
}

struct BleuCounts {
  std::array<int64_t, word_orders> correct{}, total{};
  int64_t written = 0, reference = 0;  // words
};

void add_text(const std::string& written, const std::vector<std::string>& references,
              BleuCounts& counts) {
  Vocabulary vocabulary;
  auto symbols = [&](const std::string& text) {
    const std::u32string tokens = tokenised(text);
    return vocabulary.symbols(words_between_spaces(tokens));
  };
  const std::u32string ours = symbols(written);
  std::vector<std::u32string> theirs;
  for (const std::string& reference : references) theirs.push_back(symbols(reference));
  const auto length = static_cast<int64_t>(ours.size());
  int64_t closest = -1;
  for (const std::u32string& reference : theirs) {
    const auto other = static_cast<int64_t>(reference.size());
    const int64_t far = std::llabs(other - length), best = std::llabs(closest - length);
    if (closest < 0 || far < best || (far == best && other < closest)) closest = other;
  }
  counts.written += length;
  counts.reference += closest;
  for (size_t n = 1; n <= word_orders; ++n) {
    Grams most;  // of all references
    for (const std::u32string& reference : theirs)
      for (const auto& [gram, count] : grams_of(reference, n)) {
        int64_t& known = most[gram];
        known = std::max(known, count);
      }
    counts.correct[n - 1] += common(grams_of(ours, n), most);
    counts.total[n - 1] += std::max<int64_t>(0, length - static_cast<int64_t>(n) + 1);
  }
}

double bleu_of(const BleuCounts& counts) {
  double penalty = 1;
  if (counts.written < counts.reference)
    penalty = counts.written > 0 ? std::exp(1 - static_cast<double>(counts.reference) /
                                                    static_cast<double>(counts.written))
                                 : 0;
  if (counts.correct == std::array<int64_t, word_orders>{}) return 0;
  double logs = 0, smooth = 1;
  for (size_t n = 0; n < word_orders; ++n) {
    if (counts.total[n] == 0) return 0;  // no text has so many words
    const auto total = static_cast<double>(counts.total[n]);
    if (counts.correct[n] == 0) smooth *= 2;
    logs += std::log(counts.correct[n] == 0 ? 100 / (smooth * total)
                                            : 100 * static_cast<double>(counts.correct[n]) / total);
  }
  return penalty * std::exp(logs / word_orders);
}

}  // namespace

Metric bleu(const WrittenTexts& texts) {
  check_texts("bleu", texts);
  BleuCounts counts;
  for (size_t i = 0; i < texts.written.size(); ++i)
    add_text(texts.written[i], texts.references[i], counts);
  Metric metric{"bleu", bleu_of(counts), static_cast<int64_t>(texts.written.size()), {}};
  metric.signature = str("nrefs:", references_of_each(texts),
                         "|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0");
  if (counts.total[word_orders - 1] == 0)
    metric.note = "no written text has four words: 0";
  else if (counts.correct[0] == 0)
    metric.note = "no word of a reference was written: 0";
  return metric;
}

namespace eval {

void add_bleu(MetricRegistry& registry) {
  add_metric(
      registry, {Need::texts, true, [](const Predictions& p, int64_t) { return bleu(p.texts); }},
      "bleu", "BLEU of all written texts, 0 to 100",
      "100 bp exp(1/4 sum_{n=1..4} log p_n),  p_n: share of the runs of n words that a "
      "reference has,  bp = min(1, exp(1 - reference words / written words))",
      "Papineni et al. 2002; Post 2018, arXiv 1804.08771",
      "As sacrebleu 2.6.0's corpus_bleu: tokens of 13a, capitals kept, the closest reference's "
      "length, smoothing exp (an order without a match counts 1 / 2^k of one), no effective "
      "order; printed with its signature. A mean over no rows, so not compared in pairs.");
}

}  // namespace eval
}  // namespace compress
