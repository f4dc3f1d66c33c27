// Answers to questions about a passage, as SQuAD's evaluation script compares them.

#include <algorithm>
#include <map>

#include "compress/base/strings.h"
#include "compress/eval/metrics.h"

namespace compress {

namespace {

bool is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

bool is_punctuation(char c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
         (c >= '{' && c <= '~');
}

// Lower case, without punctuation and articles: words. Case and punctuation of ASCII alone.
std::vector<std::string> words_of(std::string_view text) {
  std::string plain;
  for (char c : lower_ascii(text))
    if (!is_punctuation(c)) plain += is_space(c) ? ' ' : c;
  std::vector<std::string> words;
  for (std::string& word : split(plain, ' '))
    if (!word.empty() && word != "a" && word != "an" && word != "the")
      words.push_back(std::move(word));
  return words;
}

double overlap(const std::vector<std::string>& predicted, const std::vector<std::string>& given) {
  if (predicted.empty() || given.empty()) return predicted == given ? 1 : 0;
  std::map<std::string_view, int64_t> left;
  for (const std::string& word : given) ++left[word];
  int64_t common = 0;
  for (const std::string& word : predicted)
    if (auto found = left.find(word); found != left.end() && found->second-- > 0) ++common;
  return 2.0 * static_cast<double>(common) / static_cast<double>(predicted.size() + given.size());
}

}  // namespace

AnswerScore compare_answer(std::string_view predicted, std::span<const std::string> answers) {
  AnswerScore best;
  const std::vector<std::string> ours = words_of(predicted);
  for (const std::string& answer : answers) {
    const std::vector<std::string> theirs = words_of(answer);
    best.exact = best.exact || ours == theirs;
    best.f1 = std::max(best.f1, overlap(ours, theirs));
  }
  if (answers.empty()) {  // no answer is the answer
    best.exact = ours.empty();
    best.f1 = best.exact ? 1 : 0;
  }
  return best;
}

}  // namespace compress
