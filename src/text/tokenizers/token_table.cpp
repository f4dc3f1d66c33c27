#include "tokenizers/token_table.h"

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/strings.h"

namespace compress::text {

TokenTable::TokenTable(std::vector<std::string> vocabulary, std::vector<AddedToken> added,
                       const std::function<std::string(std::string_view)>& normalize,
                       const std::string& where)
    : vocabulary_(std::move(vocabulary)), added_(std::move(added)) {
  for (const std::string& token : vocabulary_) names_.push_back(token);
  std::vector<const AddedToken*> raw, normalized;
  for (AddedToken& token : added_) {
    token.pattern = token.normalized ? normalize(token.content) : token.content;
    (token.normalized ? normalized : raw).push_back(&token);
    const size_t place = static_cast<size_t>(token.id);
    if (place >= names_.size()) names_.resize(place + 1);
    if (names_[place].empty()) names_[place] = token.content;
    added_ids_.emplace(token.content, token.id);
    added_by_id_.emplace(token.id, &token);
  }
  for (auto* group : {&raw, &normalized}) {
    std::unordered_map<std::string_view, const AddedToken*> seen;
    for (const AddedToken* token : *group) {
      auto [entry, fresh] = seen.emplace(token->pattern, token);
      if (!fresh || token->pattern.empty())
        throw Error(ErrorKind::model,
                    fresh ? str("added token '", token->content, "' is empty once normalised")
                          : str("added tokens '", entry->second->content, "' and '", token->content,
                                "' look for the same text"),
                    where);
    }
  }
  raw_finder_ = AddedTokenFinder(raw);
  normalized_finder_ = AddedTokenFinder(normalized);
}

std::optional<std::string_view> TokenTable::name(int32_t id) const {
  if (id < 0 || id >= size() || names_[static_cast<size_t>(id)].empty()) return std::nullopt;
  return names_[static_cast<size_t>(id)];
}

std::optional<int32_t> TokenTable::find_added(std::string_view token) const {
  auto found = added_ids_.find(token);
  if (found == added_ids_.end()) return std::nullopt;
  return found->second;
}

std::optional<std::string_view> TokenTable::decoded(int32_t id, bool skip_special) const {
  auto added = added_by_id_.find(id);
  if (added == added_by_id_.end()) return name(id);
  // Whether it is special is asked of the normalised spelling, as in the library.
  const std::string_view pattern = added->second->pattern;
  if (skip_special) {
    auto found = added_ids_.find(pattern);
    if (found != added_ids_.end() && added_by_id_.at(found->second)->special) return std::nullopt;
  }
  return pattern;
}

std::vector<std::string> TokenTable::description() const {
  std::vector<std::string> out;
  std::vector<const AddedToken*> added;
  for (const AddedToken& token : added_) added.push_back(&token);
  std::sort(added.begin(), added.end(),
            [](const AddedToken* a, const AddedToken* b) { return a->id < b->id; });
  for (const AddedToken* t : added) {
    out.push_back(t->content);
    out.push_back(str(t->id, " ", t->single_word, t->lstrip, t->rstrip, t->normalized));
  }
  return out;
}

}  // namespace compress::text
