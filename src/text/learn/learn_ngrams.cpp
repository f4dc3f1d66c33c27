#include "learn/learn_ngrams.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "files/load.h"
#include "tokenizers/ngrams.h"

namespace compress::text {

namespace {

using Counts = std::unordered_map<std::string, int64_t>;

constexpr const char* padding = "<pad>";

// Forgets the rarest until at most half of the limit is left. What is forgotten depends on counts
// alone, so that the order in the table does not matter.
void forget(Counts& counts, size_t limit) {
  for (int64_t least = 1; counts.size() > limit / 2; ++least)
    std::erase_if(counts, [&](const auto& entry) { return entry.second <= least; });
}

Counts count_ngrams(const NextLine& next, const NgramRules& rules, size_t limit) {
  const NgramReader reader(rules);
  NgramText text;
  Counts counts;
  bool any = false;
  for (std::string line; next(line);) {
    any = true;
    reader.read(line, false, text);
    const size_t words = text.list.size();
    for (size_t first = 0; first < words; ++first) {
      const size_t most = std::min(static_cast<size_t>(rules.longest), words - first);
      for (auto count = static_cast<size_t>(rules.shortest); count <= most; ++count)
        ++counts[std::string(text.gram(first, count))];
    }
    if (counts.size() > limit) forget(counts, limit);
  }
  if (!any || counts.empty()) throw Error(ErrorKind::data, "there is no text to train on");
  return counts;
}

}  // namespace

TokenizerFiles train_ngrams(const NextLine& next, const TrainOptions& options) {
  auto refuse = [](const std::string& what, const std::string& hint) {
    throw Error(ErrorKind::recipe, what, {}, hint);
  };
  if (options.shortest_ngram < 1 || options.longest_ngram < options.shortest_ngram ||
      options.longest_ngram > longest_ngram)
    refuse(str("n-grams of ", options.shortest_ngram, " to ", options.longest_ngram,
               " words cannot be learnt"),
           str("from 1 to at most ", longest_ngram));
  if (!options.special.empty())
    refuse("n-grams have no special tokens besides <pad>", "leave --special out");
  if (options.vocabulary_size < 2)
    refuse("a vocabulary of one token has no room for an n-gram", "ask for more");
  const NgramRules rules{options.shortest_ngram, options.longest_ngram};
  const size_t limit =
      std::max<size_t>(size_t{4} << 20, static_cast<size_t>(options.vocabulary_size) * 16);
  const Counts counts = count_ngrams(next, rules, limit);
  std::vector<const Counts::value_type*> order;
  for (const auto& entry : counts)
    if (entry.second >= options.min_frequency) order.push_back(&entry);
  if (order.empty())
    throw Error(ErrorKind::data,
                str("no n-gram comes up ", options.min_frequency, " times in the text"), {},
                "give a lower --min-frequency, or more text");
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return a->second != b->second ? a->second > b->second : a->first < b->first;
  });
  nlohmann::json vocabulary = nlohmann::json::array({padding});
  for (const auto* entry : order) {
    if (static_cast<int64_t>(vocabulary.size()) >= options.vocabulary_size) break;
    vocabulary.push_back(entry->first);
  }
  const nlohmann::json content = {{"version", "1.0"},
                                  {"model",
                                   {{"type", "NGram"},
                                    {"shortest", rules.shortest},
                                    {"longest", rules.longest},
                                    {"shortest_word", rules.shortest_word},
                                    {"vocab", std::move(vocabulary)}}}};
  const nlohmann::json config = {{"tokenizer_class", "Ngrams"}, {"pad_token", padding}};
  return {content.dump(), config.dump(2) + "\n"};
}

}  // namespace compress::text
