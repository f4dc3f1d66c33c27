#include "normalize/normalize_stages.h"

#include <algorithm>

#include "split/splitter.h"
#include "unicode/char_table.h"
#include "unicode/unicode.h"

namespace compress::text {
namespace {

void take_changes(NormalizerState& state, size_t skipped = 0) {
  apply_changes(state.text, state.changes, skipped, state.offsets, state.origin, state.next);
  std::swap(state.text, state.next);
}

template <class Visit>
void for_each_character(std::string_view text, Visit&& visit) {
  for (size_t at = 0; at < text.size();) {
    const Decoded d = decode_utf8(text.substr(at));
    visit(d.code_point, at, d.length);
    at += d.length;
  }
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<uint8_t>(c) < 0x80; });
}

// Keeps bytes [begin, end) alone.
void keep(Normalized& text, size_t begin, size_t end) {
  auto cut = [&](auto& list) {
    if (list.empty()) return;
    list.erase(list.begin() + static_cast<std::ptrdiff_t>(end), list.end());
    list.erase(list.begin(), list.begin() + static_cast<std::ptrdiff_t>(begin));
  };
  cut(text.text);
  cut(text.begin);
  cut(text.end);
}

// Keeps the characters of which `wanted` holds, each with its source.
template <class Wanted>
void filter(NormalizerState& state, Wanted&& wanted) {
  state.next.clear();
  const Normalized& from = state.text;
  for_each_character(from.text, [&](char32_t c, size_t at, uint32_t length) {
    if (!wanted(c)) return;
    state.next.text.append(from.text, at, length);
    if (!state.offsets) return;
    state.next.begin.resize(state.next.text.size(), from.begin[at]);
    state.next.end.resize(state.next.text.size(), from.end[at]);
  });
  std::swap(state.text, state.next);
}

class BertStage final : public NormalizerStage {
 public:
  explicit BertStage(const NormalizerOptions& options) : normalizer_(options) {}
  void apply(NormalizerState& state) const override {
    normalizer_.normalize(state.text.text, 0, state.offsets, state.next);
    if (state.offsets)
      for (size_t i = 0; i < state.next.text.size(); ++i) {
        const size_t source = state.next.begin[i];
        state.next.begin[i] = state.text.begin[source];
        state.next.end[i] = state.text.end[source];
      }
    std::swap(state.text, state.next);
  }

 private:
  Normalizer normalizer_;
};

class FormStage final : public NormalizerStage {
 public:
  explicit FormStage(NormalForm form) : form_(form) {}
  void apply(NormalizerState& state) const override {
    if (surely_normal(state.text.text, form_)) return;
    normal_form(state.text.text, form_, state.changes);
    take_changes(state);
  }

 private:
  NormalForm form_;
};

class LowercaseStage final : public NormalizerStage {
 public:
  void apply(NormalizerState& state) const override {
    if (is_ascii(state.text.text)) {
      for (char& c : state.text.text)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
      return;
    }
    state.changes.clear();
    std::u32string lower;
    for_each_character(state.text.text, [&](char32_t c, size_t, uint32_t) {
      lower.clear();
      append_lower(lower, c);
      for (size_t i = 0; i < lower.size(); ++i) state.changes.push_back({lower[i], i > 0});
    });
    take_changes(state);
  }
};

class StripAccentsStage final : public NormalizerStage {
 public:
  void apply(NormalizerState& state) const override {
    if (is_ascii(state.text.text)) return;
    const CharTable& table = CharTable::get();
    filter(state, [&](char32_t c) { return !(table[c] & CharProperty::mark); });
  }
};

class StripStage final : public NormalizerStage {
 public:
  StripStage(bool left, bool right) : left_(left), right_(right) {}
  void apply(NormalizerState& state) const override {
    const std::string_view text = state.text.text;
    size_t first = text.size(), last = 0;  // around what is not white space
    for_each_character(text, [&](char32_t c, size_t at, uint32_t length) {
      if (is_white_space(c)) return;
      first = std::min(first, at);
      last = at + length;
    });
    const size_t end = right_ ? last : text.size();
    const size_t begin = std::min(left_ ? first : 0, end);
    keep(state.text, begin, end);
  }

 private:
  bool left_, right_;
};

class ReplaceStage final : public NormalizerStage {
 public:
  ReplaceStage(Regex pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void apply(NormalizerState& state) const override {
    state.matches.clear();
    pattern_.find_all(state.text.text, state.matches);
    if (std::none_of(state.matches.begin(), state.matches.end(),
                     [](const Match& m) { return m.matched; }))
      return;
    state.next.clear();
    const Normalized& from = state.text;
    Normalized& to = state.next;
    for (const Match& m : state.matches) {
      to.text.append(m.matched ? std::string_view(content_)
                               : std::string_view(from.text).substr(m.begin, m.end - m.begin));
      if (!state.offsets) continue;
      if (m.matched) {  // from where the last byte that went came from
        to.begin.resize(to.text.size(), m.end > 0 ? from.begin[m.end - 1] : state.origin);
        to.end.resize(to.text.size(), m.end > 0 ? from.end[m.end - 1] : state.origin);
      } else {
        to.begin.insert(to.begin.end(), from.begin.begin() + m.begin, from.begin.begin() + m.end);
        to.end.insert(to.end.end(), from.end.begin() + m.begin, from.end.begin() + m.end);
      }
    }
    std::swap(state.text, state.next);
  }

 private:
  Regex pattern_;
  std::string content_;
};

class PrependStage final : public NormalizerStage {
 public:
  explicit PrependStage(std::string content) : content_(std::move(content)) {}
  void apply(NormalizerState& state) const override {
    if (state.text.text.empty()) return;
    if (content_.empty()) {  // the library writes the first character anew, from nowhere
      const size_t length = char_length(state.text.text, 0);
      std::fill_n(state.text.begin.begin(), state.offsets ? length : 0, state.origin);
      std::fill_n(state.text.end.begin(), state.offsets ? length : 0, state.origin);
      return;
    }
    state.text.text.insert(0, content_);
    if (!state.offsets) return;
    state.text.begin.insert(state.text.begin.begin(), content_.size(), state.text.begin[0]);
    state.text.end.insert(state.text.end.begin(), content_.size(), state.text.end[0]);
  }

 private:
  std::string content_;
};

class NmtStage final : public NormalizerStage {
 public:
  void apply(NormalizerState& state) const override {
    filter(state, [](char32_t c) {
      return !((c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F ||
               c == 0x8F || c == 0x9F);
    });
    state.changes.clear();
    for_each_character(state.text.text, [&](char32_t c, size_t, uint32_t) {
      state.changes.push_back({is_space(c) ? U' ' : c, 0});
    });
    take_changes(state);
  }

 private:
  static bool is_space(char32_t c) {
    return c == 0x9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 ||
           (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
           c == 0xFEFF || c == 0xFFFD;
  }
};

class CharsmapStage final : public NormalizerStage {
 public:
  explicit CharsmapStage(Charsmap map) : map_(std::move(map)) {}
  void apply(NormalizerState& state) const override {
    if (map_.normalize(state.text.text, state.changes)) take_changes(state);
  }

 private:
  Charsmap map_;
};

class ByteLevelStage final : public NormalizerStage {
 public:
  void apply(NormalizerState& state) const override {
    state.next.clear();
    for (size_t at = 0; at < state.text.text.size(); ++at) {
      append_utf8(state.next.text, byte_to_char(static_cast<uint8_t>(state.text.text[at])));
      if (!state.offsets) continue;
      state.next.begin.resize(state.next.text.size(), state.text.begin[at]);
      state.next.end.resize(state.next.text.size(), state.text.end[at]);
    }
    std::swap(state.text, state.next);
  }
};

}  // namespace

std::unique_ptr<NormalizerStage> bert_stage(const NormalizerOptions& options) {
  return std::make_unique<BertStage>(options);
}
std::unique_ptr<NormalizerStage> form_stage(NormalForm form) {
  return std::make_unique<FormStage>(form);
}
std::unique_ptr<NormalizerStage> lowercase_stage() {
  return std::make_unique<LowercaseStage>();
}
std::unique_ptr<NormalizerStage> strip_accents_stage() {
  return std::make_unique<StripAccentsStage>();
}
std::unique_ptr<NormalizerStage> strip_stage(bool left, bool right) {
  return std::make_unique<StripStage>(left, right);
}
std::unique_ptr<NormalizerStage> replace_stage(Regex pattern, std::string content) {
  return std::make_unique<ReplaceStage>(std::move(pattern), std::move(content));
}
std::unique_ptr<NormalizerStage> prepend_stage(std::string content) {
  return std::make_unique<PrependStage>(std::move(content));
}
std::unique_ptr<NormalizerStage> nmt_stage() {
  return std::make_unique<NmtStage>();
}
std::unique_ptr<NormalizerStage> charsmap_stage(Charsmap map) {
  return std::make_unique<CharsmapStage>(std::move(map));
}
std::unique_ptr<NormalizerStage> byte_level_stage() {
  return std::make_unique<ByteLevelStage>();
}

void normalize(const NormalizerStages& stages, std::string_view text, uint32_t base, bool offsets,
               NormalizerState& state) {
  state.origin = base;
  state.offsets = offsets;
  copy_text(text, base, offsets, state.text);
  for (const auto& stage : stages) stage->apply(state);
}

}  // namespace compress::text
