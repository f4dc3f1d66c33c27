#pragma once
// Whether bytes are UTF-8 (Unicode 15, table 3-7: overlong forms, surrogates and values beyond
// U+10FFFF are not).

#include <cstddef>
#include <string_view>

namespace compress {

// Bytes of the well-formed sequence at the front of `text`, 0 where there is none.
size_t utf8_length(std::string_view text);
// Offset of the first byte that is not valid UTF-8, npos where all is.
size_t invalid_utf8(std::string_view text);

}  // namespace compress
