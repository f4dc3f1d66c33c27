// What a folder says of generation.

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/checkpoint/delta.h"
#include "compress/generate/generate.h"

namespace compress::generate {

namespace {

namespace fs = std::filesystem;
using nn::Json;

// Reads keys that may be missing or null, and notes which ones are there and of another kind.
class Reader {
 public:
  Reader(Json json, std::string file, std::map<std::string, std::string>& stated)
      : json_(std::move(json)), file_(std::move(file)), stated_(stated) {}

  void read(const char* key, int64_t& value) {
    if (const Json* found = stated(key)) {
      if (is_id(*found))
        value = found->get<int64_t>();
      else
        note(key, *found, "a whole number");
    }
  }
  template <class T>
  void read(const char* key, std::optional<T>& value) {
    if (find(key) == nullptr) return;
    value.emplace();
    read(key, *value);
  }
  void read(const char* key, double& value) {
    if (const Json* found = stated(key)) {
      if (found->is_number())
        value = found->get<double>();
      else
        note(key, *found, "a number");
    }
  }
  void read(const char* key, bool& value) {
    if (const Json* found = stated(key)) {
      if (found->is_boolean())
        value = found->get<bool>();
      else
        note(key, *found, "true or false");
    }
  }
  // An id or a list of ids; null for none.
  void read(const char* key, Tokens& value) {
    const Json* found = stated(key);
    if (found == nullptr) {
      if (json_.contains(key)) value.clear();
      return;
    }
    if (auto ids = ids_of(found->is_array() ? *found : Json::array({*found})))
      value = std::move(*ids);
    else
      note(key, *found, "an id or a list of ids");
  }
  void read(const char* key, std::vector<Tokens>& value) {
    const Json* found = stated(key);
    if (found == nullptr) return;
    value.clear();
    for (const Json& item : found->is_array() ? *found : Json::array({nullptr})) {
      auto ids = item.is_array() ? ids_of(item) : std::nullopt;
      if (!ids) return note(key, *found, "a list of lists of ids");
      value.push_back(std::move(*ids));
    }
  }
  void read(const char* key, EarlyStopping& value) {
    const Json* found = stated(key);
    if (found == nullptr) return;
    if (found->is_boolean())
      value = found->get<bool>() ? EarlyStopping::yes : EarlyStopping::no;
    else if (*found == "never")
      value = EarlyStopping::never;
    else
      note(key, *found, "true, false or \"never\"");
  }
  // A text or a list of texts.
  void read(const char* key, std::vector<std::string>& value) {
    const Json* found = stated(key);
    if (found == nullptr) return;
    for (const Json& item : found->is_array() ? *found : Json::array({*found})) {
      if (!item.is_string() || item == "") return note(key, *found, "a text or a list of texts");
      value.push_back(item.get<std::string>());
    }
  }
  const Json* find(const char* key) const {
    const auto found = json_.find(key);
    return found == json_.end() || found->is_null() ? nullptr : &*found;
  }
  const std::string& file() const { return file_; }

 private:
  static bool is_id(const Json& value) {
    return value.is_number_integer() &&
           !(value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{INT64_MAX});
  }
  static std::optional<Tokens> ids_of(const Json& list) {
    Tokens ids;
    for (const Json& id : list) {
      if (!is_id(id)) return std::nullopt;
      ids.push_back(id.get<int64_t>());
    }
    return ids;
  }
  const Json* stated(const char* key) {
    const Json* found = find(key);
    if (found != nullptr) stated_[key] = "";
    return found;
  }
  void note(const char* key, const Json& value, const char* due) {
    stated_[key] = str(key, " is ", value.dump(-1, ' ', false, Json::error_handler_t::replace),
                       ", and ", due, " is due");
  }
  Json json_;
  std::string file_;
  std::map<std::string, std::string>& stated_;
};

enum class Way { any, sampled, beams, greedy };

struct UnsupportedKey {
  const char* key;
  Way way;                      // of decoding that it is about
  std::vector<Json> same = {};  // values that change nothing, besides null
};

// Keys of GenerationConfig that would change the text and are not read.
const std::vector<UnsupportedKey>& unsupported_keys() {
  static const std::vector<UnsupportedKey> keys = {
      {"typical_p", Way::sampled, {1.0}},
      {"top_h", Way::sampled},
      {"epsilon_cutoff", Way::sampled, {0.0}},
      {"eta_cutoff", Way::sampled, {0.0}},
      {"num_beam_groups", Way::beams, {1}},
      {"diversity_penalty", Way::beams, {0.0}},
      {"penalty_alpha", Way::greedy, {0.0}},
      {"dola_layers", Way::any},
      {"encoder_repetition_penalty", Way::any, {1.0}},
      {"encoder_no_repeat_ngram_size", Way::any, {0}},
      {"sequence_bias", Way::any, {Json::array(), Json::object()}},
      {"constraints", Way::any, {Json::array()}},
      {"force_words_ids", Way::any, {Json::array()}},
      {"forced_decoder_ids", Way::any, {Json::array()}},
      {"exponential_decay_length_penalty", Way::any},
      {"guidance_scale", Way::any, {1.0}},
      {"remove_invalid_values", Way::any, {false}},
      {"token_healing", Way::any, {false}},
      {"watermarking_config", Way::any},
      {"prompt_lookup_num_tokens", Way::any},
      {"assistant_early_exit", Way::any},
      {"use_mtp", Way::any, {false}},
      {"max_time", Way::any}};
  return keys;
}

bool applies(Way way, const Options& options) {
  switch (way) {
    case Way::any:
      return true;
    case Way::sampled:
      return options.sample;
    case Way::beams:
      return options.num_beams > 1;
    case Way::greedy:
      return !options.sample && options.num_beams == 1;
  }
  return true;
}

void read_options(Reader& reader, FolderOptions& folder) {
  Options& options = folder.options;
  reader.read("max_length", options.max_length);
  reader.read("min_length", options.min_length);
  reader.read("max_new_tokens", options.max_new_tokens);
  reader.read("min_new_tokens", options.min_new_tokens);
  reader.read("num_beams", options.num_beams);
  reader.read("length_penalty", options.length_penalty);
  reader.read("early_stopping", options.early_stopping);
  reader.read("no_repeat_ngram_size", options.no_repeat_ngram);
  reader.read("repetition_penalty", options.repetition_penalty);
  reader.read("do_sample", options.sample);
  reader.read("temperature", options.temperature);
  reader.read("top_k", options.top_k);
  reader.read("top_p", options.top_p);
  reader.read("min_p", options.min_p);
  reader.read("num_return_sequences", options.sequences);
  reader.read("eos_token_id", options.eos);
  reader.read("forced_bos_token_id", options.forced_bos);
  reader.read("forced_eos_token_id", options.forced_eos);
  reader.read("suppress_tokens", options.suppressed);
  reader.read("begin_suppress_tokens", options.suppressed_first);
  reader.read("bad_words_ids", options.banned);
  reader.read("renormalize_logits", options.renormalize);
  reader.read("stop_strings", folder.stop);
}

Reader reader_of(const fs::path& folder, const nn::ModelConfig& config,
                 std::map<std::string, std::string>& stated) {
  std::error_code ignored;
  fs::path file = folder / "generation_config.json";
  if (checkpoint::is_delta(folder) && !fs::exists(file, ignored))
    file = checkpoint::delta_base(folder) / "generation_config.json";
  if (fs::exists(file, ignored)) {
    Json json = checkpoint::read_json(file);
    if (!json.is_object()) throw Error(ErrorKind::model, "an object is due", file.string());
    return {std::move(json), file.string(), stated};
  }
  Json json = config.raw.is_object() ? config.raw : Json::object();
  // BART's older name of a forced first token.
  if (json.value("force_bos_token_to_be_generated", Json(false)) == true &&
      !json.contains("forced_bos_token_id"))
    json["forced_bos_token_id"] = config.bos_token_id;
  return {std::move(json), (folder / "config.json").string(), stated};
}

}  // namespace

FolderOptions folder_options(const fs::path& folder, const nn::ModelConfig& config) {
  FolderOptions found;
  Options& options = found.options;
  const bool reads = config.encoder_decoder();
  options.top_k = 50;
  options.fit_positions = true;
  options.eos = config.eos_token_ids;
  if (reads) {
    options.decoder_start = config.decoder_start_token_id;
    options.forced_bos = config.forced_bos_token_id;
  }
  Reader reader = reader_of(folder, config, found.stated);
  found.file = reader.file();
  read_options(reader, found);
  if (reads) {
    reader.read("decoder_start_token_id", options.decoder_start);
    if (options.decoder_start < 0) {
      options.decoder_start = config.bos_token_id;
      reader.read("bos_token_id", options.decoder_start);
    }
  }
  // A token that ends a text is not ruled out by them, as in transformers.
  std::erase_if(options.banned, [&](const Tokens& sequence) {
    return sequence.size() == 1 &&
           std::find(options.eos.begin(), options.eos.end(), sequence[0]) != options.eos.end();
  });
  for (const UnsupportedKey& one : unsupported_keys()) {
    const Json* value = reader.find(one.key);
    if (value != nullptr && std::find(one.same.begin(), one.same.end(), *value) == one.same.end())
      found.unsupported.push_back(one.key);
  }
  return found;
}

std::vector<std::string> ignored_keys(const FolderOptions& folder) {
  std::vector<std::string> ignored;
  for (const UnsupportedKey& one : unsupported_keys())
    if (std::find(folder.unsupported.begin(), folder.unsupported.end(), one.key) !=
            folder.unsupported.end() &&
        applies(one.way, folder.options))
      ignored.push_back(one.key);
  return ignored;
}

}  // namespace compress::generate
