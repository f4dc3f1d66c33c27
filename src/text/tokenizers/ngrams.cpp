#include "tokenizers/ngrams.h"

#include "compress/base/error.h"
#include "compress/base/hash.h"
#include "compress/base/strings.h"
#include "unicode/unicode.h"

namespace compress::text {

NgramReader::NgramReader(const NgramRules& rules) : rules_(rules) {
  lowercase_.push_back(lowercase_stage());
}

void NgramReader::read(std::string_view text, bool offsets, NgramText& out) const {
  out.words.clear();
  out.list.clear();
  normalize(lowercase_, text, 0, offsets, out.state);
  const Normalized& lower = out.state.text;
  const std::string_view all = lower.text;
  uint32_t begin = 0;
  int64_t characters = 0;
  auto finish = [&](uint32_t end) {
    if (characters >= rules_.shortest_word && characters > 0) {
      if (!out.words.empty()) out.words += ' ';
      NgramText::Word word;
      word.begin = static_cast<uint32_t>(out.words.size());
      out.words += all.substr(begin, end - begin);
      word.end = static_cast<uint32_t>(out.words.size());
      if (offsets) word.source = {lower.begin[begin], lower.end[end - 1]};
      out.list.push_back(word);
    }
    characters = 0;
  };
  for (uint32_t at = 0; at < all.size();) {
    const Decoded d = decode_utf8(all.substr(at));
    if (is_word(d.code_point)) {
      if (characters++ == 0) begin = at;
    } else {
      finish(at);
    }
    at += d.length;
  }
  finish(static_cast<uint32_t>(all.size()));
}

Ngrams::Ngrams(std::vector<std::string> vocabulary, const NgramRules& rules)
    : vocabulary_(std::move(vocabulary)), reader_(rules) {
  special_.pad = 0;
  ids_.reserve(vocabulary_.size());
  Sha256 hash;
  hash.part("NGram 1");
  hash.part(str(rules.shortest, " ", rules.longest, " ", rules.shortest_word));
  for (size_t id = 0; id < vocabulary_.size(); ++id) {
    hash.part(vocabulary_[id]);
    if (id > 0) ids_.emplace(vocabulary_[id], static_cast<int32_t>(id));
  }
  hash_ = hash.hex();
}

void Ngrams::encode(std::string_view text, std::optional<std::string_view> pair,
                    const EncodeOptions& options, Encoding& out) const {
  constexpr size_t longest = size_t{1} << 30;
  if (text.size() >= longest || (pair && pair->size() >= longest))
    throw Error(ErrorKind::data, "a text of 1 GiB or more cannot be encoded at once");
  thread_local Tokens first, second;
  const int64_t stop = early_stop(options, pair.has_value());
  add(text, options, stop, first);
  if (pair) add(*pair, options, stop, second);
  assemble(pattern_, options, first, pair ? &second : nullptr, out);
  if (!out.ids.empty()) return;
  out.ids.push_back(special_.pad);
  out.first_length = 1;
  if (!options.offsets) return;
  out.offsets.assign(1, {});
  out.special.assign(1, 1);
}

void Ngrams::add(std::string_view text, const EncodeOptions& options, int64_t stop,
                 Tokens& out) const {
  thread_local NgramText read;
  out.clear();
  reader_.read(text, options.offsets, read);
  const auto longest = static_cast<size_t>(reader_.rules().longest);
  for (size_t first = 0; first < read.list.size(); ++first) {
    const size_t most = std::min(longest, read.list.size() - first);
    for (auto count = static_cast<size_t>(reader_.rules().shortest); count <= most; ++count) {
      const auto found = ids_.find(read.gram(first, count));
      if (found == ids_.end()) continue;
      out.ids.push_back(found->second);
      if (options.offsets)
        out.offsets.push_back(
            {read.list[first].source.begin, read.list[first + count - 1].source.end});
    }
    if (stop > 0 && static_cast<int64_t>(out.ids.size()) >= stop) return;
  }
}

std::optional<int32_t> Ngrams::token_to_id(std::string_view token) const {
  if (token == vocabulary_.front()) return special_.pad;
  const auto found = ids_.find(token);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

std::optional<std::string_view> Ngrams::id_to_token(int32_t id) const {
  if (id < 0 || id >= vocabulary_size()) return std::nullopt;
  return vocabulary_[static_cast<size_t>(id)];
}

std::string Ngrams::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string out;
  for (int32_t id : ids) {
    const auto token = id_to_token(id);
    if (!token || (skip_special && id == special_.pad)) continue;
    if (!out.empty()) out += ' ';
    out += *token;
  }
  return out;
}

}  // namespace compress::text
