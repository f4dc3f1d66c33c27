#pragma once
// What may stand in the place of a text's words: what a masked language model says there, and words
// with near vectors.

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "materials/asking.h"
#include "stages/words/replaced_words.h"

namespace compress::pipeline {

struct CandidateOptions {
  int64_t candidates = 15;  // of a word
  std::optional<std::vector<std::string>> stop_words;
  std::string vectors;  // file of word vectors; "": the model's input embeddings
  int64_t vector_words = 100000;
  int64_t max_length = 128;  // tokens of a text that are looked at
};

// The words that single tokens of a vocabulary are, found when they are asked for.
class Fillers {
 public:
  explicit Fillers(const text::Tokenizer& tokenizer);
  int64_t size() const { return static_cast<int64_t>(texts_.size()); }
  // "" for a special token, one that continues a word, and one that is not read as itself.
  const std::string& text(int64_t id);

 private:
  std::vector<int32_t> encoded(const std::string& text) const;
  std::string look(int32_t id) const;

  const text::Tokenizer& tokenizer_;
  std::vector<std::optional<std::string>> texts_;
  std::vector<int32_t> front_;  // what stands before a word that is looked at
};

// The candidates of a text's words, all of them for the text as it is (not for one in which other
// words were replaced already).
class Candidates {
 public:
  // How many words came by their candidates in which way.
  struct Counts {
    int64_t filled = 0, near = 0, without = 0;
  };

  // Refers to both. Error{data} for a file of vectors that cannot be read.
  Candidates(Asked& asked, const CandidateOptions& options);
  std::vector<Choice> of(const std::string& text);
  const Counts& counts() const { return counts_; }

 private:
  // The tokens of a word of the first text; none where its end was cut off.
  std::vector<int64_t> tokens_of(const Word& word) const;
  // The most probable words at each of the tokens, when it alone is masked in the first of two
  // equal texts.
  std::vector<std::vector<std::string>> fill(const std::vector<int64_t>& masked);
  void fill_some(const std::vector<int64_t>& masked, std::vector<std::vector<std::string>>& found);
  data::Batch with_masks(const std::vector<int64_t>& masked) const;
  // The neighbours of a word of several tokens: by its own vector in the file, or by the mean of
  // its tokens' input embeddings, among the words that are one token.
  std::vector<std::string> near(const std::string& word, const std::vector<int64_t>& tokens);
  NearWords own_words();

  Asked& asked_;
  const CandidateOptions options_;
  Fillers fillers_;
  int32_t mask_;
  std::set<std::string> stop_words_;
  text::EncodeOptions how_;
  torch::Tensor table_;  // of input embeddings
  NearWords near_;
  text::Encoding pair_;  // the text that is worked at, twice
  Counts counts_;
};

}  // namespace compress::pipeline
