#pragma once
// The tokens of a tokenizer by id, and those that are looked for in the text itself.

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tokenizers/added_tokens.h"

namespace compress::text {

class TokenTable {
 public:
  // `vocabulary` by id; a name may be empty where no token has the id. `normalize` is applied to
  // the content of normalized tokens. Throws Error{model} when two added tokens look for the same
  // text or one for none; `where` is the file to name.
  TokenTable(std::vector<std::string> vocabulary, std::vector<AddedToken> added,
             const std::function<std::string(std::string_view)>& normalize,
             const std::string& where);
  TokenTable(const TokenTable&) = delete;
  TokenTable& operator=(const TokenTable&) = delete;

  int64_t size() const { return static_cast<int64_t>(names_.size()); }
  // The token as it is spelled; nothing for an id that no token has.
  std::optional<std::string_view> name(int32_t id) const;
  // The id of an added token; nothing for another one.
  std::optional<int32_t> find_added(std::string_view token) const;
  // The text that decoding starts from; nothing for ids without a token, and for special tokens
  // when `skip_special`.
  std::optional<std::string_view> decoded(int32_t id, bool skip_special) const;

  const std::vector<std::string>& vocabulary() const { return vocabulary_; }
  const AddedTokenFinder& raw_finder() const { return raw_finder_; }
  const AddedTokenFinder& normalized_finder() const { return normalized_finder_; }
  // What decides ids, for hashes.
  std::vector<std::string> description() const;

 private:
  std::vector<std::string> vocabulary_;
  std::vector<AddedToken> added_;
  std::vector<std::string_view> names_;  // by id, added tokens included
  std::unordered_map<std::string_view, int32_t> added_ids_;
  std::unordered_map<int32_t, const AddedToken*> added_by_id_;
  AddedTokenFinder raw_finder_, normalized_finder_;
};

}  // namespace compress::text
