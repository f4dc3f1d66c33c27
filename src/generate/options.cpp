// Ranges of the options, and what a folder says of them.

#include <algorithm>
#include <cmath>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/generate/generate.h"

namespace compress::generate {

namespace {

namespace fs = std::filesystem;
using nn::Json;

void require(bool holds, const std::string& what) {
  if (!holds) throw Error(ErrorKind::recipe, what, "generation options");
}

// Each option for itself.
void check_ranges(const Options& o) {
  require(o.max_new_tokens >= 1, "max_new_tokens starts at 1");
  require(o.min_new_tokens >= 0, "min_new_tokens starts at 0");
  require(o.num_beams >= 1, "num_beams starts at 1");
  require(std::isfinite(o.length_penalty), "length_penalty is a finite number");
  require(o.no_repeat_ngram >= 0, "no_repeat_ngram_size starts at 0");
  require(std::isfinite(o.repetition_penalty) && o.repetition_penalty > 0,
          "repetition_penalty is above 0");
  require(std::isfinite(o.temperature) && o.temperature > 0,
          "temperature is above 0 (for the best token each time, do not sample)");
  require(o.top_k >= 0, "top_k starts at 0");
  require(o.top_p >= 0 && o.top_p <= 1, "top_p lies in 0 to 1");
  require(o.sequences >= 1, "num_return_sequences starts at 1");
}

// Reads keys that may be missing or null.
class Reader {
 public:
  Reader(Json json, std::string file) : json_(std::move(json)), file_(std::move(file)) {}

  void read(const char* key, int64_t& value) const {
    if (const Json* found = find(key)) {
      if (!found->is_number_integer()) refuse(key, "a whole number");
      value = found->get<int64_t>();
    }
  }
  void read(const char* key, double& value) const {
    if (const Json* found = find(key)) {
      if (!found->is_number()) refuse(key, "a number");
      value = found->get<double>();
    }
  }
  void read(const char* key, bool& value) const {
    if (const Json* found = find(key)) {
      if (!found->is_boolean()) refuse(key, "true or false");
      value = found->get<bool>();
    }
  }
  // An id or a list of ids; null for none.
  void read(const char* key, Tokens& value) const {
    const Json* found = find(key);
    if (found == nullptr) {
      if (json_.contains(key)) value.clear();
      return;
    }
    Tokens ids;
    for (const Json& id : found->is_array() ? *found : Json::array({*found})) {
      if (!id.is_number_integer()) refuse(key, "an id or a list of ids");
      ids.push_back(id.get<int64_t>());
    }
    value = std::move(ids);
  }
  void read(const char* key, EarlyStopping& value) const {
    const Json* found = find(key);
    if (found == nullptr) return;
    if (found->is_boolean()) {
      value = found->get<bool>() ? EarlyStopping::yes : EarlyStopping::no;
    } else if (*found == "never") {
      value = EarlyStopping::never;
    } else {
      refuse(key, "true, false or \"never\"");
    }
  }
  const Json* find(const char* key) const {
    const auto found = json_.find(key);
    return found == json_.end() || found->is_null() ? nullptr : &*found;
  }
  const std::string& file() const { return file_; }

 private:
  [[noreturn]] void refuse(const char* key, const char* due) const {
    throw Error(ErrorKind::model, str(key, " is ", find(key)->dump(), ", and ", due, " is due"),
                file_);
  }
  Json json_;
  std::string file_;
};

// Keys of GenerationConfig that are not read, with the values that change nothing.
std::vector<std::string> unsupported(const Reader& reader) {
  static const std::vector<std::pair<const char*, std::vector<Json>>> keys = {
      {"typical_p", {1.0}},
      {"min_p", {0.0}},
      {"top_h", {}},
      {"epsilon_cutoff", {0.0}},
      {"eta_cutoff", {0.0}},
      {"encoder_repetition_penalty", {1.0}},
      {"encoder_no_repeat_ngram_size", {0}},
      {"bad_words_ids", {}},
      {"sequence_bias", {}},
      {"suppress_tokens", {Json::array()}},
      {"begin_suppress_tokens", {Json::array()}},
      {"exponential_decay_length_penalty", {}},
      {"diversity_penalty", {0.0}},
      {"guidance_scale", {1.0}},
      {"penalty_alpha", {0.0}},
      {"remove_invalid_values", {false}},
      {"renormalize_logits", {false}},
      {"stop_strings", {}},
      {"max_time", {}}};
  std::vector<std::string> found;
  for (const auto& [key, same] : keys) {
    const Json* value = reader.find(key);
    if (value == nullptr || std::find(same.begin(), same.end(), *value) != same.end()) continue;
    found.push_back(key);
  }
  return found;
}

void read_lengths(const Reader& reader, bool encoder_decoder, Options& options) {
  if (encoder_decoder) {
    // They count the decoder's start token.
    int64_t most = options.max_new_tokens + 1, least = options.min_new_tokens + 1;
    reader.read("max_length", most);
    reader.read("min_length", least);
    options.max_new_tokens = std::max<int64_t>(1, most - 1);
    options.min_new_tokens = std::max<int64_t>(0, least - 1);
  }
  reader.read("max_new_tokens", options.max_new_tokens);
  reader.read("min_new_tokens", options.min_new_tokens);
}

Reader reader_of(const fs::path& folder, const nn::ModelConfig& config) {
  std::error_code ignored;
  const fs::path file = folder / "generation_config.json";
  if (fs::exists(file, ignored)) {
    Json json = checkpoint::read_json(file);
    if (!json.is_object()) throw Error(ErrorKind::model, "an object is due", file.string());
    return {std::move(json), file.string()};
  }
  return {config.raw.is_object() ? config.raw : Json::object(), (folder / "config.json").string()};
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

Options default_options(const fs::path& folder, const nn::ModelConfig& config,
                        std::vector<std::string>& ignored) {
  Options options;
  options.top_k = 50;
  options.eos = config.eos_token_ids;
  options.decoder_start = config.decoder_start_token_id;
  options.forced_bos = config.forced_bos_token_id;
  const Reader reader = reader_of(folder, config);
  read_lengths(reader, config.encoder_decoder(), options);
  reader.read("num_beams", options.num_beams);
  reader.read("length_penalty", options.length_penalty);
  reader.read("early_stopping", options.early_stopping);
  reader.read("no_repeat_ngram_size", options.no_repeat_ngram);
  reader.read("repetition_penalty", options.repetition_penalty);
  reader.read("do_sample", options.sample);
  reader.read("temperature", options.temperature);
  reader.read("top_k", options.top_k);
  reader.read("top_p", options.top_p);
  reader.read("num_return_sequences", options.sequences);
  reader.read("eos_token_id", options.eos);
  reader.read("decoder_start_token_id", options.decoder_start);
  reader.read("forced_bos_token_id", options.forced_bos);
  reader.read("forced_eos_token_id", options.forced_eos);
  if (!config.encoder_decoder()) options.decoder_start = options.forced_bos = -1;
  if (config.encoder_decoder() && options.decoder_start < 0)
    options.decoder_start = config.bos_token_id;
  ignored = unsupported(reader);
  try {
    check_ranges(options);
  } catch (const Error& error) {
    throw Error(ErrorKind::model, error.message(), reader.file(), error.hint());
  }
  return options;
}

void check(const Options& o) {
  check_ranges(o);
  require(o.min_new_tokens <= o.max_new_tokens,
          str("min_new_tokens (", o.min_new_tokens, ") is more than max_new_tokens (",
              o.max_new_tokens, ")"));
  require(
      !o.sample || o.num_beams == 1,
      "sampling and beams together are not supported: sample with num_beams 1, or do not sample");
  require(
      o.num_beams == 1 || o.sequences <= o.num_beams,
      str("num_return_sequences (", o.sequences, ") is more than num_beams (", o.num_beams, ")"));
  require(
      o.num_beams > 1 || o.sample || o.sequences == 1,
      "num_return_sequences above 1 needs sampling or beams: the best token each time gives one "
      "sequence");
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
  if (config.max_positions <= 0) return {};
  if (length > config.max_positions)
    return str("has ", with_commas(length), " tokens, and the model takes ",
               with_commas(config.max_positions));
  // The last new token is not read.
  const int64_t all = (reads ? 1 : length) + options.max_new_tokens - 1;
  if (all <= config.max_positions) return {};
  return str("has ", with_commas(length), " tokens, and with max_new_tokens ",
             options.max_new_tokens, " the model's ", with_commas(config.max_positions),
             " positions do not suffice");
}

}  // namespace compress::generate
