#pragma once
// Text generation: greedy, beam search, sampling. With the same numbers from the model, the tokens
// are those of transformers' generate() (5.23) for prompts that are padded on the left; here rows
// are packed, and a row's tokens do not depend on the other rows.

#include "compress/data/torch.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "compress/nn/model.h"

namespace compress::generate {

using Tokens = std::vector<int64_t>;

// When a beam search ends before the most new tokens.
enum class EarlyStopping {
  no,    // num_beams sequences are finished, and the best running one could not join them at the
         // length that it has now (a guess where length_penalty is positive)
  yes,   // num_beams sequences are finished
  never  // as `no`, with the length at which the running one would score best
};
const char* early_stopping_name(EarlyStopping value);
EarlyStopping parse_early_stopping(const std::string& name);  // Error{recipe}

// A row's scores are changed in this order before a token is chosen: repetition_penalty,
// no_repeat_ngram, banned, the least length, forced_bos, forced_eos, suppressed, suppressed_first;
// then, when sampling, temperature, top_k, top_p, min_p; then renormalize. They are logits;
// log-probabilities in a beam search.
struct Options {
  // New tokens at most, >= 1: max_new_tokens, or what max_length leaves, which counts the prompt
  // (of a decoder alone, else the start token); without either 20, less where the model's positions
  // end before.
  std::optional<int64_t> max_new_tokens, max_length;
  // None of `eos` before that many, counted in the same two ways; never more than at most.
  std::optional<int64_t> min_new_tokens, min_length;
  // Writes as far as the model's positions reach where the above is more; else that is a problem().
  bool fit_positions = false;
  int64_t num_beams = 1;  // more than 1: beam search
  // In a beam search a finished sequence of n new tokens (its end included) scores its
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
  double min_p = 0;        // of those with at least this part of the best one's probability
  // Row r's sequence s is a function of the prompt, (seed, first_row + r, s) and the other options.
  uint64_t seed = 0;
  int64_t first_row = 0;
  // Sequences for each prompt: the best of num_beams, or samples. More than 1 needs either.
  int64_t sequences = 1;

  // Each of these ids ends a sequence, and is its last token.
  Tokens eos;
  // So does what this says of a row's new tokens (a text that is to stop it); may be empty.
  std::function<bool(std::span<const int64_t>)> stop;
  // -1: none. The decoder's first token (of encoder-decoders), which is no new one; the row's
  // second token, where its first is all that it begins with.
  int64_t decoder_start = -1, forced_bos = -1;
  Tokens forced_eos;  // the last token at most is one of these, where there are any
  // Never chosen; not chosen as first new token (as second, where the first is forced).
  Tokens suppressed, suppressed_first;
  std::vector<Tokens> banned;  // none of these sequences is completed, unless it is one of `eos`
  // Log-probabilities of a beam search add up to one again after all of this.
  bool renormalize = false;
  nn::Precision precision = nn::Precision::float32;
};

struct Sequence {
  Tokens ids;  // new tokens, the one that ended it included
  // Beam search: as length_penalty says. Else the sum of the natural log-probabilities of the
  // chosen tokens, of the scores that they were chosen from.
  double score = 0;
};

// What a folder says of generation, and what is asked besides.
struct FolderOptions {
  Options options;
  std::vector<std::string> stop;  // texts that end a sequence: stop_strings
  std::string file;               // what said so
  // Keys of `file` that decide `options`, each with what is wrong with the kind of its value, ""
  // for nothing. Who sets an option himself erases its key.
  std::map<std::string, std::string> stated;
  std::vector<std::string> unsupported;  // keys that are not supported and would change the text
};
// Options that a folder's generation_config.json states (of one without: its config.json, which may
// have the same keys), over this struct's defaults with `eos`, `decoder_start` and `forced_bos` of
// `config`, and top_k 50, as in transformers. Nothing is judged. Error{model} for a file that is no
// JSON object.
FolderOptions folder_options(const std::filesystem::path& folder, const nn::ModelConfig& config);
// The options, those that the way of decoding does not use as this struct has them. Error{model}
// naming the file for what it states and is used, Error{recipe} for the rest, where check() fails.
Options resolve(const FolderOptions& folder);
// The keys of `unsupported` that the way of decoding would use.
std::vector<std::string> ignored_keys(const FolderOptions& folder);
// Error{recipe} for options outside their ranges or that contradict each other.
void check(const Options& options);
// Error{model} for one that writes no text.
void check(const nn::ModelConfig& config);

// How many new tokens a row gets.
struct Limits {
  int64_t least = 0, most = 0;
  std::string cut;  // what was asked and is not possible, "" for nothing
};
// `prompt`: its tokens. `most` is below 1 where nothing can be written.
Limits limits(const Options& options, const nn::ModelConfig& config, int64_t prompt);
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
