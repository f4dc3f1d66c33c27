#include <algorithm>

#include "compress/base/strings.h"
#include "internal.h"

namespace compress::recipe {

namespace {

bool alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// Whether the text can stand without quotes in block style. Narrower than YAML allows.
bool plain_safe(std::string_view text) {
  if (text.empty() || text.size() > 1000 || text.back() == ' ' || text.back() == ':') return false;
  if (text.starts_with("---") || text.starts_with("...")) return false;
  bool sign = (text[0] == '-' || text[0] == '+') && text.size() > 1 &&
              (alphanumeric(text[1]) || text[1] == '.');
  if (!alphanumeric(text[0]) && text[0] != '_' && text[0] != '.' && text[0] != '/' && !sign)
    return false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (alphanumeric(text[i]) ||
        std::string_view("_./%+-*,()@=~^$ ").find(text[i]) != std::string_view::npos)
      continue;
    if (text[i] != ':' || text[i + 1] == ' ') return false;
  }
  return true;
}

// U+0085, U+00A0, U+2028, U+2029, U+FEFF: breaks, blanks or nothing to some readers.
bool needs_escape(std::string_view sequence) {
  return sequence == "\xC2\x85" || sequence == "\xC2\xA0" || sequence == "\xE2\x80\xA8" ||
         sequence == "\xE2\x80\xA9" || sequence == "\xEF\xBB\xBF";
}

std::string escape_sequence(std::string_view sequence) {
  auto byte = [&](size_t i) {
    return static_cast<unsigned>(static_cast<unsigned char>(sequence[i]));
  };
  unsigned code = sequence.size() == 2
                      ? (byte(0) & 0x1F) << 6 | (byte(1) & 0x3F)
                      : (byte(0) & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
  const char* digits = "0123456789ABCDEF";
  std::string out = "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) out += digits[code >> shift & 15];
  return out;
}

std::string quote(std::string_view text) {
  const char* digits = "0123456789ABCDEF";
  std::string out = "\"";
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    auto code = static_cast<unsigned char>(c);
    size_t length = code < 0xC0 ? 1 : code < 0xE0 ? 2 : code < 0xF0 ? 3 : 4;
    std::string_view sequence = text.substr(i, length);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\r') {
      out += "\\r";
    } else if (code < 0x20 || code == 0x7F) {
      out += "\\x";
      out += digits[code >> 4];
      out += digits[code & 15];
    } else if (needs_escape(sequence)) {
      out += escape_sequence(sequence);
      i += length - 1;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

bool is_null_text(std::string_view text) {
  return text.empty() || text == "~" || lower_ascii(text) == "null";
}

std::string scalar_text(const std::string& text, bool is_string) {
  bool plain =
      plain_safe(text) && !is_null_text(text) && !(is_string && internal::looks_typed(text));
  return plain ? text : quote(text);
}

void write(const Node& node, size_t indent, std::string& out);

// " value\n" behind a key, or a line break and the indented block.
void write_value(const Node& value, size_t indent, std::string& out) {
  bool block = !value.items.empty() || !value.entries.empty();
  if (block) {
    out += '\n';
    write(value, indent + 2, out);
  } else {
    out += ' ';
    write(value, 0, out);
  }
}

void write(const Node& node, size_t indent, std::string& out) {
  switch (node.kind) {
    case Node::Kind::null:
      out += "null\n";
      return;
    case Node::Kind::scalar:
      out += scalar_text(node.scalar, node.quoted) + "\n";
      return;
    case Node::Kind::list:
      if (node.items.empty()) out += "[]\n";
      for (const Node& item : node.items) {
        size_t start = out.size();
        bool block = !item.items.empty() || !item.entries.empty();
        out.append(indent + 2, ' ');
        if (block) out.resize(start);
        write(item, indent + 2, out);
        out[start + indent] = '-';  // the item's own indentation makes room for the dash
      }
      return;
    case Node::Kind::map:
      if (node.entries.empty()) out += "{}\n";
      for (const Node::Entry& entry : node.entries) {
        out.append(indent, ' ');
        out += scalar_text(entry.key, true) + ":";
        write_value(entry.value, indent, out);
      }
      return;
  }
}

}  // namespace

bool internal::looks_typed(std::string_view text) {
  std::string lower = lower_ascii(text);
  for (const char* word : {"true", "false", "yes", "no", "on", "off", "y", "n", "null", "~", ".inf",
                           "-.inf", "+.inf", ".nan"})
    if (lower == word) return true;
  // Numbers in any base, times and dates, judged by their alphabet: quoting a few more texts is
  // harmless.
  bool lead = !lower.empty() &&
              (std::string_view("0123456789+-.").find(lower[0]) != std::string_view::npos);
  return lead && lower.find_first_not_of("0123456789abcdefxo_.:+-") == std::string::npos;
}

std::string to_yaml(const Node& node) {
  std::string out;
  write(node, 0, out);
  return out;
}

}  // namespace compress::recipe
