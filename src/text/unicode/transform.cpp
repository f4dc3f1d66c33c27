#include "unicode/transform.h"

#include <algorithm>

#include "unicode/unicode.h"

namespace compress::text {

void apply_changes(const Normalized& text, std::span<const Change> changes, size_t skipped,
                   bool offsets, uint32_t origin, Normalized& out) {
  out.clear();
  const size_t size = text.text.size();
  size_t at = 0;
  auto skip = [&](size_t characters) {
    for (; characters > 0 && at < size; --characters)
      at = std::min<size_t>(at + char_length(text.text, at), size);
  };
  skip(skipped);
  for (const Change& change : changes) {
    append_utf8(out.text, change.code_point);
    uint32_t begin = origin, end = origin;  // of what is inserted before everything
    if (offsets && size > 0 && (change.change <= 0 || at > 0)) {
      const size_t from = change.change > 0 ? at - 1 : std::min(at, size - 1);
      begin = text.begin[from];
      end = text.end[from];
    }
    if (offsets) {
      out.begin.resize(out.text.size(), begin);
      out.end.resize(out.text.size(), end);
    }
    if (change.change <= 0) skip(1 + static_cast<size_t>(-change.change));
  }
}

void copy_text(std::string_view text, uint32_t base, bool offsets, Normalized& out) {
  out.clear();
  const uint32_t size = static_cast<uint32_t>(text.size());
  for (uint32_t at = 0; at < size;) {
    const uint32_t start = at;
    while (at < size && static_cast<uint8_t>(text[at]) < 0x80) ++at;
    out.text.append(text, start, at - start);
    if (offsets)
      for (uint32_t i = start; i < at; ++i) {
        out.begin.push_back(base + i);
        out.end.push_back(base + i + 1);
      }
    if (at == size) break;
    const Decoded d = decode_utf8(text.substr(at));
    append_utf8(out.text, d.code_point);
    if (offsets) {
      out.begin.resize(out.text.size(), base + at);
      out.end.resize(out.text.size(), base + at + d.length);
    }
    at += d.length;
  }
}

}  // namespace compress::text
