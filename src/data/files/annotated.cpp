#include "files/annotated.h"

#include <algorithm>
#include <limits>

#include "compress/base/strings.h"

namespace compress::data {

std::vector<std::string_view> list_items(std::string_view cell) {
  std::vector<std::string_view> items;
  if (cell.empty()) return items;
  for (size_t begin = 0;;) {
    const size_t end = std::min(cell.find(list_separator, begin), cell.size());
    items.push_back(cell.substr(begin, end - begin));
    if (end == cell.size()) return items;
    begin = end + 1;
  }
}

TaggedRow tag_tokens(const text::Tokenizer& tokenizer, const std::vector<std::string_view>& words,
                     const std::vector<int32_t>& classes, int64_t max_length) {
  std::string text;
  std::vector<uint32_t> ends;  // of the words in the text
  for (std::string_view word : words) {
    if (!ends.empty()) text += ' ';
    text += word;
    ends.push_back(static_cast<uint32_t>(text.size()));
  }
  text::EncodeOptions how;
  how.max_length = max_length;
  how.offsets = true;
  text::Encoding encoding = tokenizer.encode(text, how);
  TaggedRow row;
  row.ids = std::move(encoding.ids);
  row.first_length = encoding.first_length;
  row.classes.assign(row.ids.size(), -100);
  size_t next = 0;  // the word that has no token yet
  for (size_t t = 0; t < row.ids.size(); ++t) {
    const text::ByteRange& range = encoding.offsets[t];
    if (encoding.special[t] != 0 || range.end == range.begin) continue;
    // A token may begin with the space before its word, so its last byte tells the word.
    const auto word = static_cast<size_t>(
        std::upper_bound(ends.begin(), ends.end(), range.end - 1) - ends.begin());
    if (word >= ends.size() || word < next || text[range.end - 1] == ' ') continue;
    row.classes[t] = classes[word];
    next = word + 1;
  }
  return row;
}

Windows cut_passage(const text::Tokenizer& tokenizer, std::string_view question,
                    std::string_view passage, int64_t max_length, std::optional<int64_t> stride) {
  text::EncodeOptions how;
  how.offsets = true;
  const text::Encoding both = tokenizer.encode(question, passage, how);
  how.add_special_tokens = how.offsets = false;
  const size_t asked = tokenizer.encode(question, how).ids.size();
  Windows out;
  out.first_length = both.first_length == static_cast<int64_t>(both.ids.size())
                         ? std::numeric_limits<int64_t>::max()
                         : both.first_length;
  size_t seen = 0;
  for (size_t t = 0; t < both.ids.size(); ++t) {
    const bool of_passage = both.special[t] == 0 && seen++ >= asked;
    if (of_passage) {
      out.passage.push_back(both.ids[t]);
      out.ranges.push_back(both.offsets[t]);
    } else {
      (out.passage.empty() ? out.front : out.back).push_back(both.ids[t]);
    }
  }
  const auto length = static_cast<int64_t>(out.passage.size()),
             others = static_cast<int64_t>(out.front.size() + out.back.size());
  out.room = max_length - others;
  const int64_t shared = stride.value_or(std::min(max_length / 3, out.room / 2));
  if (asked == 0 || length == 0) {
    out.problem = str("the ", asked == 0 ? "question" : "passage", " has no tokens");
    out.hint = "remove rows without text";
  } else if (out.room < 1) {
    out.problem =
        str("the question leaves no room for the passage in ", max_length, " tokens: it has ",
            asked, " and ", others - static_cast<int64_t>(asked), " are special");
    out.hint = "raise `max_length`, or shorten the question";
  } else if (length > out.room && shared >= out.room) {
    out.problem = str("a stride of ", shared, " leaves no step: of `max_length` ", max_length,
                      " the question takes ", asked, " and special tokens ",
                      others - static_cast<int64_t>(asked), ", so a window has room for ", out.room,
                      " of the passage's ", length, " tokens");
    out.hint = str("`stride` must be below ", out.room,
                   " here; left out, it is a third of `max_length` or less");
  } else {
    for (int64_t start = 0;; start += out.room - shared) {
      out.starts.push_back(start);
      if (start + out.room >= length) break;
    }
  }
  return out;
}

AnswerPlace find_answer(std::string_view passage, std::string_view answer, int64_t start) {
  size_t begin = 0;
  if (start < 0) {
    begin = passage.find(answer);
  } else {
    for (int64_t left = start; begin < passage.size() && left > 0; --left) {
      ++begin;
      while (begin < passage.size() && (passage[begin] & 0xC0) == 0x80) ++begin;
    }
  }
  if (begin > passage.size() || passage.substr(begin, answer.size()) != answer) return {};
  return {true, begin, begin + answer.size()};
}

}  // namespace compress::data
