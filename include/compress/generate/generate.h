#pragma once
// Text generation: greedy, beam search, sampling. With the same numbers from the model, the tokens
// are those of transformers' generate() (5.23) for prompts that are padded on the left; here rows
// are packed, and a row's tokens do not depend on the other rows.

#include "compress/data/torch.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "compress/nn/model.h"

namespace compress::generate {

using Tokens = std::vector<int64_t>;

// When a beam search ends before max_new_tokens.
enum class EarlyStopping {
  no,    // num_beams sequences are finished, and the best running one could not join them at the
         // length that it has now (a guess where length_penalty is positive)
  yes,   // num_beams sequences are finished
  never  // as `no`, with the length at which the running one would score best
};
const char* early_stopping_name(EarlyStopping value);
EarlyStopping parse_early_stopping(const std::string& name);  // Error{recipe}

// A row's scores are changed in this order before a token is chosen: repetition_penalty,
// no_repeat_ngram, min_new_tokens, forced_bos, forced_eos; then, when sampling, temperature, top_k,
// top_p. They are logits; log-probabilities in a beam search.
struct Options {
  int64_t max_new_tokens = 20;  // counted without the prompt; >= 1
  int64_t min_new_tokens = 0;   // none of `eos` before that many
  int64_t num_beams = 1;        // more than 1: beam search
  // Of a beam search: a finished sequence of n new tokens (its end included) scores its
  // log-probability / n^length_penalty.
  double length_penalty = 1;
  EarlyStopping early_stopping = EarlyStopping::no;
  // No n tokens in a row come twice, prompt included (of a decoder alone); 0: they may.
  int64_t no_repeat_ngram = 0;
  // Scores of tokens that the row has, prompt included (of a decoder alone), are divided by this
  // where positive, else multiplied (Keskar et al. 2019, arXiv 1909.05858, section 4.1).
  double repetition_penalty = 1;
  // Draws a token instead of taking the best (Holtzman et al. 2020, arXiv 1904.09751).
  bool sample = false;
  double temperature = 1;  // > 0
  int64_t top_k = 0;       // of the k best only, and of those that tie with the last; 0: all
  double top_p = 1;        // of the fewest best that together have this probability
  // Row r's sequence s is a function of the prompt, (seed, first_row + r, s) and the other options.
  uint64_t seed = 0;
  int64_t first_row = 0;
  // Sequences for each prompt: the best of num_beams, or samples. More than 1 needs either.
  int64_t sequences = 1;

  // Each of these ids ends a sequence, and is its last token.
  Tokens eos;
  // So does what this says of a row's new tokens (a text that is to stop it); may be empty.
  std::function<bool(std::span<const int64_t>)> stop;
  // Of encoder-decoders; -1: none. The decoder's first token, which is no new one; the first new
  // one.
  int64_t decoder_start = -1, forced_bos = -1;
  Tokens forced_eos;  // the max_new_tokens-th token is one of these, where there are any
  nn::Precision precision = nn::Precision::float32;
};

struct Sequence {
  Tokens ids;  // new tokens, the one that ended it included
  // Beam search: as length_penalty says. Else the sum of the natural log-probabilities of the
  // chosen tokens, of the scores that they were chosen from.
  double score = 0;
};

// Options that a folder's generation_config.json states (of one without: its config.json, which may
// have the same keys), over this struct's defaults with `eos`, `decoder_start` and `forced_bos` of
// `config`, and top_k 50, as in transformers. Of an encoder-decoder max_length and min_length
// count, of a decoder alone max_new_tokens and min_new_tokens only. Keys that would change what is
// written and are not supported are named in `ignored`. Error{model} for values outside their
// ranges.
Options default_options(const std::filesystem::path& folder, const nn::ModelConfig& config,
                        std::vector<std::string>& ignored);
// Error{recipe} for options outside their ranges or that contradict each other.
void check(const Options& options);
// Error{model} for one that writes no text.
void check(const nn::ModelConfig& config);
// What hinders `prompt` from being continued ("has no tokens", "has 1,030 tokens, and the model
// ..."),
// "" when nothing does.
std::string problem(const nn::ModelConfig& config, const Options& options,
                    std::span<const int64_t> prompt);

// `sequences` continuations of each prompt, one prompt after the other, the best first in a beam
// search. All prompts are one batch; rows leave it as they end. params().refresh() must have run.
// Error{recipe} of check(), Error{data} for a prompt with a problem(), Error{diverged} where scores
// are not numbers.
std::vector<Sequence> generate(nn::Model& model, const std::vector<Tokens>& prompts,
                               const Options& options);

}  // namespace compress::generate
