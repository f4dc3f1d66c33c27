// Ranges of the options, and the lengths that follow from them.

#include <algorithm>
#include <cmath>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/generate/generate.h"

namespace compress::generate {

namespace {

constexpr int64_t default_new_tokens = 20;
constexpr int64_t most_new_tokens = int64_t{1} << 31;  // so that sums of lengths stay numbers

// Says which of several options is wrong, and whose value it is.
class Judge {
 public:
  explicit Judge(const FolderOptions* folder) : folder_(folder) {}

  bool stated(const std::string& key) const {
    return folder_ != nullptr && folder_->stated.contains(key);
  }
  // Options that were resolve()d before, so that nobody knows any more who stated them.
  bool settled(const Options& options) const { return folder_ == nullptr && options.fit_positions; }
  // `keys`: those that decide `holds`. The folder's file is at fault where it states them all.
  void require(bool holds, std::initializer_list<const char*> keys, const std::string& what,
               const std::string& hint = {}) const {
    if (holds) return;
    if (std::all_of(keys.begin(), keys.end(), [&](const char* key) { return stated(key); }))
      throw Error(ErrorKind::model, what, folder_->file, hint);
    throw Error(ErrorKind::recipe, what, "generation options", hint);
  }
  // What the folder's file states is of the right kind.
  void require_kinds() const {
    if (folder_ == nullptr) return;
    for (const auto& [key, wrong] : folder_->stated)
      if (!wrong.empty()) throw Error(ErrorKind::model, wrong, folder_->file);
  }

 private:
  const FolderOptions* folder_;
};

// Each option for itself.
void check_ranges(const Options& o, const Judge& judge) {
  judge.require(o.max_new_tokens.value_or(1) >= 1, {"max_new_tokens"},
                "max_new_tokens starts at 1");
  judge.require(o.max_length.value_or(1) >= 1, {"max_length"}, "max_length starts at 1");
  judge.require(o.min_new_tokens.value_or(0) >= 0, {"min_new_tokens"},
                "min_new_tokens starts at 0");
  judge.require(o.min_length.value_or(0) >= 0, {"min_length"}, "min_length starts at 0");
  judge.require(o.num_beams >= 1, {"num_beams"}, "num_beams starts at 1");
  judge.require(std::isfinite(o.length_penalty), {"length_penalty"},
                "length_penalty is a finite number");
  judge.require(o.no_repeat_ngram >= 0, {"no_repeat_ngram_size"},
                "no_repeat_ngram_size starts at 0");
  judge.require(std::isfinite(o.repetition_penalty) && o.repetition_penalty > 0,
                {"repetition_penalty"}, "repetition_penalty is above 0");
  judge.require(std::isfinite(o.temperature) && o.temperature > 0, {"temperature"},
                "temperature is above 0 (for the best token each time, do not sample)");
  judge.require(o.top_k >= 0, {"top_k"}, "top_k starts at 0", "0 draws from all tokens");
  judge.require(o.top_p >= 0 && o.top_p <= 1, {"top_p"}, "top_p lies in 0 to 1");
  judge.require(o.min_p >= 0 && o.min_p <= 1, {"min_p"}, "min_p lies in 0 to 1");
  judge.require(o.sequences >= 1, {"num_return_sequences"}, "num_return_sequences starts at 1");
  judge.require(
      std::none_of(o.banned.begin(), o.banned.end(), [](const Tokens& t) { return t.empty(); }),
      {"bad_words_ids"}, "bad_words_ids has a sequence without tokens");
  judge.require(std::none_of(o.banned.begin(), o.banned.end(),
                             [](const Tokens& t) {
                               return std::any_of(t.begin(), t.end(),
                                                  [](int64_t i) { return i < 0; });
                             }),
                {"bad_words_ids"}, "bad_words_ids has a negative id");
}

void check(const Options& o, const Judge& judge) {
  judge.require_kinds();
  check_ranges(o, judge);
  // Beside a max_length, or where the file states it, the least number gives way to the most.
  const int64_t most = o.max_new_tokens.value_or(default_new_tokens);
  judge.require(!o.min_new_tokens || judge.stated("min_new_tokens") || judge.settled(o) ||
                    (o.max_length && !o.max_new_tokens) || *o.min_new_tokens <= most,
                {"min_new_tokens"},
                str("min_new_tokens (", o.min_new_tokens.value_or(0),
                    ") is more than max_new_tokens (", most, ")"));
  judge.require(
      !o.sample || o.num_beams == 1, {"do_sample", "num_beams"},
      "sampling and beams together are not supported: sample with num_beams 1, or do not sample",
      "give --num-beams 1 or --no-sample");
  judge.require(
      o.num_beams == 1 || o.sequences <= o.num_beams, {"num_return_sequences"},
      str("num_return_sequences (", o.sequences, ") is more than num_beams (", o.num_beams, ")"));
  judge.require(
      o.num_beams > 1 || o.sample || o.sequences == 1, {"num_return_sequences"},
      "num_return_sequences above 1 needs sampling or beams: the best token each time gives one "
      "sequence",
      "give --sample, --num-beams or --num-return-sequences 1");
}

// What a file states and the way of decoding does not use is as if it were not stated.
void set_unused_aside(FolderOptions& folder) {
  Options& o = folder.options;
  const Options usual;
  auto aside = [&](bool used, const char* key, auto Options::*option) {
    if (used || !folder.stated.contains(key)) return;
    o.*option = usual.*option;
    folder.stated.erase(key);
  };
  aside(o.sample, "temperature", &Options::temperature);
  aside(o.sample, "top_k", &Options::top_k);
  aside(o.sample, "top_p", &Options::top_p);
  aside(o.sample, "min_p", &Options::min_p);
  aside(o.num_beams > 1, "length_penalty", &Options::length_penalty);
  aside(o.num_beams > 1, "early_stopping", &Options::early_stopping);
  aside(!o.max_new_tokens, "max_length", &Options::max_length);
  aside(!o.min_new_tokens, "min_length", &Options::min_length);
}

}  // namespace

const char* early_stopping_name(EarlyStopping value) {
  return value == EarlyStopping::no ? "false" : value == EarlyStopping::yes ? "true" : "never";
}

EarlyStopping parse_early_stopping(const std::string& name) {
  for (EarlyStopping value : {EarlyStopping::no, EarlyStopping::yes, EarlyStopping::never})
    if (name == early_stopping_name(value)) return value;
  throw Error(ErrorKind::recipe, "early stopping is true, false or never, not '" + name + "'");
}

Options resolve(const FolderOptions& folder) {
  FolderOptions used = folder;
  set_unused_aside(used);
  check(used.options, Judge(&used));
  return used.options;
}

void check(const Options& options) {
  check(options, Judge(nullptr));
}

Limits limits(const Options& options, const nn::ModelConfig& config, int64_t prompt) {
  const int64_t before = config.encoder_decoder() ? 1 : prompt;
  const bool ends = config.max_positions > 0;
  Limits found;
  if (options.max_new_tokens)
    found.most = *options.max_new_tokens;
  else if (options.max_length)
    found.most = *options.max_length - before;
  else
    found.most =
        ends ? std::min(default_new_tokens, config.max_positions - before) : default_new_tokens;
  found.most = std::min(found.most, most_new_tokens);
  // The last new token is not read.
  const int64_t room = config.max_positions - before + 1;
  if (ends && options.fit_positions && found.most > room) {
    found.cut = str("the model's ", with_commas(config.max_positions), " positions end before ",
                    options.max_new_tokens ? "max_new_tokens " : "max_length ",
                    options.max_new_tokens ? *options.max_new_tokens : *options.max_length);
    found.most = room;
  }
  const int64_t least = options.min_new_tokens ? *options.min_new_tokens
                        : options.min_length   ? *options.min_length - before
                                               : 0;
  found.least = std::clamp<int64_t>(least, 0, std::max<int64_t>(0, found.most));
  if (found.least < least && found.cut.empty())
    found.cut = str(options.min_new_tokens ? "min_new_tokens " : "min_length ",
                    options.min_new_tokens ? *options.min_new_tokens : *options.min_length,
                    " is more than the ", found.most, " new tokens that are written at most");
  return found;
}

void check(const nn::ModelConfig& config) {
  if (config.head == nn::HeadKind::causal_lm || config.head == nn::HeadKind::seq2seq_lm) return;
  throw Error(ErrorKind::model,
              str("a ", config.family, " model with the head '", nn::head_name(config.head),
                  "' writes no text"),
              {}, "text is generated by models with the head causal_lm or seq2seq_lm");
}

std::string problem(const nn::ModelConfig& config, const Options& options,
                    std::span<const int64_t> prompt) {
  if (prompt.empty()) return "has no tokens";
  for (int64_t token : prompt)
    if (token < 0 || token >= config.vocab_size)
      return str("has the token ", token, ", and the model's vocabulary has ", config.vocab_size);
  const auto length = static_cast<int64_t>(prompt.size());
  const bool reads = config.encoder_decoder();
  if (reads && options.decoder_start < 0) return "has no decoder_start_token_id to begin with";
  Tokens forced = options.forced_eos;
  forced.insert(forced.end(), {options.decoder_start, options.forced_bos});
  for (int64_t token : forced)
    if (token >= config.vocab_size)
      return str("is to be continued with the token ", token,
                 " of the generation settings, and the model's embedding has ", config.vocab_size,
                 " rows");
  if (config.max_positions > 0 && length > config.max_positions)
    return str("has ", with_commas(length), " tokens, and the model takes ",
               with_commas(config.max_positions));
  const int64_t most = limits(options, config, length).most;
  if (most < 1)
    return str("has ", with_commas(length), length == 1 ? " token" : " tokens", ", and ",
               options.max_length && !options.max_new_tokens
                   ? str("max_length ", *options.max_length,
                         reads ? " counts the start token" : " counts them")
                   : str("the model takes ", with_commas(config.max_positions)),
               ": no new one is left");
  // The last new token is not read.
  const int64_t all = (reads ? 1 : length) + most - 1;
  if (config.max_positions <= 0 || all <= config.max_positions) return {};
  return str("has ", with_commas(length), " tokens, and with max_new_tokens ", most,
             " the model's ", with_commas(config.max_positions), " positions do not suffice");
}

}  // namespace compress::generate
