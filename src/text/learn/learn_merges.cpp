#include "learn/learn_merges.h"

#include <algorithm>

namespace compress::text {
namespace {

uint64_t key_of(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

struct Pair {
  int64_t count = 0;
  std::vector<uint32_t> words;  // where it was met; may list one twice, or one that lost it
};

// A pair in the queue with the count that it had when it was put there.
struct Merge {
  int64_t count;
  uint64_t key;
};
bool rarer(const Merge& a, const Merge& b) {
  return a.count != b.count ? a.count < b.count : a.key > b.key;
}

class Learner {
 public:
  Learner(std::vector<CountedWord> words, std::vector<std::string>& tokens, size_t prefix)
      : words_(std::move(words)), tokens_(tokens), prefix_(prefix) {
    for (size_t id = 0; id < tokens.size(); ++id) ids_[tokens[id]] = static_cast<int32_t>(id);
    for (uint32_t word = 0; word < words_.size(); ++word) {
      const std::vector<int32_t>& symbols = words_[word].symbols;
      for (size_t i = 1; i < symbols.size(); ++i) add(symbols[i - 1], symbols[i], word, 1);
    }
    for (const auto& [key, pair] : pairs_) queue_.push_back({pair.count, key});
    std::make_heap(queue_.begin(), queue_.end(), rarer);
  }

  std::vector<LearntMerge> run(size_t size, int64_t min_frequency) {
    std::vector<LearntMerge> merges;
    while (tokens_.size() < size && !queue_.empty()) {
      std::pop_heap(queue_.begin(), queue_.end(), rarer);
      const Merge best = queue_.back();
      queue_.pop_back();
      const int64_t count = pairs_[best.key].count;
      if (count != best.count) {  // it changed since: back to its place
        if (count > 0) push(best.key);
        continue;
      }
      if (count < std::max<int64_t>(min_frequency, 1)) break;
      const int32_t left = static_cast<int32_t>(best.key >> 32);
      const int32_t right = static_cast<int32_t>(best.key & 0xFFFFFFFF);
      merges.push_back({left, right, token_of(left, right)});
      join(merges.back());
    }
    return merges;
  }

 private:
  void add(int32_t left, int32_t right, uint32_t word, int64_t times) {
    Pair& pair = pairs_[key_of(left, right)];
    pair.count += times * words_[word].count;
    if (times > 0) pair.words.push_back(word);
  }

  void push(uint64_t key) {
    queue_.push_back({pairs_[key].count, key});
    std::push_heap(queue_.begin(), queue_.end(), rarer);
  }

  // The id of the joined token, which may have come from another pair before.
  int32_t token_of(int32_t left, int32_t right) {
    std::string text =
        tokens_[static_cast<size_t>(left)] + tokens_[static_cast<size_t>(right)].substr(prefix_);
    auto [entry, fresh] = ids_.emplace(std::move(text), static_cast<int32_t>(tokens_.size()));
    if (fresh) tokens_.push_back(entry->first);
    return entry->second;
  }

  // Joins the pair in all words and counts the pairs that come and go.
  void join(const LearntMerge& merge) {
    const uint64_t key = key_of(merge.left, merge.right);
    std::vector<uint32_t> places = std::move(pairs_[key].words);
    std::sort(places.begin(), places.end());
    places.erase(std::unique(places.begin(), places.end()), places.end());
    fresh_.clear();
    for (uint32_t word : places) join_word(merge, word);
    pairs_.erase(key);
    std::sort(fresh_.begin(), fresh_.end());
    fresh_.erase(std::unique(fresh_.begin(), fresh_.end()), fresh_.end());
    for (uint64_t pair : fresh_)
      if (pairs_.contains(pair)) push(pair);
  }

  void join_word(const LearntMerge& merge, uint32_t word) {
    std::vector<int32_t>& symbols = words_[word].symbols;
    std::vector<int32_t> joined;
    for (size_t i = 0; i < symbols.size(); ++i) {
      const bool hit =
          symbols[i] == merge.left && i + 1 < symbols.size() && symbols[i + 1] == merge.right;
      joined.push_back(hit ? merge.joined : symbols[i]);
      i += hit;
    }
    if (joined.size() == symbols.size()) return;  // it lost the pair before
    for (size_t i = 1; i < symbols.size(); ++i) add(symbols[i - 1], symbols[i], word, -1);
    for (size_t i = 1; i < joined.size(); ++i) {
      add(joined[i - 1], joined[i], word, 1);
      if (joined[i - 1] == merge.joined || joined[i] == merge.joined)
        fresh_.push_back(key_of(joined[i - 1], joined[i]));
    }
    symbols = std::move(joined);
  }

  std::vector<CountedWord> words_;
  std::vector<std::string>& tokens_;
  size_t prefix_;
  std::unordered_map<std::string, int32_t> ids_;
  std::unordered_map<uint64_t, Pair> pairs_;
  std::vector<Merge> queue_;
  std::vector<uint64_t> fresh_;  // pairs that the last merge made
};

}  // namespace

std::vector<LearntMerge> learn_merges(std::vector<CountedWord> words,
                                      std::vector<std::string>& tokens, size_t size,
                                      int64_t min_frequency, size_t prefix) {
  return Learner(std::move(words), tokens, prefix).run(size, min_frequency);
}

}  // namespace compress::text
