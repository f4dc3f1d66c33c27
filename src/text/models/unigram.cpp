// Unigram language model (Kudo, 2018): the segmentation of a word with the highest probability.

#include <algorithm>
#include <limits>
#include <unordered_map>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "models/trie.h"
#include "models/word_cache.h"
#include "models/word_model.h"
#include "unicode/transform.h"

namespace compress::text {
namespace {

constexpr double unknown_penalty = 10;

// The best way to a place in the word.
struct Node {
  double score;
  uint32_t start;
  int32_t id;
};
constexpr uint32_t unreached = std::numeric_limits<uint32_t>::max();

class Unigram final : public WordModel {
 public:
  Unigram(const Vocabulary& vocabulary, const std::vector<double>& scores, UnigramOptions options)
      : options_(options), scores_(scores), serial_(WordCache::next_serial()) {
    std::unordered_map<std::string_view, int32_t> last;  // of pieces listed twice the last counts
    for (size_t id = 0; id < vocabulary.size(); ++id)
      if (!vocabulary[id].empty()) last[vocabulary[id]] = static_cast<int32_t>(id);
    Trie::Keys keys(last.begin(), last.end());
    pieces_ = Trie({keys});
    double lowest = std::numeric_limits<double>::infinity();
    for (double score : scores) lowest = std::min(lowest, score);
    unknown_score_ = lowest - unknown_penalty;
    constexpr char hex_digits[] = "0123456789ABCDEF";
    for (int b = 0; b < 256; ++b)
      fallback_[b] = find(std::string("<0x") + hex_digits[b >> 4] + hex_digits[b & 15] + ">");
  }

  void encode(std::string_view word, WordTokens& out) const override {
    WordCache::through(serial_, word, out, [this](std::string_view missed, WordTokens& tokens) {
      encode_word(missed, tokens);
    });
  }

  int32_t find(std::string_view token) const override { return pieces_.find(0, token); }

  void add_to_hash(Sha256& hash) const override {
    hash.update(str("Unigram 1 ", options_.unk, " ", options_.byte_fallback, " "));
    hash.update(scores_.data(), scores_.size() * sizeof(double));
  }

  bool spells_text() const override { return true; }

 private:
  // Fills nodes[i] with the best way to byte i of the word.
  void forward(std::string_view word, std::vector<Node>& nodes) const {
    nodes.assign(word.size() + 1, {0, unreached, -1});
    for (uint32_t start = 0; start < word.size();) {
      const uint32_t length = char_length(word, start);
      const double here = nodes[start].score;
      bool whole = false;  // a piece is this one character
      auto offer = [&](uint32_t end, double score, int32_t id) {
        Node& node = nodes[end];
        if (node.start == unreached || score > node.score) node = {score, start, id};
      };
      pieces_.for_each_prefix(0, word.substr(start), [&](int32_t id, uint32_t size) {
        offer(start + size, scores_[static_cast<size_t>(id)] + here, id);
        whole = whole || size == length;
      });
      if (!whole) offer(start + length, unknown_score_ + here, unknown_id);
      start += length;
    }
  }

  // Appends the token of bytes [begin, end), which the vocabulary may not have.
  void add_text(std::string_view word, uint32_t begin, uint32_t end, WordTokens& out) const {
    const std::string_view text = word.substr(begin, end - begin);
    if (int32_t id = find(text); id >= 0) return out.add(id, begin, end);
    if (options_.byte_fallback && std::all_of(text.begin(), text.end(), [&](char c) {
          return fallback_[static_cast<uint8_t>(c)] >= 0;
        })) {
      for (char c : text) out.add(fallback_[static_cast<uint8_t>(c)], begin, end);
      return;
    }
    out.add(options_.unk, begin, end);
  }

  void encode_word(std::string_view word, WordTokens& out) const {
    thread_local std::vector<Node> nodes;
    thread_local std::vector<TokenSpan> path;  // from the end; unknown neighbours are one
    forward(word, nodes);
    path.clear();
    bool unknown_before = false;
    for (uint32_t end = static_cast<uint32_t>(word.size()); end > 0;) {
      const Node& node = nodes[end];
      if (node.id == unknown_id && options_.unk < 0)
        throw Error(ErrorKind::model,
                    "a character is not in the vocabulary, and there is no unknown token");
      const bool unknown = node.id == unknown_id || node.id == options_.unk;
      if (unknown && unknown_before)
        path.back().begin = node.start;
      else
        path.push_back({node.start, end});
      unknown_before = unknown;
      end = node.start;
    }
    for (auto span = path.rbegin(); span != path.rend(); ++span)
      add_text(word, span->begin, span->end, out);
  }

  static constexpr int32_t unknown_id = -2;
  UnigramOptions options_;
  std::vector<double> scores_;
  double unknown_score_ = 0;
  Trie pieces_;
  int32_t fallback_[256];
  uint64_t serial_;
};

}  // namespace

std::unique_ptr<WordModel> make_unigram(const Vocabulary& vocabulary,
                                        const std::vector<double>& scores, UnigramOptions options) {
  return std::make_unique<Unigram>(vocabulary, scores, options);
}

}  // namespace compress::text
