#pragma once
// Words of a text replaced by others (TinyBERT, Jiao et al. 2020, arXiv 1909.10351, algorithm 1):
// what needs no masked language model. Texts are UTF-8.

#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "compress/base/random.h"
#include "compress/data/torch.h"

namespace compress::pipeline {

// Bytes [begin, end) of a text.
struct Word {
  size_t begin = 0, end = 0;
  bool operator==(const Word&) const = default;
};

// The maximal runs of letters, digits and low lines.
std::vector<Word> words_in(std::string_view text);
// Whether there is neither a digit nor a low line nor anything but a word's characters in it.
bool only_letters(std::string_view word);

// The English words that are never replaced: function words, as common lists have them.
const std::set<std::string>& english_stop_words();
// Whether a word may be replaced: letters alone, and none of `stop_words` in lower case.
bool is_replaceable(std::string_view word, const std::set<std::string>& stop_words);

// What may stand in a word's place. Without candidates the word stays.
struct Choice {
  Word word;
  std::vector<std::string> candidates;
};

// One copy of `text`: each word with candidates (`choices`, in order) is replaced with
// `probability` by a random one of them; everything between the words stays.
std::string with_replaced(std::string_view text, const std::vector<Choice>& choices,
                          double probability, Random& random);

// A row's texts: one, or a pair.
using Texts = std::vector<std::string>;
// The row itself and those of `copies` draws of it that differ from what is there already.
std::vector<Texts> row_and_copies(const Texts& row, const std::vector<std::vector<Choice>>& choices,
                                  int64_t copies, double probability, Random& random);

// Words with vectors, of which the nearest ones by cosine are found.
class NearWords {
 public:
  NearWords() = default;
  // `vectors` [words, width]; words are distinct.
  NearWords(std::vector<std::string> words, const torch::Tensor& vectors);
  int64_t size() const { return static_cast<int64_t>(words_.size()); }
  // The vector of a word [width], undefined where there is none.
  torch::Tensor find(const std::string& word) const;
  // The `count` words nearest to `vector`, the nearest first, without `word` itself.
  std::vector<std::string> nearest(const torch::Tensor& vector, const std::string& word,
                                   int64_t count) const;

 private:
  std::vector<std::string> words_;
  std::unordered_map<std::string, int64_t> index_;
  torch::Tensor vectors_;  // of length 1
};

// Reads vectors as GloVe's text files have them: a word and its numbers a line, between spaces.
// word2vec's and fastText's begin with a line of two numbers, how many words and how many numbers a
// word. Of a word that comes again the first counts, and lines with more cells than the first one
// are left out (several words with one vector); at most `most` lines are read. Error{data} with the
// line: fewer numbers than the first one has, one that is not finite, no UTF-8, no line at all.
NearWords read_vectors(const std::filesystem::path& file, int64_t most);

}  // namespace compress::pipeline
