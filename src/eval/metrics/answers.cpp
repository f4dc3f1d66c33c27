// Answers to questions about a passage, as the evaluation script of SQuAD 2.0 compares them.

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>

#include "compress/base/strings.h"
#include "compress/text/python.h"
#include "metrics/checks.h"
#include "metrics/ngrams.h"

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

BestThreshold best_threshold(const Answers& answers, std::span<const double> scores) {
  check_sizes("best threshold", scores.size(), answers.has_answer.size());
  check_sizes("best threshold", scores.size(), answers.null_odds.size());
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return answers.null_odds[a] < answers.null_odds[b]; });
  // All withheld at first; then one answer more at a time.
  double now = static_cast<double>(
      std::count(answers.has_answer.begin(), answers.has_answer.end(), uint8_t{0}));
  BestThreshold best{now, 0};
  for (size_t question : order) {
    now += answers.has_answer[question] != 0 ? scores[question] : -1;
    if (now > best.value) best = {now, answers.null_odds[question]};
  }
  best.value /= static_cast<double>(scores.size());
  return best;
}

namespace {

// The best score over the references.
AnswerScore of_text(const WrittenTexts& texts, size_t i) {
  return compare_answer(texts.written[i], texts.references[i]);
}

enum class Of { all, answered, unanswered };

// Of questions, or of written texts as if each answered one; of some of the questions alone.
eval::Parts answer_parts(const Predictions& p, bool exact, Of which) {
  eval::Parts parts;
  const Answers& answers = p.answers;
  const std::vector<double>& scores = exact ? answers.exact : answers.f1;
  for (size_t i = 0; i < scores.size(); ++i) {
    const bool has = answers.has_answer.empty() || answers.has_answer[i] != 0;
    if (which != Of::all && has != (which == Of::answered)) continue;
    parts.ids.push_back(static_cast<int64_t>(i));
    parts.values.push_back(scores[i]);
  }
  if (which != Of::all || !scores.empty()) return parts;
  for (size_t i = 0; i < p.texts.written.size(); ++i) {
    const AnswerScore score = of_text(p.texts, i);
    parts.values.push_back(!exact ? score.f1 : score.exact ? 1 : 0);
  }
  return parts;
}

Metric answer_mean(const Predictions& p, bool exact, Of which) {
  if (p.answers.exact.empty()) check_texts("exact_match", p.texts);
  const eval::Parts parts = answer_parts(p, exact, which);
  Metric metric{"", 0, static_cast<int64_t>(parts.values.size()), {}};
  double sum = 0;
  for (double value : parts.values) sum += value;
  if (metric.n > 0)
    metric.value = sum / static_cast<double>(metric.n);
  else
    metric.note = which == Of::answered ? "no question has an answer: undefined, reported as 0"
                                        : "every question has an answer: undefined, reported as 0";
  return metric;
}

Metric at_best_threshold(const Predictions& p, bool exact) {
  if (p.answers.has_answer.empty()) {
    Metric metric = answer_mean(p, exact, Of::all);
    metric.note = "every question has an answer: no threshold";
    return metric;
  }
  const BestThreshold best =
      best_threshold(p.answers, exact ? p.answers.best_exact : p.answers.best_f1);
  return {"", best.value, p.answers.questions(),
          str("no answer where its score is more than ", shortest(best.threshold),
              " above the best answer's; searched on these questions")};
}

}  // namespace

namespace eval {

void add_answer_metrics(MetricRegistry& registry) {
  const char* paper = "Rajpurkar et al. 2016, arXiv 1606.05250, section 6.1";
  const std::string rules =
      "As the evaluation script of SQuAD 2.0: lower case, without punctuation, articles and extra "
      "space; the best over the given answers; where none is given, or nothing is left of it, only "
      "no "
      "answer is right.";
  auto add = [&](bool exact, Of which, const char* name, const char* summary, const char* equation,
                 const std::string& notes) {
    add_metric(registry,
               {Need::answers, true,
                [=](const Predictions& p, int64_t) { return answer_mean(p, exact, which); },
                [=](const Predictions& p, int64_t) { return answer_parts(p, exact, which); },
                which == Of::all ? std::optional(Need::texts) : std::nullopt},
               name, summary, equation, paper, notes);
  };
  const std::string of_texts = rules + " Of written texts the references are the given answers.";
  add(true, Of::all, "exact_match", "share of questions whose answer is a given one",
      "mean over questions of max_a [answer = a]", of_texts);
  add(false, Of::all, "answer_f1", "F1 of the words that the answer shares with a given one",
      "mean over questions of max_a 2 common / (words + words of a)", of_texts);
  for (const auto& [which, name, questions] :
       {std::tuple(Of::answered, "has_answer", "questions that have an answer"),
        {Of::unanswered, "no_answer", "questions that have none"}}) {
    const std::string note = str(rules, " Of the ", questions,
                                 " alone; 0 with a note where there are none. The script's ",
                                 which == Of::answered ? "HasAns" : "NoAns", ".");
    add(true, which, str(name, "_exact").c_str(), str("exact_match of ", questions).c_str(),
        "exact_match of these questions", note);
    add(false, which, str(name, "_f1").c_str(), str("answer_f1 of ", questions).c_str(),
        "answer_f1 of these questions", note);
  }
  for (bool exact : {true, false})
    add_metric(
        registry,
        {Need::answers, true,
         [=](const Predictions& p, int64_t) { return at_best_threshold(p, exact); }},
        exact ? "best_exact" : "best_f1",
        str(exact ? "exact_match" : "answer_f1",
            " with the threshold for no answer that gives the most"),
        str("max_t mean over questions of ", exact ? "exact" : "f1",
            ", no answer where score(none) - score(best answer) > t"),
        "Rajpurkar et al. 2018, arXiv 1806.03822, section 5",
        "As find_best_thresh of SQuAD 2.0's evaluation script, given the best answer of each "
        "question whatever its score, and the differences as null odds. The threshold is told in "
        "a note; it is found on the questions that are scored, so that the value is an upper "
        "bound. Without questions that have no answer it is the plain score.");
}

// Equality of texts as they are.
void add_text_metrics(MetricRegistry& registry) {
  const auto parts = [](const Predictions& p, int64_t) {
    Parts found;
    auto plain = [](const std::string& text) {
      std::u32string_view points;
      const std::u32string all = text::code_points(text);
      points = all;
      while (!points.empty() && text::is_space(points.front())) points.remove_prefix(1);
      while (!points.empty() && text::is_space(points.back())) points.remove_suffix(1);
      return std::u32string(points);
    };
    for (size_t i = 0; i < p.texts.written.size(); ++i)
      found.values.push_back(std::ranges::any_of(p.texts.references[i],
                                                 [&](const std::string& reference) {
                                                   return plain(reference) ==
                                                          plain(p.texts.written[i]);
                                                 })
                                 ? 1
                                 : 0);
    return found;
  };
  add_metric(
      registry,
      {Need::texts, true,
       [parts](const Predictions& p, int64_t) {
         check_texts("exact_text", p.texts);
         const Parts found = parts(p, 0);
         double sum = 0;
         for (double value : found.values) sum += value;
         const auto n = static_cast<int64_t>(found.values.size());
         return Metric{"exact_text", sum / static_cast<double>(n), n, {}};
       },
       parts},
      "exact_text", "share of written texts that are a reference, character by character",
      "mean over texts of max_r [text = r]", "",
      "White space at both ends aside; capitals, punctuation and articles count (exact_match "
      "leaves them aside).");
}

}  // namespace eval
}  // namespace compress
