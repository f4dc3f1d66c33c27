// The models of tokenizer.json.

#include <limits>
#include <nlohmann/json.hpp>

#include "compress/base/strings.h"
#include "files/load.h"

namespace compress::text {
namespace {

using nlohmann::json;
using Ids = std::unordered_map<std::string_view, int32_t>;

constexpr uint64_t most_gaps = 100'000;  // ids without a token, beyond four for each that has one

// An object of token to id. Not every id needs a token.
Vocabulary read_vocabulary(const JsonView& model) {
  const JsonView view = model.at("vocab");
  const json& vocab = view.value();
  if (!vocab.is_object()) view.fail("an object of token to id is expected here");
  if (vocab.empty()) view.fail("the vocabulary is empty");
  const uint64_t limit = vocab.size() * 4 + most_gaps;
  if (limit > static_cast<uint64_t>(max_id)) view.fail("the vocabulary is too large");
  Vocabulary out(vocab.size());
  std::vector<bool> taken(vocab.size());
  for (const auto& [token, value] : vocab.items()) {
    if (!value.is_number_unsigned() || value.get<uint64_t>() >= limit)
      view.fail(str("token '", token, "' has id ", value.dump(), "; ids must be 0 to ", limit - 1,
                    ", each once"));
    const size_t id = value.get<size_t>();
    if (id >= out.size()) {
      out.resize(id + 1);
      taken.resize(id + 1);
    }
    if (taken[id])
      view.fail(str("id ", id, " belongs to two tokens, '", out[id], "' and '", token, "'"));
    taken[id] = true;
    out[id] = token;
  }
  return out;
}

ModelParts read_wordpiece(const JsonView& model) {
  ModelParts out;
  out.vocabulary = read_vocabulary(model);
  out.count = static_cast<int64_t>(model.at("vocab").value().size());
  const std::string unk = model.string("unk_token");
  const auto found = std::find(out.vocabulary.begin(), out.vocabulary.end(), unk);
  if (found == out.vocabulary.end())
    model.fail(str("'", unk, "' is not in the vocabulary"), "unk_token");
  out.unk = static_cast<int32_t>(found - out.vocabulary.begin());
  out.wordpiece.unk = out.unk;
  out.wordpiece.prefix = model.string("continuing_subword_prefix");
  out.wordpiece.max_input_chars = model.integer("max_input_chars_per_word", 0, max_id);
  out.model = make_wordpiece(out.vocabulary, out.wordpiece);
  return out;
}

std::string optional_string(const JsonView& view, const char* key) {
  return view.has(key) ? view.string(key) : std::string();
}

// One merge: "left right" or ["left", "right"].
std::pair<std::string_view, std::string_view> read_merge(const json& item, const JsonView& view,
                                                         size_t rank) {
  auto fail = [&] { view.fail(str("merge number ", rank, " is not a pair of tokens")); };
  if (item.is_string()) {
    const std::string_view text = item.get_ref<const std::string&>();
    const size_t space = text.find(' ');
    if (space == text.npos || text.find(' ', space + 1) != text.npos) fail();
    return {text.substr(0, space), text.substr(space + 1)};
  }
  if (!item.is_array() || item.size() != 2 || !item[0].is_string() || !item[1].is_string()) fail();
  return {item[0].get_ref<const std::string&>(), item[1].get_ref<const std::string&>()};
}

std::vector<BpeMerge> read_merges(const JsonView& model, const Ids& ids, size_t prefix) {
  const JsonView view = model.at("merges");
  if (!view.value().is_array()) view.fail("an array is expected here");
  std::vector<BpeMerge> out;
  std::string joined;
  size_t rank = 0;
  for (const json& item : view.value()) {
    ++rank;
    if (item.is_string() && item.get_ref<const std::string&>().starts_with("#version")) continue;
    const auto [left, right] = read_merge(item, view, rank);
    auto id_of = [&](std::string_view token) {
      auto found = ids.find(token);
      if (found == ids.end())
        view.fail(str("merge number ", rank, " needs the token '", token,
                      "', which is not in the vocabulary"));
      return found->second;
    };
    const int32_t left_id = id_of(left), right_id = id_of(right);
    if (right.size() < prefix) view.fail(str("merge number ", rank, " lacks the prefix"));
    joined = left;
    joined += right.substr(prefix);
    out.push_back({left_id, right_id, id_of(joined)});
  }
  return out;
}

ModelParts read_bpe(const JsonView& model, bool bytes) {
  ModelParts out;
  out.vocabulary = read_vocabulary(model);
  Ids ids;
  for (size_t id = 0; id < out.vocabulary.size(); ++id)
    if (!out.vocabulary[id].empty()) ids.emplace(out.vocabulary[id], static_cast<int32_t>(id));
  out.count = static_cast<int64_t>(model.at("vocab").value().size());
  BpeOptions options;
  if (model.has("unk_token")) {
    const std::string unk = model.string("unk_token");
    const auto found = ids.find(unk);
    options.unk_is_missing = found == ids.end();
    if (!options.unk_is_missing) out.unk = options.unk = found->second;
  }
  options.prefix = optional_string(model, "continuing_subword_prefix");
  options.suffix = optional_string(model, "end_of_word_suffix");
  options.fuse_unk = model.boolean("fuse_unk", false);
  options.byte_fallback = model.boolean("byte_fallback", false);
  options.ignore_merges = model.boolean("ignore_merges", false);
  options.bytes =
      bytes && options.prefix.empty() && options.suffix.empty() && !options.byte_fallback;
  out.bytes = options.bytes;
  const auto merges = read_merges(model, ids, options.prefix.size());
  out.model = make_bpe(out.vocabulary, merges, options);
  constexpr const char* mark = "\u2581";
  if (!out.bytes && out.model->splits_at(mark)) out.word_mark = mark;
  return out;
}

ModelParts read_unigram(const JsonView& model) {
  const JsonView view = model.at("vocab");
  const json& vocab = view.value();
  if (!vocab.is_array()) view.fail("an array of [piece, score] is expected here");
  if (vocab.empty()) view.fail("the vocabulary is empty");
  ModelParts out;
  std::vector<double> scores;
  for (const json& item : vocab) {
    if (!item.is_array() || item.size() != 2 || !item[0].is_string() || !item[1].is_number())
      view.fail(str("piece number ", scores.size(), " is not [piece, score]"));
    out.vocabulary.push_back(item[0].get<std::string>());
    scores.push_back(item[1].get<double>());
  }
  out.count = static_cast<int64_t>(scores.size());
  UnigramOptions options;
  if (model.has("unk_id"))
    options.unk = static_cast<int32_t>(model.integer("unk_id", 0, out.count - 1));
  options.byte_fallback = model.boolean("byte_fallback", false);
  out.unk = options.unk;
  out.model = make_unigram(out.vocabulary, scores, options);
  return out;
}

}  // namespace

std::string model_type(const JsonView& file) {
  const JsonView model = file.at("model");
  if (model.has("type")) return model.string("type");
  if (model.has("merges")) return "BPE";
  if (model.has("vocab") && model.at("vocab").value().is_array()) return "Unigram";
  // A WordLevel model has neither of the two keys.
  const bool pieces =
      model.has("continuing_subword_prefix") || model.has("max_input_chars_per_word");
  return pieces ? "WordPiece" : "without a type";
}

ModelParts read_model(const JsonView& file, bool bytes) {
  const JsonView model = file.at("model");
  const std::string type = model_type(file);
  if (type == "WordPiece") return read_wordpiece(model);
  if (type == "BPE") return read_bpe(model, bytes);
  if (type == "Unigram") return read_unigram(model);
  file.fail(str("model '", type, "' is not supported"), "model",
            "supported here: WordPiece, BPE, Unigram");
}

}  // namespace compress::text
