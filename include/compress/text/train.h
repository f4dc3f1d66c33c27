#pragma once
// New vocabularies from text.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "compress/text/files.h"

namespace compress::text {

enum class TrainedModel {
  wordpiece,          // BERT's; pieces by merging the most frequent pairs
  bpe,                // byte-level, as GPT-2's (Sennrich, Haddow and Birch, 2016)
  unigram,            // SentencePiece, laid out as T5's (Kudo, 2018)
  sentencepiece_bpe,  // SentencePiece with bytes for unknown characters, as Llama 2's
  ngram,              // words and groups of neighbouring words, for models without layers
};

struct TrainOptions {
  TrainedModel model = TrainedModel::wordpiece;
  int64_t vocabulary_size = 30'000;  // tokens at most, special tokens included
  bool lowercase = false;
  // Pairs of pieces that are rarer are not joined (wordpiece and bpe), n-grams that are rarer left
  // out (ngram).
  int64_t min_frequency = 2;
  int64_t shortest_ngram = 1, longest_ngram = 4;  // words of an n-gram, 1 to 8; ngram only
  // Besides those of the model: [PAD] [UNK] [CLS] [SEP] [MASK]; <|endoftext|>; <pad> </s> <unk>;
  // <unk> <s> </s>; <pad> and no others for ngram, which always
  // lower-cases.
  std::vector<std::string> special;
};

// Puts the next line of text into its argument; false when there is none.
using NextLine = std::function<bool(std::string&)>;

// Trains a vocabulary. The result depends on the lines and the options alone. Lines are UTF-8;
// ill-formed sequences count as U+FFFD. The vocabulary is smaller than asked for where the text has
// not enough to join. Throws Error{recipe} for options that cannot be met (a size with no room for
// the single characters, special tokens that are listed twice) and Error{data} when there is no
// text.
TokenizerFiles train_tokenizer(const NextLine& next, const TrainOptions& options);

}  // namespace compress::text
