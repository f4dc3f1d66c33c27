#pragma once
// Bytes as text in standard base64 (RFC 4648, section 4).

#include <optional>
#include <string>
#include <string_view>

namespace compress {

// With padding.
std::string encode_base64(std::string_view bytes);
// With or without padding; nothing where the text is no base64.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace compress
