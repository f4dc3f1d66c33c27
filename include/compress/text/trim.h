#pragma once
// Tokenizers with fewer tokens.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "compress/text/tokenizer.h"

namespace compress::text {

// Contents of files by their names in a folder.
using FolderFiles = std::map<std::string, std::string>;

struct TrimmedTokenizer {
  // The id that each token had; the place in this list is its id now. Tokens of the vocabulary keep
  // their order, and so do the added tokens behind it.
  std::vector<int32_t> kept;
  // Every tokenizer file of the folder with these tokens alone, and generation_config.json with
  // their ids where the folder has one.
  FolderFiles files;
};

// The tokenizer of `folder`, loaded as `tokenizer`, with the tokens that `wanted` names by their
// ids and those that it cannot do without:
// - added and special tokens, and what the post-processor and the configuration name;
// - single characters (also where a word goes on or ends) and tokens of single bytes, which any
//   text can fall back to;
// - of a BPE model the parts of every merge that makes a kept token; merges of which a part or the
//   result is gone are dropped;
// - of a Unigram model one piece of the lowest score, which the price of unknown characters
// follows. A text whose tokens are all kept has the same tokens as before: longest matches, best
// paths and merges by rank do not change when others go. There is one exception: WordPiece may now
// read a word that was unknown because a longer piece led to a dead end.
//
// Files that are rewritten: tokenizer.json, vocab.txt, vocab.json, merges.txt, SentencePiece
// models, tokenizer_config.json, added_tokens.json, generation_config.json. Ids have no holes
// afterwards. Error{model} for malformed files, as load_tokenizer().
TrimmedTokenizer trim_tokenizer(const std::filesystem::path& folder, const Tokenizer& tokenizer,
                                const std::vector<bool>& wanted);

// Calls `visit` with each token id that settings like config.json and generation_config.json give a
// role: the numbers (not the negative ones) under keys that end with "_token_id" or "_token_ids",
// under suppress_tokens, begin_suppress_tokens and bad_words_ids, of objects inside them, too.
void visit_token_ids(nlohmann::ordered_json& settings, const std::function<void(int64_t&)>& visit);

}  // namespace compress::text
