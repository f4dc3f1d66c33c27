#include "compress/text/train.h"

#include <sentencepiece_trainer.h>

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "files/convert.h"
#include "learn/learn_merges.h"
#include "learn/learn_ngrams.h"
#include "normalize/normalize_stages.h"
#include "split/splitter.h"
#include "unicode/unicode.h"

namespace compress::text {
namespace {

using nlohmann::json;

constexpr size_t longest_word = 1000;     // bytes; longer ones teach nothing
constexpr size_t most_characters = 1000;  // of WordPiece's alphabet, the most frequent
constexpr const char* continuing_prefix = "##";

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorKind::recipe, what);
}

// The special tokens of the model, then the user's.
std::vector<std::string> special_tokens(std::initializer_list<const char*> own,
                                        const TrainOptions& options) {
  std::vector<std::string> out(own.begin(), own.end());
  for (const std::string& token : options.special) {
    if (token.empty() || !valid_utf8(token)) refuse("a special token is empty or not UTF-8");
    if (std::find(out.begin(), out.end(), token) != out.end())
      refuse(str("special token '", token, "' is there already"));
    out.push_back(token);
  }
  return out;
}

// How often each word of the text comes up. Sorted, so that ids do not depend on chance.
std::map<std::string, int64_t> count_words(const NextLine& next, const NormalizerStages& normalizer,
                                           const SplitStages& splitter) {
  std::unordered_map<std::string, int64_t> counts;
  NormalizerState state;
  Pieces pieces;
  bool any = false;
  for (std::string line; next(line);) {
    any = true;
    normalize(normalizer, line, 0, false, state);
    pieces.text.text = state.text.text;
    const uint32_t size = static_cast<uint32_t>(pieces.text.text.size());
    pieces.list.clear();
    if (size > 0) pieces.list.push_back({0, size, -1});
    for (const auto& stage : splitter) stage->apply(pieces);
    for (const Piece& piece : pieces.list)
      if (piece.end - piece.begin <= longest_word)
        ++counts[pieces.text.text.substr(piece.begin, piece.end - piece.begin)];
  }
  if (!any || counts.empty()) throw Error(ErrorKind::data, "there is no text to train on");
  return {counts.begin(), counts.end()};
}

json entry(const std::vector<std::string>& tokens) {
  json vocab = json::object();
  for (size_t id = 0; id < tokens.size(); ++id) vocab[tokens[id]] = id;
  return vocab;
}

void check_room(const std::vector<std::string>& tokens, const TrainOptions& options) {
  if (static_cast<int64_t>(tokens.size()) > options.vocabulary_size)
    refuse(str("a vocabulary of ", options.vocabulary_size, " has no room for ", tokens.size(),
               " special tokens and single characters"));
}

std::string config_text(const json& roles) {
  json out = {{"tokenizer_class", "PreTrainedTokenizerFast"},
              {"clean_up_tokenization_spaces", false}};
  out.update(roles);
  return out.dump(2) + "\n";
}

json added_list(const std::vector<std::string>& tokens, const std::vector<std::string>& special) {
  AddedTokenList list(tokens);
  for (const std::string& token : special) list.add(token, true);
  return list.list();
}

// The most frequent characters, in the order of their code points.
std::vector<std::string> alphabet_of(const std::map<std::string, int64_t>& words) {
  std::map<std::string, int64_t> counts;
  for (const auto& [word, count] : words)
    for (size_t at = 0; at < word.size(); at += char_length(word, at))
      counts[word.substr(at, char_length(word, at))] += count;
  std::vector<std::pair<std::string, int64_t>> order(counts.begin(), counts.end());
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  if (order.size() > most_characters) order.resize(most_characters);
  std::vector<std::string> out;
  for (const auto& [character, count] : order) out.push_back(character);
  std::sort(out.begin(), out.end());
  return out;
}

TokenizerFiles train_wordpiece(const NextLine& next, const TrainOptions& options) {
  NormalizerStages normalizer;
  normalizer.push_back(bert_stage({true, true, options.lowercase, options.lowercase}));
  SplitStages splitter;
  splitter.push_back(split_at_characters(is_white_space, SplitBehavior::removed));
  splitter.push_back(split_at_characters(
      [](char32_t c) { return (PropertyTable::get()[c] & Property::punctuation) != 0; },
      SplitBehavior::isolated));
  const auto counts = count_words(next, normalizer, splitter);

  const auto special = special_tokens({"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}, options);
  std::vector<std::string> tokens = special;
  std::unordered_map<std::string, int32_t> ids;
  auto add = [&](const std::string& token) {
    if (ids.emplace(token, static_cast<int32_t>(tokens.size())).second) tokens.push_back(token);
  };
  for (const std::string& token : special) ids.emplace(token, -1);  // never a symbol of a word
  const auto alphabet = alphabet_of(counts);
  for (const std::string& character : alphabet) add(character);
  for (const std::string& character : alphabet) add(continuing_prefix + character);
  check_room(tokens, options);
  std::vector<CountedWord> words;
  for (const auto& [word, count] : counts) {
    CountedWord counted{{}, count};
    for (size_t at = 0; at < word.size(); at += char_length(word, at)) {
      auto found =
          ids.find((at > 0 ? continuing_prefix : "") + word.substr(at, char_length(word, at)));
      if (found == ids.end() || found->second < 0) {  // a rare character: the word is unknown
        counted.symbols.clear();
        break;
      }
      counted.symbols.push_back(found->second);
    }
    if (!counted.symbols.empty()) words.push_back(std::move(counted));
  }
  learn_merges(std::move(words), tokens, static_cast<size_t>(options.vocabulary_size),
               options.min_frequency, std::string_view(continuing_prefix).size());

  const AddedTokenList list(tokens);
  json content = file_json(
      {{"type", "BertNormalizer"},
       {"clean_text", true},
       {"handle_chinese_chars", true},
       {"strip_accents", nullptr},
       {"lowercase", options.lowercase}},
      {{"type", "BertPreTokenizer"}},
      template_json({"[CLS]", "$A", "[SEP]"}, {"[CLS]", "$A", "[SEP]", "$B", "[SEP]"}, true, list),
      {{"type", "WordPiece"}, {"prefix", continuing_prefix}, {"cleanup", true}},
      {{"type", "WordPiece"},
       {"unk_token", "[UNK]"},
       {"continuing_subword_prefix", continuing_prefix},
       {"max_input_chars_per_word", 100},
       {"vocab", entry(tokens)}},
      added_list(tokens, special));
  return {content.dump(), config_text({{"do_lower_case", options.lowercase},
                                       {"pad_token", "[PAD]"},
                                       {"unk_token", "[UNK]"},
                                       {"cls_token", "[CLS]"},
                                       {"sep_token", "[SEP]"},
                                       {"mask_token", "[MASK]"}})};
}

TokenizerFiles train_bpe(const NextLine& next, const TrainOptions& options) {
  NormalizerStages normalizer;
  if (options.lowercase) normalizer.push_back(lowercase_stage());
  SplitStages splitter;
  splitter.push_back(split_words_of(WordPattern::gpt2));
  const auto counts = count_words(next, normalizer, splitter);

  const auto special = special_tokens({"<|endoftext|>"}, options);
  std::vector<std::string> tokens = special;
  std::array<int32_t, 256> ids{};  // of single bytes, ordered by how they are spelled
  for (char32_t c = 0; c < 512; ++c) {
    const int byte = char_to_byte(c);
    if (byte < 0) continue;
    std::string spelled;
    append_utf8(spelled, c);
    if (std::find(special.begin(), special.end(), spelled) != special.end())
      refuse(str("special token '", spelled, "' is a single byte of the vocabulary"));
    ids[static_cast<size_t>(byte)] = static_cast<int32_t>(tokens.size());
    tokens.push_back(spelled);
  }
  check_room(tokens, options);
  std::vector<CountedWord> words;
  for (const auto& [word, count] : counts) {
    words.push_back({{}, count});
    for (char c : word) words.back().symbols.push_back(ids[static_cast<uint8_t>(c)]);
  }
  const auto learnt =
      learn_merges(std::move(words), tokens, static_cast<size_t>(options.vocabulary_size),
                   options.min_frequency, 0);
  json merges = json::array();
  for (const LearntMerge& merge : learnt)
    merges.push_back(
        {tokens[static_cast<size_t>(merge.left)], tokens[static_cast<size_t>(merge.right)]});
  json lower;
  if (options.lowercase) lower = {{"type", "Lowercase"}};
  json content = file_json(lower, byte_level_json(false, true, true),
                           byte_level_json(true, false, true), byte_level_json(true, true, true),
                           {{"type", "BPE"},
                            {"dropout", nullptr},
                            {"unk_token", nullptr},
                            {"continuing_subword_prefix", nullptr},
                            {"end_of_word_suffix", nullptr},
                            {"fuse_unk", false},
                            {"byte_fallback", false},
                            {"ignore_merges", false},
                            {"vocab", entry(tokens)},
                            {"merges", merges}},
                           added_list(tokens, special));
  return {content.dump(), config_text({{"bos_token", "<|endoftext|>"},
                                       {"eos_token", "<|endoftext|>"},
                                       {"unk_token", "<|endoftext|>"}})};
}

// Lines for the trainer of SentencePiece.
class Lines final : public sentencepiece::SentenceIterator {
 public:
  explicit Lines(const NextLine& next) : next_(next) { Next(); }
  bool done() const override { return done_; }
  void Next() override {
    do done_ = !next_(raw_);
    while (!done_ && raw_.empty());
    line_ = done_ ? std::string() : well_formed(raw_);
    any_ = any_ || !done_;
  }
  const std::string& value() const override { return line_; }
  sentencepiece::util::Status status() const override { return {}; }
  bool any() const { return any_; }

 private:
  const NextLine& next_;
  std::string raw_, line_;
  bool done_ = false, any_ = false;
};

TokenizerFiles train_sentencepiece(const NextLine& next, const TrainOptions& options) {
  const bool unigram = options.model == TrainedModel::unigram;
  const auto special = unigram ? special_tokens({"<pad>", "</s>", "<unk>"}, options)
                               : special_tokens({"<unk>", "<s>", "</s>"}, options);
  const int64_t size = options.vocabulary_size - static_cast<int64_t>(options.special.size());
  if (size < (unigram ? 4 : 260))
    refuse(str("a vocabulary of ", options.vocabulary_size, " is too small"));
  std::unordered_map<std::string, std::string> flags = {
      {"model_type", unigram ? "unigram" : "bpe"},
      {"vocab_size", std::to_string(size)},
      {"hard_vocab_limit", "false"},
      {"normalization_rule_name", !unigram            ? "identity"
                                  : options.lowercase ? "nmt_nfkc_cf"
                                                      : "nmt_nfkc"},
      {"byte_fallback", unigram ? "false" : "true"},
      {"unk_id", unigram ? "2" : "0"},
      {"bos_id", unigram ? "-1" : "1"},
      {"eos_id", unigram ? "1" : "2"},
      {"pad_id", unigram ? "0" : "-1"},
      // Counts are summed up thread by thread: another number of threads, other roundings.
      {"num_threads", "4"},
      {"minloglevel", "2"}};
  if (!unigram && options.lowercase) refuse("sentencepiece-bpe has no lower case");
  Lines lines(next);
  if (!lines.any()) throw Error(ErrorKind::data, "there is no text to train on");
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(flags, &lines, &model);
  if (!status.ok())
    throw Error(ErrorKind::recipe, str("SentencePiece cannot train this: ", status.message()));

  json roles = {{"unk_token", "<unk>"}, {"eos_token", "</s>"}};
  roles[unigram ? "pad_token" : "bos_token"] = unigram ? "<pad>" : "<s>";
  json config = roles;
  config["tokenizer_class"] = unigram ? "T5Tokenizer" : "LlamaTokenizer";
  config["add_bos_token"] = !unigram;
  config["extra_ids"] = 0;
  json content = convert_sentencepiece(model, "the new SentencePiece model",
                                       JsonView(config, "the new SentencePiece model", ""));
  json& vocab = content["model"]["vocab"];
  std::vector<std::string> tokens;
  for (const std::string& token : options.special) {
    if (unigram)
      vocab.push_back({token, 0.0});
    else if (!vocab.emplace(token, vocab.size()).second)
      refuse(str("special token '", token, "' is a piece of the vocabulary"));
  }
  tokens.resize(vocab.size());
  if (unigram)
    for (size_t id = 0; id < vocab.size(); ++id) tokens[id] = vocab[id][0].get<std::string>();
  else
    for (const auto& [token, id] : vocab.items()) tokens[id.get<size_t>()] = token;
  content["added_tokens"] = added_list(tokens, special);
  return {content.dump(), config_text(roles)};
}

}  // namespace

TokenizerFiles train_tokenizer(const NextLine& next, const TrainOptions& options) {
  if (options.vocabulary_size < 1 || options.vocabulary_size > 10'000'000)
    refuse(str("a vocabulary of ", options.vocabulary_size, " tokens cannot be trained"));
  switch (options.model) {
    case TrainedModel::wordpiece:
      return train_wordpiece(next, options);
    case TrainedModel::bpe:
      return train_bpe(next, options);
    case TrainedModel::ngram:
      return train_ngrams(next, options);
    default:
      return train_sentencepiece(next, options);
  }
}

}  // namespace compress::text
