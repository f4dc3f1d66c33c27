#include "split/splitter.h"

#include <algorithm>
#include <array>

#include "unicode/char_table.h"
#include "unicode/unicode.h"

namespace compress::text {
namespace {

struct ByteChars {
  std::array<char32_t, 256> to_char;
  std::array<int, 512> to_byte;
  ByteChars() {
    to_byte.fill(-1);
    char32_t next = 256;
    for (uint32_t b = 0; b < 256; ++b) {
      const bool printable =
          (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF);
      to_char[b] = printable ? b : next++;
      to_byte[to_char[b]] = static_cast<int>(b);
    }
  }
  static const ByteChars& get() {
    static const ByteChars table;
    return table;
  }
};

// Appends the pieces that `matches` (relative to `base`) leave.
void append_split(const std::vector<Match>& matches, SplitBehavior behavior, bool invert,
                  uint32_t base, std::vector<Piece>& out) {
  const size_t first = out.size();
  auto add = [&](uint32_t begin, uint32_t end) { out.push_back({base + begin, base + end, -1}); };
  auto is_match = [&](const Match& m) { return m.matched != invert; };
  bool previous = false;
  if (behavior == SplitBehavior::merged_with_next) {
    const size_t count = matches.size();
    for (size_t i = 0; i < count; ++i) {
      // From the right: a match joins what follows, unless that is a match.
      const Match& m = matches[i];
      const bool joins = i > 0 && is_match(matches[i - 1]) && !is_match(m);
      if (joins)
        out.back().end = base + m.end;
      else
        add(m.begin, m.end);
    }
  } else {
    for (const Match& m : matches) {
      const bool hit = is_match(m);
      const bool joins = (behavior == SplitBehavior::contiguous && hit == previous) ||
                         (behavior == SplitBehavior::merged_with_previous && hit && !previous);
      if (joins && out.size() > first)
        out.back().end = base + m.end;
      else if (behavior != SplitBehavior::removed || !hit)
        add(m.begin, m.end);
      previous = hit;
    }
  }
  const auto fresh = out.begin() + static_cast<std::ptrdiff_t>(first);
  out.erase(std::remove_if(fresh, out.end(), [](const Piece& p) { return p.begin == p.end; }),
            out.end());
}

// Applies `split(text, base, out)` to every piece of text.
template <class Split>
void split_each(Pieces& pieces, Split&& split) {
  pieces.next_list.clear();
  for (const Piece& piece : pieces.list) {
    if (piece.token >= 0) {
      pieces.next_list.push_back(piece);
      continue;
    }
    std::string_view all = pieces.text.text;
    split(all.substr(piece.begin, piece.end - piece.begin), piece.begin, pieces.next_list);
  }
  pieces.list.swap(pieces.next_list);
}

class CharacterSplit final : public SplitStage {
 public:
  CharacterSplit(CharPredicate is_match, SplitBehavior behavior)
      : is_match_(is_match), behavior_(behavior) {
    for (char32_t c = 0; c < 128; ++c) ascii_[c] = is_match(c);
  }
  void apply(Pieces& pieces) const override {
    split_each(pieces, [&](std::string_view text, uint32_t base, std::vector<Piece>& out) {
      pieces.matches.clear();
      const uint32_t size = static_cast<uint32_t>(text.size());
      uint32_t done = 0;
      for (uint32_t at = 0; at < size;) {
        const uint8_t byte = static_cast<uint8_t>(text[at]);
        uint32_t length = 1;
        bool hit = byte < 0x80 && ascii_[byte];
        if (byte >= 0x80) {
          const Decoded d = decode_utf8(text.substr(at));
          length = d.length;
          hit = is_match_(d.code_point);
        }
        if (hit) {
          if (done < at) pieces.matches.push_back({done, at, false});
          pieces.matches.push_back({at, at + length, true});
          done = at + length;
        }
        at += length;
      }
      if (done < size) pieces.matches.push_back({done, size, false});
      append_split(pieces.matches, behavior_, false, base, out);
    });
  }

 private:
  CharPredicate is_match_;
  SplitBehavior behavior_;
  bool ascii_[128];
};

class RegexSplit final : public SplitStage {
 public:
  RegexSplit(Regex pattern, SplitBehavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}
  void apply(Pieces& pieces) const override {
    split_each(pieces, [&](std::string_view text, uint32_t base, std::vector<Piece>& out) {
      pieces.matches.clear();
      pattern_.find_all(text, pieces.matches);
      append_split(pieces.matches, behavior_, invert_, base, out);
    });
  }

 private:
  Regex pattern_;
  SplitBehavior behavior_;
  bool invert_;
};

class PatternSplit final : public SplitStage {
 public:
  explicit PatternSplit(WordPattern pattern) : pattern_(pattern) {}
  void apply(Pieces& pieces) const override {
    split_each(pieces, [&](std::string_view text, uint32_t base, std::vector<Piece>& out) {
      pieces.ends.clear();
      scan_words(pattern_, text, pieces.ends);
      uint32_t begin = 0;
      for (uint32_t end : pieces.ends) {
        out.push_back({base + begin, base + end, -1});
        begin = end;
      }
    });
  }

 private:
  WordPattern pattern_;
};

class WhitespaceWords final : public SplitStage {
 public:
  void apply(Pieces& pieces) const override {
    split_each(pieces, [](std::string_view text, uint32_t base, std::vector<Piece>& out) {
      int previous = 0;  // 0: white space, 1: word, 2: other
      uint32_t start = 0, at = 0;
      auto close = [&] {
        if (previous != 0) out.push_back({base + start, base + at, -1});
        start = at;
      };
      while (at < text.size()) {
        const Decoded d = decode_utf8(text.substr(at));
        const int kind = CharTable::get()[d.code_point] & CharProperty::word ? 1
                         : is_white_space(d.code_point)                      ? 0
                                                                             : 2;
        if (kind != previous) close();
        previous = kind;
        at += d.length;
      }
      close();
    });
  }
};

// Stages that rewrite the text: each piece is written anew to pieces.next_text.
template <class Write>
void rewrite_each(Pieces& pieces, Write&& write) {
  pieces.next_text.clear();
  pieces.next_list.clear();
  for (const Piece& piece : pieces.list) write(piece);
  std::swap(pieces.text, pieces.next_text);
  pieces.list.swap(pieces.next_list);
}

// Appends bytes [begin, end) of the text as they are.
void copy_bytes(Pieces& pieces, uint32_t begin, uint32_t end) {
  const Normalized& from = pieces.text;
  Normalized& to = pieces.next_text;
  to.text.append(from.text, begin, end - begin);
  if (!pieces.offsets) return;
  to.begin.insert(to.begin.end(), from.begin.begin() + begin, from.begin.begin() + end);
  to.end.insert(to.end.end(), from.end.begin() + begin, from.end.begin() + end);
}

// Appends `text` as if it came from where byte `source` came from.
void insert_bytes(Pieces& pieces, std::string_view text, uint32_t source) {
  Normalized& to = pieces.next_text;
  to.text.append(text);
  if (!pieces.offsets) return;
  to.begin.resize(to.text.size(), pieces.text.begin[source]);
  to.end.resize(to.text.size(), pieces.text.end[source]);
}

uint32_t written(const Pieces& pieces) {
  return static_cast<uint32_t>(pieces.next_text.text.size());
}

class PrefixSpace final : public SplitStage {
 public:
  void apply(Pieces& pieces) const override {
    rewrite_each(pieces, [&](const Piece& piece) {
      const uint32_t begin = written(pieces);
      if (piece.token < 0 && pieces.text.text[piece.begin] != ' ')
        insert_bytes(pieces, " ", piece.begin);
      copy_bytes(pieces, piece.begin, piece.end);
      pieces.next_list.push_back({begin, written(pieces), piece.token});
    });
  }
};

class MapBytes final : public SplitStage {
 public:
  void apply(Pieces& pieces) const override {
    rewrite_each(pieces, [&](const Piece& piece) {
      const uint32_t begin = written(pieces);
      std::string mapped;
      if (piece.token >= 0) copy_bytes(pieces, piece.begin, piece.end);
      for (uint32_t at = piece.begin; piece.token < 0 && at < piece.end; ++at) {
        mapped.clear();
        append_utf8(mapped, byte_to_char(static_cast<uint8_t>(pieces.text.text[at])));
        insert_bytes(pieces, mapped, at);
      }
      pieces.next_list.push_back({begin, written(pieces), piece.token});
    });
  }
};

class Metaspace final : public SplitStage {
 public:
  Metaspace(std::string mark, PrependScheme scheme, bool split)
      : mark_(std::move(mark)), scheme_(scheme), split_(split) {}
  bool needs_offsets() const override { return scheme_ == PrependScheme::first; }
  void apply(Pieces& pieces) const override {
    rewrite_each(pieces, [&](const Piece& piece) {
      const uint32_t begin = written(pieces);
      if (piece.token >= 0) {
        copy_bytes(pieces, piece.begin, piece.end);
        pieces.next_list.push_back({begin, written(pieces), piece.token});
        return;
      }
      write_piece(pieces, piece);
      if (split_)
        split_piece(pieces, begin);
      else
        pieces.next_list.push_back({begin, written(pieces), -1});
    });
  }

 private:
  void write_piece(Pieces& pieces, const Piece& piece) const {
    const std::string_view text =
        std::string_view(pieces.text.text).substr(piece.begin, piece.end - piece.begin);
    const bool marked = text.starts_with(' ') || text.starts_with(mark_);
    const bool wanted = scheme_ == PrependScheme::always ||
                        (scheme_ == PrependScheme::first && pieces.text.begin[piece.begin] == 0);
    if (!marked && wanted) insert_bytes(pieces, mark_, piece.begin);
    for (size_t at = 0; at < text.size();) {
      const size_t space = std::min(text.find(' ', at), text.size());
      copy_bytes(pieces, piece.begin + static_cast<uint32_t>(at),
                 piece.begin + static_cast<uint32_t>(space));
      if (space < text.size())
        insert_bytes(pieces, mark_, piece.begin + static_cast<uint32_t>(space));
      at = space + 1;
    }
  }

  // Words begin at each mark of what was written from `begin` on.
  void split_piece(Pieces& pieces, uint32_t begin) const {
    const std::string& text = pieces.next_text.text;
    for (size_t start = begin; start < text.size();) {
      size_t next = text.find(mark_, start + 1);
      if (text.compare(start, mark_.size(), mark_) == 0)
        next = text.find(mark_, start + mark_.size());
      next = std::min(next, text.size());
      pieces.next_list.push_back({static_cast<uint32_t>(start), static_cast<uint32_t>(next), -1});
      start = next;
    }
  }

  std::string mark_;
  PrependScheme scheme_;
  bool split_;
};

}  // namespace

std::unique_ptr<SplitStage> split_at_characters(CharPredicate is_match, SplitBehavior behavior) {
  return std::make_unique<CharacterSplit>(is_match, behavior);
}
std::unique_ptr<SplitStage> split_at_regex(Regex pattern, SplitBehavior behavior, bool invert) {
  return std::make_unique<RegexSplit>(std::move(pattern), behavior, invert);
}
std::unique_ptr<SplitStage> split_words_of(WordPattern pattern) {
  return std::make_unique<PatternSplit>(pattern);
}
std::unique_ptr<SplitStage> split_whitespace_words() {
  return std::make_unique<WhitespaceWords>();
}
std::unique_ptr<SplitStage> prefix_space() {
  return std::make_unique<PrefixSpace>();
}
std::unique_ptr<SplitStage> map_bytes() {
  return std::make_unique<MapBytes>();
}
std::unique_ptr<SplitStage> metaspace(std::string mark, PrependScheme scheme, bool split) {
  return std::make_unique<Metaspace>(std::move(mark), scheme, split);
}

char32_t byte_to_char(uint8_t byte) {
  return ByteChars::get().to_char[byte];
}
int char_to_byte(char32_t c) {
  return c < 512 ? ByteChars::get().to_byte[c] : -1;
}

}  // namespace compress::text
