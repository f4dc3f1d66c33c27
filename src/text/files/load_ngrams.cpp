// tokenizer.json with the model NGram, which is compress's own:
//   {"version": "1.0", "model": {"type": "NGram", "shortest": 1, "longest": 4, "shortest_word": 2,
//    "vocab": ["<pad>", "the", "of the", ...]}}

#include <nlohmann/json.hpp>
#include <unordered_set>

#include "compress/base/strings.h"
#include "files/load.h"
#include "tokenizers/ngrams.h"
#include "unicode/unicode.h"

namespace compress::text {

using nlohmann::json;

bool is_ngrams(const json& content) {
  const auto model = content.find("model");
  if (model == content.end() || !model->is_object()) return false;
  const auto type = model->find("type");
  return type != model->end() && *type == "NGram";
}

std::unique_ptr<Tokenizer> read_ngrams(const json& content, const std::string& where) {
  const JsonView file(content, where, "");
  const JsonView model = file.at("model");
  for (const char* part : {"normalizer", "pre_tokenizer", "post_processor", "decoder"})
    if (file.has(part)) file.fail("the model NGram splits texts itself", part, "remove it");
  NgramRules rules;
  rules.shortest = model.integer("shortest", 1, longest_ngram);
  rules.longest = model.integer("longest", rules.shortest, longest_ngram);
  rules.shortest_word = model.integer("shortest_word", 1, 1000);
  const JsonView view = model.at("vocab");
  if (!view.value().is_array()) view.fail("an array of n-grams is expected here");
  std::vector<std::string> vocabulary;
  std::unordered_set<std::string_view> seen;
  vocabulary.reserve(view.value().size());
  for (const json& item : view.value()) {
    if (!item.is_string() || item.get_ref<const std::string&>().empty())
      view.fail(str("n-gram number ", vocabulary.size(), " is no text"));
    if (!seen.insert(item.get_ref<const std::string&>()).second)
      view.fail(str("'", item.get_ref<const std::string&>(), "' is there twice"));
    vocabulary.push_back(item.get<std::string>());
  }
  if (vocabulary.size() < 2) view.fail("the vocabulary has no n-gram");
  return std::make_unique<Ngrams>(std::move(vocabulary), rules);
}

}  // namespace compress::text
