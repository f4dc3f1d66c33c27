#pragma once
// A text that remembers where each of its bytes came from.

#include <cstdint>
#include <string>
#include <vector>

namespace compress::text {

// Normalised text. begin[i], end[i]: the source bytes of byte i; empty when not asked for.
struct Normalized {
  std::string text;
  std::vector<uint32_t> begin, end;
  void clear() {
    text.clear();
    begin.clear();
    end.clear();
  }
};

}  // namespace compress::text
