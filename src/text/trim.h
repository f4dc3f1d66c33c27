#pragma once
// Which tokens of a tokenizer stay, and its files with those alone.

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "compress/text/trim.h"
#include "files/folder_config.h"
#include "models/word_model.h"

namespace compress::text {

// The model of a tokenizer.json as lists.
struct TrimModel {
  std::string type;   // WordPiece, BPE, Unigram
  Vocabulary tokens;  // by id; empty for ids that no token has
  std::vector<BpeMerge> merges;
  std::string prefix, suffix;  // what pieces carry that continue or end a word
  std::vector<double> scores;  // a Unigram model's, by id
};
// `content` is laid out like tokenizer.json. `where` is the file to name in errors.
TrimModel read_trim_model(const nlohmann::json& content, const std::string& where);

// Old ids and new ones.
struct Renumbering {
  std::vector<int32_t> kept;     // old id by new id
  std::vector<int32_t> renamed;  // new id by old id; -1: the token is gone
  int64_t words = 0;             // how many of `kept`, its first ones, are the model's
  std::unordered_map<std::string, int32_t> ids;  // new id by token

  int32_t of(int64_t old) const {
    return old >= 0 && old < static_cast<int64_t>(renamed.size())
               ? renamed[static_cast<size_t>(old)]
               : -1;
  }
  int32_t of(const std::string& token) const {
    const auto found = ids.find(token);
    return found == ids.end() ? -1 : found->second;
  }
};

// Calls `visit` with each id inside "post_processor" and "padding" of a tokenizer.json.
void visit_processor_ids(nlohmann::json& content, const std::function<void(int64_t&)>& visit);

// The left and the right part of one entry of "merges"; false where it is none.
bool merge_parts(const nlohmann::json& item, std::string& left, std::string& right);

// The files of `folder` with the kept tokens. `content`: its tokenizer as tokenizer.json says it or
// would say it.
FolderFiles trimmed_files(const std::filesystem::path& folder, const nlohmann::json& content,
                          const TrimModel& model, const Renumbering& numbers);

}  // namespace compress::text
