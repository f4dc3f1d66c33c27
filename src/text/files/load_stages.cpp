// Normalizers, pre-tokenizers and decoders of tokenizer.json.

#include <nlohmann/json.hpp>
#include <stdexcept>

#include "compress/base/base64.h"
#include "compress/base/strings.h"
#include "files/load.h"
#include "unicode/char_table.h"
#include "unicode/unicode.h"

namespace compress::text {
namespace {

using nlohmann::json;

// {"String": ...} or {"Regex": ...}.
struct Pattern {
  std::string text;
  bool literal;
};

Pattern read_pattern(const JsonView& view) {
  const JsonView pattern = view.at("pattern");
  const bool literal = pattern.has("String");
  return {pattern.string(literal ? "String" : "Regex"), literal};
}

Regex compiled(const JsonView& view, const Pattern& pattern) {
  try {
    return Regex(pattern.text, pattern.literal);
  } catch (const std::invalid_argument& e) {
    view.fail(str("the regular expression is not supported: ", e.what()), "pattern");
  }
}

std::string one_character(const JsonView& view, const char* key) {
  std::string text = view.string(key);
  if (text.empty() || char_length(text, 0) != text.size()) view.fail("one character is due", key);
  return text;
}

void check_depth(const JsonView& view, int depth) {
  if (depth > deepest_sequence) view.fail("sequences are nested too deep");
}

Charsmap read_charsmap(const JsonView& view) {
  const auto bytes = decode_base64(view.string("precompiled_charsmap"));
  if (!bytes) view.fail("base64 is expected here", "precompiled_charsmap");
  try {
    return Charsmap(*bytes);
  } catch (const std::invalid_argument& e) {
    view.fail(e.what(), "precompiled_charsmap");
  }
}

void add_normalizer(const JsonView& view, int depth, NormalizerStages& out) {
  check_depth(view, depth);
  const std::string type = view.string("type");
  if (type == "Sequence") {
    for (const JsonView& item : view.at("normalizers").items())
      add_normalizer(item, depth + 1, out);
  } else if (type == "BertNormalizer") {
    out.push_back(bert_stage(read_bert_normalizer(view)));
  } else if (type == "NFC") {
    out.push_back(form_stage(NormalForm::nfc));
  } else if (type == "NFD") {
    out.push_back(form_stage(NormalForm::nfd));
  } else if (type == "NFKC") {
    out.push_back(form_stage(NormalForm::nfkc));
  } else if (type == "NFKD") {
    out.push_back(form_stage(NormalForm::nfkd));
  } else if (type == "Lowercase") {
    out.push_back(lowercase_stage());
  } else if (type == "StripAccents") {
    out.push_back(strip_accents_stage());
  } else if (type == "Strip") {
    out.push_back(strip_stage(view.boolean("strip_left", true), view.boolean("strip_right", true)));
  } else if (type == "Replace") {
    out.push_back(replace_stage(compiled(view, read_pattern(view)), view.string("content")));
  } else if (type == "Prepend") {
    out.push_back(prepend_stage(view.string("prepend")));
  } else if (type == "Nmt") {
    out.push_back(nmt_stage());
  } else if (type == "Precompiled") {
    out.push_back(charsmap_stage(read_charsmap(view)));
  } else if (type == "ByteLevel") {
    out.push_back(byte_level_stage());
  } else {
    view.unsupported("normalizer",
                     "BertNormalizer, NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, Strip, "
                     "Replace, Prepend, Nmt, Precompiled, ByteLevel, Sequence");
  }
}

// The stages of a sequence, and of sequences in it.
void add_stages(const JsonView& view, const char* list, std::vector<JsonView>& out) {
  if (view.string("type") != "Sequence") return out.push_back(view);
  for (const JsonView& item : view.at(list).items()) add_stages(item, list, out);
}

// Whether a stage puts in front of texts what comes from none of their characters.
bool comes_from_nowhere(const JsonView& view) {
  const std::string type = view.string("type");
  if (type == "Prepend") return view.string("prepend").empty();
  if (type != "Replace" || view.string("content").empty()) return false;
  const Regex pattern = compiled(view, read_pattern(view));
  for (char c = ' '; c <= '~'; ++c)
    if (pattern.matches_nothing_before({&c, 1})) return true;
  return pattern.matches_nothing_before("\u00e9") || pattern.matches_nothing_before("\u4e2d");
}

// The reference library ends in a panic, or writes characters twice, where a text is edited further
// behind such a stage: no model is made with such a file.
void check_insertions(const JsonView& file) {
  std::vector<JsonView> stages;
  add_stages(file.at("normalizer"), "normalizers", stages);
  const size_t normalizers = stages.size();
  if (file.has("pre_tokenizer")) add_stages(file.at("pre_tokenizer"), "pretokenizers", stages);
  const JsonView* first = nullptr;
  for (size_t i = 0; i < stages.size(); ++i) {
    const std::string type = stages[i].string("type");
    const bool edits =
        i < normalizers ? type != "Prepend" && type != "Replace" : type == "ByteLevel";
    if (first != nullptr && edits)
      first->fail(str("this puts in front of a text what comes from none of its characters, and '",
                      type, "' follows, which the reference library cannot do"),
                  first->has("pattern") ? "pattern" : "prepend",
                  "remove it, or put it behind the others");
    if (first == nullptr && i < normalizers && comes_from_nowhere(stages[i])) first = &stages[i];
  }
}

SplitBehavior read_behavior(const JsonView& view) {
  const std::string name = view.has("behavior") ? view.string("behavior") : "Isolated";
  if (name == "Removed") return SplitBehavior::removed;
  if (name == "Isolated") return SplitBehavior::isolated;
  if (name == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
  if (name == "MergedWithNext") return SplitBehavior::merged_with_next;
  if (name == "Contiguous") return SplitBehavior::contiguous;
  view.fail(str("behavior '", name, "' is not known"), "behavior");
}

std::unique_ptr<SplitStage> read_split(const JsonView& view) {
  const Pattern pattern = read_pattern(view);
  const SplitBehavior behavior = read_behavior(view);
  const bool invert = view.boolean("invert", false);
  // The well-known patterns match all of the text: nothing lies between.
  const auto known = pattern.literal ? std::nullopt : known_pattern(pattern.text);
  if (known && behavior == (invert ? SplitBehavior::removed : SplitBehavior::isolated))
    return split_words_of(*known);
  return split_at_regex(compiled(view, pattern), behavior, invert);
}

PrependScheme read_scheme(const JsonView& view) {
  const bool prefix = view.boolean("add_prefix_space", true);
  if (!view.has("prepend_scheme")) return prefix ? PrependScheme::always : PrependScheme::never;
  const std::string name = view.string("prepend_scheme");
  if (!prefix && name != "never")
    view.fail("add_prefix_space does not match prepend_scheme", "add_prefix_space");
  if (name == "first") return PrependScheme::first;
  if (name == "never") return PrependScheme::never;
  if (name == "always") return PrependScheme::always;
  view.fail(str("prepend_scheme '", name, "' is not known"), "prepend_scheme");
}

bool is_punctuation(char32_t c) {
  return PropertyTable::get()[c] & Property::punctuation;
}
bool is_numeric(char32_t c) {
  return CharTable::get()[c] & CharProperty::numeric;
}

void add_splitter(const JsonView& view, int depth, SplitterParts& out) {
  check_depth(view, depth);
  const std::string type = view.string("type");
  if (type == "Sequence") {
    for (const JsonView& item : view.at("pretokenizers").items())
      add_splitter(item, depth + 1, out);
    return;
  }
  if (out.bytes_last) out.stages.push_back(map_bytes());
  out.bytes_last = false;
  if (type == "ByteLevel") {
    if (view.boolean("add_prefix_space", true)) out.stages.push_back(prefix_space());
    if (view.boolean("use_regex", true)) out.stages.push_back(split_words_of(WordPattern::gpt2));
    out.bytes_last = true;
  } else if (type == "BertPreTokenizer") {
    out.stages.push_back(split_at_characters(is_white_space, SplitBehavior::removed));
    out.stages.push_back(split_at_characters(is_punctuation, SplitBehavior::isolated));
  } else if (type == "Whitespace") {
    out.stages.push_back(split_whitespace_words());
  } else if (type == "WhitespaceSplit") {
    out.stages.push_back(split_at_characters(is_white_space, SplitBehavior::removed));
  } else if (type == "Metaspace") {
    out.stages.push_back(metaspace(one_character(view, "replacement"), read_scheme(view),
                                   view.boolean("split", true)));
  } else if (type == "Split") {
    out.stages.push_back(read_split(view));
  } else if (type == "Digits") {
    out.stages.push_back(split_at_characters(is_numeric, view.boolean("individual_digits", false)
                                                             ? SplitBehavior::isolated
                                                             : SplitBehavior::contiguous));
  } else if (type == "Punctuation") {
    out.stages.push_back(split_at_characters(is_punctuation, read_behavior(view)));
  } else if (type == "CharDelimiterSplit") {
    out.stages.push_back(split_at_regex(Regex(one_character(view, "delimiter"), true),
                                        SplitBehavior::removed, false));
  } else {
    view.unsupported("pre_tokenizer",
                     "BertPreTokenizer, ByteLevel, Whitespace, WhitespaceSplit, Metaspace, Split, "
                     "Digits, Punctuation, CharDelimiterSplit, Sequence");
  }
}

void add_decoder(const JsonView& view, int depth, DecoderStages& out) {
  check_depth(view, depth);
  constexpr int64_t most = 1'000'000;
  const std::string type = view.string("type");
  if (type == "Sequence") {
    for (const JsonView& item : view.at("decoders").items()) add_decoder(item, depth + 1, out);
  } else if (type == "WordPiece") {
    out.push_back(decode_wordpiece(view.string("prefix"), view.boolean("cleanup", true)));
  } else if (type == "ByteLevel") {
    out.push_back(decode_bytes());
  } else if (type == "Metaspace") {
    out.push_back(decode_metaspace(one_character(view, "replacement"),
                                   read_scheme(view) != PrependScheme::never));
  } else if (type == "BPEDecoder") {
    out.push_back(decode_suffix(view.string("suffix")));
  } else if (type == "Replace") {
    out.push_back(decode_replace(compiled(view, read_pattern(view)), view.string("content")));
  } else if (type == "ByteFallback") {
    out.push_back(decode_byte_fallback());
  } else if (type == "Fuse") {
    out.push_back(decode_fuse());
  } else if (type == "Strip") {
    out.push_back(decode_strip(one_character(view, "content"),
                               static_cast<size_t>(view.integer("start", 0, most)),
                               static_cast<size_t>(view.integer("stop", 0, most))));
  } else {
    view.unsupported("decoder",
                     "WordPiece, ByteLevel, Metaspace, BPEDecoder, Replace, ByteFallback, Fuse, "
                     "Strip, Sequence");
  }
}

}  // namespace

NormalizerOptions read_bert_normalizer(const JsonView& view) {
  NormalizerOptions options;
  options.clean_text = view.boolean("clean_text", true);
  options.handle_chinese_chars = view.boolean("handle_chinese_chars", true);
  options.lowercase = view.boolean("lowercase", true);
  options.strip_accents = view.boolean("strip_accents", options.lowercase);
  return options;
}

NormalizerStages read_normalizer(const JsonView& file) {
  NormalizerStages out;
  if (!file.has("normalizer")) return out;
  add_normalizer(file.at("normalizer"), 0, out);
  check_insertions(file);
  return out;
}

SplitterParts read_splitter(const JsonView& file) {
  SplitterParts out;
  if (file.has("pre_tokenizer")) add_splitter(file.at("pre_tokenizer"), 0, out);
  return out;
}

std::optional<DecoderStages> read_decoder(const JsonView& file) {
  if (!file.has("decoder")) return std::nullopt;
  DecoderStages out;
  add_decoder(file.at("decoder"), 0, out);
  return out;
}

}  // namespace compress::text
