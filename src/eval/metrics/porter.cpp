// M.F. Porter 1980, An algorithm for suffix stripping, Program 14, 130-137, in the variant of NLTK
// (NLTK_EXTENSIONS): steps and rules as there, in their order.

#include "metrics/porter.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <string_view>
#include <utility>
#include <vector>

namespace compress {

namespace {

using Word = std::string;

bool is_vowel(char c) {
  return c == 'a' || c == 'e' || c == 'i' || c == 'o' || c == 'u';
}

// Of each character whether it is a consonant: y is one at the beginning and behind a vowel.
std::vector<bool> consonants(std::string_view word) {
  std::vector<bool> flags;
  for (size_t i = 0; i < word.size(); ++i)
    flags.push_back(word[i] == 'y' ? i == 0 || !flags[i - 1] : !is_vowel(word[i]));
  return flags;
}

// m of [C](VC){m}[V].
int64_t measure(std::string_view stem) {
  const std::vector<bool> flags = consonants(stem);
  int64_t m = 0;
  for (size_t i = 1; i < flags.size(); ++i) m += !flags[i - 1] && flags[i];
  return m;
}

bool positive(std::string_view stem) {
  return measure(stem) > 0;
}
bool above_one(std::string_view stem) {
  return measure(stem) > 1;
}
bool any(std::string_view) {
  return true;
}

bool has_vowel(std::string_view stem) {
  const std::vector<bool> flags = consonants(stem);
  return std::find(flags.begin(), flags.end(), false) != flags.end();
}

bool double_consonant(std::string_view word) {
  return word.size() >= 2 && word.back() == word[word.size() - 2] && consonants(word).back();
}

// Consonant, vowel, consonant, the last one not w, x or y; or a word of vowel and consonant.
bool ends_cvc(std::string_view word) {
  const std::vector<bool> c = consonants(word);
  const size_t n = word.size();
  if (n == 2) return !c[0] && c[1];
  return n >= 3 && c[n - 3] && !c[n - 2] && c[n - 1] && word.back() != 'w' && word.back() != 'x' &&
         word.back() != 'y';
}

struct Rule {
  std::string_view suffix, replacement;
  bool (*holds)(std::string_view stem);
};

// The first rule whose suffix fits decides, whether it holds or not.
template <class Rules>
Word apply(const Word& word, const Rules& rules) {
  for (const Rule& rule : rules) {
    if (!word.ends_with(rule.suffix)) continue;
    const Word stem = word.substr(0, word.size() - rule.suffix.size());
    return rule.holds(stem) ? stem + std::string(rule.replacement) : word;
  }
  return word;
}

Word without(const Word& word, size_t characters) {
  return word.substr(0, word.size() - characters);
}

Word step_1a(const Word& word) {
  if (word.ends_with("ies") && word.size() == 4) return without(word, 1);
  static constexpr std::array rules = {Rule{"sses", "ss", any}, Rule{"ies", "i", any},
                                       Rule{"ss", "ss", any}, Rule{"s", "", any}};
  return apply(word, rules);
}

Word step_1b(const Word& word) {
  if (word.ends_with("ied")) return without(word, word.size() == 4 ? 1 : 2);
  if (word.ends_with("eed")) return positive(without(word, 3)) ? without(word, 1) : word;
  Word stem;
  for (std::string_view suffix : {"ed", "ing"})
    if (word.ends_with(suffix) && has_vowel(without(word, suffix.size()))) {
      stem = without(word, suffix.size());
      break;
    }
  if (stem.empty()) return word;
  for (std::string_view end : {"at", "bl", "iz"})
    if (stem.ends_with(end)) return stem + "e";
  if (double_consonant(stem)) {
    const char last = stem.back();
    return last == 'l' || last == 's' || last == 'z' ? stem : without(stem, 1);
  }
  return measure(stem) == 1 && ends_cvc(stem) ? stem + "e" : stem;
}

Word step_1c(const Word& word) {
  if (!word.ends_with("y")) return word;
  const Word stem = without(word, 1);
  return stem.size() > 1 && consonants(stem).back() ? stem + "i" : word;
}

Word step_2(const Word& word) {
  if (word.ends_with("alli") && positive(without(word, 4))) return step_2(without(word, 2));
  static constexpr std::array rules = {
      Rule{"ational", "ate", positive}, Rule{"tional", "tion", positive},
      Rule{"enci", "ence", positive},   Rule{"anci", "ance", positive},
      Rule{"izer", "ize", positive},    Rule{"bli", "ble", positive},
      Rule{"alli", "al", positive},     Rule{"entli", "ent", positive},
      Rule{"eli", "e", positive},       Rule{"ousli", "ous", positive},
      Rule{"ization", "ize", positive}, Rule{"ation", "ate", positive},
      Rule{"ator", "ate", positive},    Rule{"alism", "al", positive},
      Rule{"iveness", "ive", positive}, Rule{"fulness", "ful", positive},
      Rule{"ousness", "ous", positive}, Rule{"aliti", "al", positive},
      Rule{"iviti", "ive", positive},   Rule{"biliti", "ble", positive},
      Rule{"fulli", "ful", positive}};
  // Of "logi" the l counts as the stem's.
  const bool rule = std::any_of(rules.begin(), rules.end(),
                                [&](const Rule& each) { return word.ends_with(each.suffix); });
  if (!rule && word.ends_with("logi")) return positive(without(word, 3)) ? without(word, 1) : word;
  return apply(word, rules);
}

Word step_3(const Word& word) {
  static constexpr std::array rules = {Rule{"icate", "ic", positive}, Rule{"ative", "", positive},
                                       Rule{"alize", "al", positive}, Rule{"iciti", "ic", positive},
                                       Rule{"ical", "ic", positive},  Rule{"ful", "", positive},
                                       Rule{"ness", "", positive}};
  return apply(word, rules);
}

bool behind_s_or_t(std::string_view stem) {
  return above_one(stem) && (stem.back() == 's' || stem.back() == 't');
}

Word step_4(const Word& word) {
  static constexpr std::array rules = {
      Rule{"al", "", above_one},   Rule{"ance", "", above_one}, Rule{"ence", "", above_one},
      Rule{"er", "", above_one},   Rule{"ic", "", above_one},   Rule{"able", "", above_one},
      Rule{"ible", "", above_one}, Rule{"ant", "", above_one},  Rule{"ement", "", above_one},
      Rule{"ment", "", above_one}, Rule{"ent", "", above_one},  Rule{"ion", "", behind_s_or_t},
      Rule{"ou", "", above_one},   Rule{"ism", "", above_one},  Rule{"ate", "", above_one},
      Rule{"iti", "", above_one},  Rule{"ous", "", above_one},  Rule{"ive", "", above_one},
      Rule{"ize", "", above_one}};
  return apply(word, rules);
}

Word step_5(const Word& word) {
  Word found = word;
  if (word.ends_with("e")) {
    const Word stem = without(word, 1);
    const int64_t m = measure(stem);
    if (m > 1 || (m == 1 && !ends_cvc(stem))) found = stem;
  }
  return found.ends_with("ll") && above_one(without(found, 1)) ? without(found, 1) : found;
}

}  // namespace

std::string porter_stem(const std::string& word) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 16> irregular = {
      {{"sky", "sky"},
       {"skies", "sky"},
       {"dying", "die"},
       {"lying", "lie"},
       {"tying", "tie"},
       {"news", "news"},
       {"innings", "inning"},
       {"inning", "inning"},
       {"outings", "outing"},
       {"outing", "outing"},
       {"cannings", "canning"},
       {"canning", "canning"},
       {"howe", "howe"},
       {"proceed", "proceed"},
       {"exceed", "exceed"},
       {"succeed", "succeed"}}};
  for (const auto& [form, stem] : irregular)
    if (word == form) return std::string(stem);
  if (word.size() <= 2) return word;
  return step_5(step_4(step_3(step_2(step_1c(step_1b(step_1a(word)))))));
}

}  // namespace compress
