// ROUGE of written texts as the package rouge-score computes it.

#include <algorithm>

#include "compress/base/strings.h"
#include "compress/text/python.h"
#include "metrics/checks.h"
#include "metrics/ngrams.h"
#include "metrics/porter.h"

namespace compress {

namespace {

// Lower case; runs of anything but a-z and 0-9 separate words.
std::vector<std::u32string> rouge_words(std::string_view text, bool stem) {
  std::vector<std::u32string> words(1);
  for (char32_t c : text::lower(text::code_points(text)))
    if ((c >= U'a' && c <= U'z') || (c >= U'0' && c <= U'9'))
      words.back().push_back(c);
    else if (!words.back().empty())
      words.emplace_back();
  if (words.back().empty()) words.pop_back();
  if (stem)
    for (std::u32string& word : words) {
      if (word.size() <= 3) continue;
      const std::string found = porter_stem(std::string(word.begin(), word.end()));
      word.assign(found.begin(), found.end());
    }
  std::erase_if(words, [](const std::u32string& word) { return word.empty(); });
  return words;
}

double f_measure(double precision, double recall) {
  return precision + recall > 0 ? 2 * precision * recall / (precision + recall) : 0;
}

// The longest common subsequence's length.
int64_t common_subsequence(std::u32string_view one, std::u32string_view other) {
  std::vector<int64_t> before(other.size() + 1, 0), now(other.size() + 1, 0);
  for (char32_t symbol : one) {
    for (size_t i = 0; i < other.size(); ++i)
      now[i + 1] = symbol == other[i] ? before[i] + 1 : std::max(before[i + 1], now[i]);
    std::swap(before, now);
  }
  return before.back();
}

double of_grams(std::u32string_view written, std::u32string_view reference, size_t n) {
  auto runs = [&](std::u32string_view text) {
    return static_cast<double>(text.size() < n ? 1 : text.size() - n + 1);
  };
  const auto both = static_cast<double>(common(grams_of(written, n), grams_of(reference, n)));
  return f_measure(both / runs(written), both / runs(reference));
}

double of_subsequence(std::u32string_view written, std::u32string_view reference) {
  if (written.empty() || reference.empty()) return 0;
  const auto both = static_cast<double>(common_subsequence(reference, written));
  return f_measure(both / static_cast<double>(written.size()),
                   both / static_cast<double>(reference.size()));
}

// Each text's, the best over its references; n = 0: of the longest common subsequence.
std::vector<double> rouge_of(const WrittenTexts& texts, size_t n, bool stem) {
  std::vector<double> values;
  for (size_t i = 0; i < texts.written.size(); ++i) {
    Vocabulary vocabulary;
    auto symbols = [&](const std::string& text) {
      const std::vector<std::u32string> words = rouge_words(text, stem);
      return vocabulary.symbols({words.begin(), words.end()});
    };
    const std::u32string written = symbols(texts.written[i]);
    double best = 0;
    for (const std::string& text : texts.references[i]) {
      const std::u32string reference = symbols(text);
      best = std::max(
          best, n == 0 ? of_subsequence(written, reference) : of_grams(written, reference, n));
    }
    values.push_back(best);
  }
  return values;
}

}  // namespace

Metric rouge(const WrittenTexts& texts, int64_t n, bool stem) {
  check_texts("rouge", texts);
  long double sum = 0;
  for (double value : rouge_of(texts, static_cast<size_t>(n), stem)) sum += value;
  const auto count = static_cast<int64_t>(texts.written.size());
  Metric metric{"rouge", static_cast<double>(sum / static_cast<long double>(count)), count, {}};
  metric.signature =
      str("nrefs:", references_of_each(texts), "|tok:rouge-score|stem:", stem ? "porter" : "no",
          "|agg:mean|version:0.1.2");
  return metric;
}

namespace eval {

void add_rouge(MetricRegistry& registry) {
  struct Kind {
    int64_t n;
    const char *name, *summary, *equation;
  };
  for (const Kind& kind :
       {Kind{1, "rouge_1", "ROUGE-1: F1 of words, mean over texts", "2 P R / (P + R) of words"},
        {2, "rouge_2", "ROUGE-2: F1 of pairs of words, mean over texts",
         "2 P R / (P + R) of runs of two words"},
        {0, "rouge_l", "ROUGE-L: F1 of the longest common subsequence, mean over texts",
         "2 P R / (P + R),  P = lcs / written words,  R = lcs / reference words"}})
    for (bool stem : {false, true})
      add_metric(
          registry,
          {Need::texts, true,
           [n = kind.n, stem](const Predictions& p, int64_t) { return rouge(p.texts, n, stem); },
           [n = kind.n, stem](const Predictions& p, int64_t) {
             return Parts{{}, rouge_of(p.texts, static_cast<size_t>(n), stem)};
           }},
          str(kind.name, stem ? "_stem" : ""), str(kind.summary, stem ? ", of word stems" : ""),
          kind.equation, "Lin 2004, ROUGE: a package for automatic evaluation of summaries",
          str("As rouge-score 0.1.2 with use_stemmer=", stem ? "True" : "False",
              ": lower case, words of a-z and 0-9",
              stem ? ", those of more than three characters cut by NLTK's Porter stemmer" : "",
              "; the best of several references; 0 where either side has none. From 0 to 1. A text "
              "is "
              "one sequence, whatever lines it has (not ROUGE-Lsum)."));
}

}  // namespace eval
}  // namespace compress
