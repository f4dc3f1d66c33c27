#include "charsmap.h"

#include <utf8proc.h>

#include <cstring>
#include <stdexcept>

#include "unicode.h"

namespace compress::text {
namespace {

// A unit of the trie: an offset to its children, the byte that leads to it, and whether a rule ends
// there; or the place of a replacement.
uint32_t offset_of(uint32_t unit) {
  return (unit >> 10) << ((unit & (1U << 9)) >> 6);
}
uint32_t label_of(uint32_t unit) {
  return unit & ((1U << 31) | 0xFF);
}
bool has_leaf(uint32_t unit) {
  return (unit >> 8 & 1) != 0;
}
uint32_t value_of(uint32_t unit) {
  return unit & ~(1U << 31);
}

constexpr size_t kShortCluster = 6;
constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t count_characters(std::string_view text) {
  size_t count = 0;
  for (char c : text) count += (static_cast<uint8_t>(c) & 0xC0) != 0x80;
  return count;
}

// Bytes of the grapheme cluster at the front of `text`, which is not empty.
size_t cluster_length(std::string_view text) {
  Decoded d = decode_utf8(text);
  size_t length = d.length;
  utf8proc_int32_t state = 0;
  while (length < text.size()) {
    const Decoded next = decode_utf8(text.substr(length));
    if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(d.code_point),
                                         static_cast<utf8proc_int32_t>(next.code_point), &state))
      break;
    length += next.length;
    d = next;
  }
  return length;
}

}  // namespace

Charsmap::Charsmap(std::string_view bytes) {
  uint32_t size = 0;
  if (bytes.size() < sizeof(size)) throw std::invalid_argument("the charsmap is too short");
  std::memcpy(&size, bytes.data(), sizeof(size));
  bytes.remove_prefix(sizeof(size));
  if (size > bytes.size() || size % 4 != 0 || size < 4)
    throw std::invalid_argument("the charsmap's trie does not fit the charsmap");
  units_.resize(size / 4);
  std::memcpy(units_.data(), bytes.data(), size);
  replacements_ = bytes.substr(size);
  if (!valid_utf8(replacements_)) throw std::invalid_argument("the charsmap is not UTF-8");
  for (uint32_t b = 1; b < 256; ++b) {
    const size_t place = offset_of(units_[0]) ^ b;
    starts_[b] = place < units_.size() && label_of(units_[place]) == b;
  }
}

// The shortest rule that `key` starts with.
std::optional<std::string_view> Charsmap::find(std::string_view key) const {
  size_t place = offset_of(units_[0]);
  for (char c : key) {
    if (c == '\0') break;
    place ^= static_cast<uint8_t>(c);
    if (place >= units_.size()) break;
    const uint32_t unit = units_[place];
    if (label_of(unit) != static_cast<uint8_t>(c)) break;
    place ^= offset_of(unit);
    if (place >= units_.size()) break;
    if (!has_leaf(unit)) continue;
    const size_t at = value_of(units_[place]);
    if (at > replacements_.size()) break;
    std::string_view found = std::string_view(replacements_).substr(at);
    found = found.substr(0, found.find('\0'));
    if (!valid_utf8(found)) break;  // a place inside a character
    return found;
  }
  return std::nullopt;
}

// The changes that a rule makes. When it removes characters the last change before takes them
// along, as in the library, wherever that is.
void Charsmap::replace(std::string_view key, std::string_view by, std::vector<Change>& out) const {
  const auto old_count = static_cast<int32_t>(count_characters(key));
  int32_t new_count = 0;
  for (size_t at = 0; at < by.size(); ++new_count) {
    const Decoded d = decode_utf8(by.substr(at));
    out.push_back({d.code_point, 0});
    at += d.length;
  }
  const int32_t more = new_count - old_count;
  for (int32_t i = 0; i < more; ++i) out[out.size() - 1 - static_cast<size_t>(i)].change = 1;
  if (more < 0 && !out.empty()) out.back().change += more;
}

bool Charsmap::normalize(std::string_view text, std::vector<Change>& out) const {
  out.clear();
  bool changed = false;
  auto is_ascii = [&](size_t at) { return static_cast<uint8_t>(text[at]) < 0x80; };
  for (size_t at = 0; at < text.size();) {
    const uint8_t byte = static_cast<uint8_t>(text[at]);
    // A visible ASCII character before another character of ASCII is a cluster by itself.
    if (byte < 0x80 && byte >= 0x20 && !starts_[byte] &&
        (at + 1 == text.size() || is_ascii(at + 1))) {
      out.push_back({byte, 0});
      ++at;
      continue;
    }
    const std::string_view cluster = text.substr(at, cluster_length(text.substr(at)));
    at += cluster.size();
    if (cluster.size() < kShortCluster) {
      if (auto by = find(cluster)) {
        changed = true;
        replace(cluster, *by, out);
        continue;
      }
    }
    for (size_t i = 0; i < cluster.size();) {
      const Decoded d = decode_utf8(cluster.substr(i));
      const std::string_view part = cluster.substr(i, d.length);
      if (auto by = find(part)) {
        changed = true;
        replace(part, *by, out);
      } else {
        out.push_back({d.code_point, 0});
      }
      i += d.length;
    }
  }
  return changed;
}

std::optional<std::string> decode_base64(std::string_view text) {
  while (text.ends_with('=')) text.remove_suffix(1);
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  for (char c : text) {
    const size_t digit = kBase64.find(c);
    if (digit == kBase64.npos) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    count += 6;
    if (count >= 8) {
      count -= 8;
      out.push_back(static_cast<char>(bits >> count & 0xFF));
    }
  }
  return out;
}

std::string encode_base64(std::string_view bytes) {
  std::string out;
  for (size_t at = 0; at < bytes.size(); at += 3) {
    uint32_t bits = 0;
    for (size_t i = 0; i < 3; ++i)
      bits = bits << 8 | (at + i < bytes.size() ? static_cast<uint8_t>(bytes[at + i]) : 0);
    for (size_t i = 0; i < 4; ++i)
      out += at + i > bytes.size() ? '=' : kBase64[bits >> (18 - 6 * i) & 63];
  }
  return out;
}

}  // namespace compress::text
