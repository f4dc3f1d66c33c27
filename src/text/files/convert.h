#pragma once
// Building tokenizer.json out of other files.

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "files/load.h"

namespace compress::text {

// Special tokens by role, as a class calls them where nothing else is said.
using UsualNames = std::vector<std::pair<const char*, const char*>>;
const UsualNames& usual_names_of_roberta();  // and of XLM-R

// The entries of "added_tokens" for a vocabulary without any.
class AddedTokenList {
 public:
  explicit AddedTokenList(const std::vector<std::string>& vocabulary);
  // Ids may have holes; the next one is the number of tokens all the same, as in `tokenizers`.
  explicit AddedTokenList(std::unordered_map<std::string, int32_t> ids);

  // A token with the flags that the classes of `transformers` give by default. One that is there
  // already stays as it is.
  void add(const std::string& content, bool special);
  // The same for a value of tokenizer_config.json: a string or an object with flags.
  void add(const JsonView& config, const std::string& key, const std::string& absent);
  // The special tokens of the roles bos, eos, unk, sep, pad, cls and mask: as tokenizer_config.json
  // calls them, else as `usual` does, by role; none where neither does.
  void add_roles(const JsonView& config, const UsualNames& usual);
  // added_tokens_decoder of tokenizer_config.json, by id.
  void add_decoder(const JsonView& config);
  // additional_special_tokens and extra_special_tokens of tokenizer_config.json.
  void add_additional(const JsonView& config);

  int32_t find(const std::string& token) const;  // -1: not there
  nlohmann::json list() const;

 private:
  void add(AddedToken token);
  std::unordered_map<std::string, int32_t> ids_;
  std::unordered_set<std::string> contents_;
  std::vector<AddedToken> tokens_;
  int32_t next_;
};

// One place of a template, for "$A", "$B" or a token.
nlohmann::json template_json(const std::vector<std::string>& single,
                             const std::vector<std::string>& pair, bool segments,
                             const AddedTokenList& tokens);
// What `transformers` puts around texts when a model's class says nothing: the first and the last
// token where the configuration asks for them. Segments of a second text are 1.
nlohmann::json bos_eos_template(const std::string& bos, const std::string& eos,
                                const AddedTokenList& tokens);

nlohmann::json byte_level_json(bool add_prefix_space, bool trim_offsets, bool use_regex);
nlohmann::json metaspace_json(const std::string& scheme, bool split);
nlohmann::json split_json(std::string_view expression);
// Decoder of SentencePiece's BPE with bytes; `strip`: a space in front was added by encoding.
nlohmann::json byte_fallback_decoder_json(bool strip);
nlohmann::json file_json(nlohmann::json normalizer, nlohmann::json pre_tokenizer,
                         nlohmann::json post_processor, nlohmann::json decoder,
                         nlohmann::json model, nlohmann::json added_tokens);

// Every way to join two pieces to a third, best first: SentencePiece's BPE lists pieces, not
// merges. Ranked by the joined piece, by score where `scores` are given and by id else.
std::vector<std::pair<std::string, std::string>> merges_of_pieces(
    const std::vector<std::string>& pieces, const std::vector<float>& scores);

}  // namespace compress::text
