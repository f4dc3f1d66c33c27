// Post-processors of tokenizer.json: special tokens around the texts, and trimmed offsets.

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "compress/base/strings.h"
#include "files/load.h"

namespace compress::text {
namespace {

using nlohmann::json;

int32_t checked_id(const JsonView& place, const json& value, size_t size) {
  if (!value.is_number_integer() || value < 0 || value.get<uint64_t>() >= size)
    place.fail(str("id ", value.dump(), " is not in the vocabulary of ", size, " tokens"));
  return value.get<int32_t>();
}

// Special token pieces may stand for several ids: one piece each.
void append_special(const JsonView& processor, const std::string& name, int32_t segment,
                    size_t size, std::vector<TemplatePiece>& out) {
  JsonView tokens = processor.at("special_tokens");
  if (!tokens.has(name)) tokens.fail(str("the template's '", name, "' is not defined"));
  JsonView ids = tokens.at(name).at("ids");
  for (const json& id : ids.value())
    out.push_back({TemplatePiece::special, checked_id(ids, id, size), segment});
}

std::vector<TemplatePiece> read_pieces(const JsonView& processor, const std::string& key, bool pair,
                                       size_t size) {
  std::vector<TemplatePiece> out;
  int firsts = 0, seconds = 0;
  int64_t segment = 0;
  for (const JsonView& piece : processor.at(key).items()) {
    bool special = piece.has("SpecialToken");
    JsonView inner = piece.at(special ? "SpecialToken" : "Sequence");
    std::string id = inner.string("id");
    segment = inner.integer("type_id", segment, 1);  // so that segments are 0s, then 1s
    if (special) {
      append_special(processor, id, static_cast<int32_t>(segment), size, out);
    } else if (id == "A") {
      out.push_back({TemplatePiece::first, -1, static_cast<int32_t>(segment)});
      ++firsts;
    } else if (id == "B") {
      out.push_back({TemplatePiece::second, -1, static_cast<int32_t>(segment)});
      ++seconds;
    } else {
      inner.fail("sequence A or B is expected here", "id");
    }
  }
  if (firsts != 1 || seconds != (pair ? 1 : 0))
    processor.fail(
        pair ? "the template must use A and B once each" : "the template must use A once and not B",
        key);
  return out;
}

// [CLS] a [SEP] b [SEP], and RoBERTa's <s> a </s></s> b </s> whose segments are all 0.
Template fixed_template(const JsonView& view, bool roberta, size_t size) {
  auto special = [&](const std::string& key, int32_t segment) {
    JsonView token = view.at(key);
    if (!token.value().is_array() || token.value().size() != 2)
      token.fail("[token, id] is expected");
    return TemplatePiece{TemplatePiece::special, checked_id(token, token.value()[1], size),
                         segment};
  };
  const int32_t second = roberta ? 0 : 1;
  TemplatePiece a{TemplatePiece::first}, b{TemplatePiece::second, -1, second};
  Template out;
  out.single = {special("cls", 0), a, special("sep", 0)};
  out.pair = out.single;
  if (roberta) out.pair.push_back(special("sep", 0));
  out.pair.push_back(b);
  out.pair.push_back(special("sep", second));
  return out;
}

struct Reader {
  size_t size;
  ProcessorParts parts;
  bool has_template = false;

  void set(const JsonView& view, Template pattern) {
    if (has_template) view.fail("a second template is not supported");
    has_template = true;
    parts.pattern = std::move(pattern);
  }

  void trim(const JsonView& view) {
    if (view.boolean("trim_offsets", true))
      parts.trims.push_back(view.boolean("add_prefix_space", true));
  }

  void read(const JsonView& view, int depth) {
    if (depth > deepest_sequence) view.fail("sequences are nested too deep");
    const std::string type = view.string("type");
    if (type == "Sequence") {
      for (const JsonView& item : view.at("processors").items()) read(item, depth + 1);
    } else if (type == "TemplateProcessing") {
      set(view, {read_pieces(view, "single", false, size), read_pieces(view, "pair", true, size)});
    } else if (type == "BertProcessing") {
      set(view, fixed_template(view, false, size));
    } else if (type == "RobertaProcessing") {
      set(view, fixed_template(view, true, size));
      trim(view);
    } else if (type == "ByteLevel") {
      trim(view);
    } else {
      view.unsupported("post_processor",
                       "TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel, "
                       "Sequence");
    }
  }
};

}  // namespace

ProcessorParts read_processor(const JsonView& file, size_t vocabulary_size) {
  Reader reader{vocabulary_size, {}};
  if (file.has("post_processor")) reader.read(file.at("post_processor"), 0);
  return std::move(reader.parts);
}

void settle_segments(const JsonView& config, Template& pattern) {
  bool given = tokenizer_class(config) != "DistilBert";
  if (config.has("model_input_names")) {
    const json& names = config.at("model_input_names").value();
    given =
        !names.is_array() || std::find(names.begin(), names.end(), "token_type_ids") != names.end();
  }
  if (given) return;
  for (TemplatePiece& piece : pattern.pair) piece.segment = 0;
}

}  // namespace compress::text
