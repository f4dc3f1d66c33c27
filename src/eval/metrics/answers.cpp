// Answers to questions about a passage, as the evaluation script of SQuAD 2.0 compares them.

#include <algorithm>
#include <map>

#include "compress/text/python.h"
#include "metrics/checks.h"

namespace compress {

namespace {

using Words = std::vector<std::u32string>;

// string.punctuation.
bool is_punctuation(char32_t c) {
  return (c >= U'!' && c <= U'/') || (c >= U':' && c <= U'@') || (c >= U'[' && c <= U'`') ||
         (c >= U'{' && c <= U'~');
}

bool is_article(std::u32string_view word) {
  return word == U"a" || word == U"an" || word == U"the";
}

// The text's words in lower case without punctuation and articles: those between white space. An
// article is what \b(a|an|the)\b finds, so also one that another character but a letter, a number
// or white space follows.
Words words_of(std::string_view text) {
  std::u32string plain = text::lower(text::code_points(text));
  std::erase_if(plain, is_punctuation);
  Words words(1);
  for (size_t at = 0; at < plain.size();) {
    size_t end = at;
    while (end < plain.size() && text::is_word_character(plain[end])) ++end;
    const std::u32string_view run = std::u32string_view(plain).substr(at, end - at);
    if (is_article(run))
      words.emplace_back();  // a space stands for it
    else
      words.back() += run;
    at = end;
    for (; at < plain.size() && !text::is_word_character(plain[at]); ++at)
      if (text::is_space(plain[at]))
        words.emplace_back();
      else
        words.back() += plain[at];
  }
  std::erase_if(words, [](const std::u32string& word) { return word.empty(); });
  return words;
}

double overlap(const Words& predicted, const Words& given) {
  if (predicted.empty() || given.empty()) return predicted == given ? 1 : 0;
  std::map<std::u32string_view, int64_t> left;
  for (const std::u32string& word : given) ++left[word];
  int64_t common = 0;
  for (const std::u32string& word : predicted)
    if (auto found = left.find(word); found != left.end() && found->second-- > 0) ++common;
  return 2.0 * static_cast<double>(common) / static_cast<double>(predicted.size() + given.size());
}

}  // namespace

AnswerScore compare_answer(std::string_view predicted, std::span<const std::string> answers) {
  const Words ours = words_of(predicted);
  AnswerScore best;
  bool any = false;
  for (const std::string& answer : answers) {
    const Words theirs = words_of(answer);
    if (theirs.empty()) continue;
    any = true;
    best.exact = best.exact || ours == theirs;
    best.f1 = std::max(best.f1, overlap(ours, theirs));
  }
  if (!any) {  // no answer is the answer
    best.exact = ours.empty();
    best.f1 = best.exact ? 1 : 0;
  }
  return best;
}

namespace eval {

void add_answer_metrics(MetricRegistry& registry) {
  auto add = [&](double AnswerSums::*sum, auto... story) {
    add_metric(registry,
               {Need::texts, true,
                [sum](const Predictions& p, int64_t) {
                  return Metric{"",
                                p.answers.*sum / static_cast<double>(p.answers.questions),
                                p.answers.questions,
                                {}};
                }},
               story..., "Rajpurkar et al. 2016, arXiv 1606.05250, section 6.1",
               "As the evaluation script of SQuAD 2.0: lower case, without punctuation, articles "
               "and extra space; the best over the given answers; where none is given, or nothing "
               "is left of it, only no answer is right.");
  };
  add(&AnswerSums::exact, "exact_match", "share of questions whose answer is a given one",
      "mean over questions of max_a [answer = a]");
  add(&AnswerSums::f1, "answer_f1", "F1 of the words that the answer shares with a given one",
      "mean over questions of max_a 2 common / (words + words of a)");
}

}  // namespace eval
}  // namespace compress
