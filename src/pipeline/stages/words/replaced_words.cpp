#include "stages/words/replaced_words.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>

#include "compress/base/error.h"
#include "compress/base/lines.h"
#include "compress/base/strings.h"
#include "compress/base/utf8.h"
#include "compress/text/python.h"

namespace compress::pipeline {

namespace {

// Width of GloVe's largest published vectors is 300.
constexpr size_t widest = 10000;

bool parse(std::string_view text, float& value) {
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  return code == std::errc() && end == text.data() + text.size() && std::isfinite(value);
}

}  // namespace

std::vector<Word> words_in(std::string_view text) {
  std::vector<Word> words;
  bool inside = false;
  for (size_t at = 0; at < text.size();) {
    const size_t length = std::max<size_t>(1, utf8_length(text.substr(at)));
    const std::u32string character = text::code_points(text.substr(at, length));
    const bool of_word = !character.empty() && text::is_word_character(character[0]);
    if (of_word && !inside) words.push_back({at, at});
    if (of_word) words.back().end = at + length;
    inside = of_word;
    at += length;
  }
  return words;
}

bool only_letters(std::string_view word) {
  if (word.empty()) return false;
  for (char32_t c : text::code_points(word))
    if (!text::is_word_character(c) || c == U'_' || (c >= U'0' && c <= U'9')) return false;
  return true;
}

const std::set<std::string>& english_stop_words() {
  static const std::set<std::string> words = [] {
    std::set<std::string> found;
    for (std::string& word : split(
             "i me my myself we our ours ourselves you your yours yourself yourselves he him his "
             "himself she her hers herself it its itself they them their theirs themselves what "
             "which who whom this that these those am is are was were be been being have has had "
             "having do does did doing a an the and but if or because as until while of at by for "
             "with about against between into through during before after above below to from up "
             "down in out on off over under again further then once here there when where why how "
             "all any both each few more most other some such no nor not only own same so than "
             "too very s t can will just don should now d ll m o re ve y ain aren couldn didn "
             "doesn hadn hasn haven isn ma mightn mustn needn shan shouldn wasn weren won wouldn",
             ' '))
      found.insert(std::move(word));
    return found;
  }();
  return words;
}

bool is_replaceable(std::string_view word, const std::set<std::string>& stop_words) {
  return only_letters(word) && !stop_words.contains(lower_ascii(word));
}

std::string with_replaced(std::string_view text, const std::vector<Choice>& choices,
                          double probability, Random& random) {
  std::string copy;
  size_t done = 0;
  for (const Choice& choice : choices) {
    if (choice.candidates.empty() || random.uniform() >= probability) continue;
    copy += text.substr(done, choice.word.begin - done);
    copy += choice.candidates[random.below(choice.candidates.size())];
    done = choice.word.end;
  }
  return copy.append(text.substr(done));
}

std::vector<Texts> row_and_copies(const Texts& row, const std::vector<std::vector<Choice>>& choices,
                                  int64_t copies, double probability, Random& random) {
  std::vector<Texts> rows = {row};
  for (int64_t n = 0; n < copies; ++n) {
    Texts copy;
    for (size_t i = 0; i < row.size(); ++i)
      copy.push_back(with_replaced(row[i], choices[i], probability, random));
    if (std::find(rows.begin(), rows.end(), copy) == rows.end()) rows.push_back(std::move(copy));
  }
  return rows;
}

NearWords::NearWords(std::vector<std::string> words, const torch::Tensor& vectors)
    : words_(std::move(words)),
      vectors_(vectors / vectors.norm(2, 1, /*keepdim=*/true).clamp_min(1e-12)) {
  for (size_t i = 0; i < words_.size(); ++i) index_.emplace(words_[i], static_cast<int64_t>(i));
}

torch::Tensor NearWords::find(const std::string& word) const {
  const auto found = index_.find(word);
  return found == index_.end() ? torch::Tensor() : vectors_[found->second];
}

std::vector<std::string> NearWords::nearest(const torch::Tensor& vector, const std::string& word,
                                            int64_t count) const {
  if (words_.empty()) return {};
  // One more than is wanted, as the word itself may be among them.
  const torch::Tensor order = std::get<1>(vectors_.mv(vector).topk(std::min(count + 1, size())));
  std::vector<std::string> list;
  const auto* place = order.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < order.numel() && static_cast<int64_t>(list.size()) < count; ++i)
    if (words_[static_cast<size_t>(place[i])] != word)
      list.push_back(words_[static_cast<size_t>(place[i])]);
  return list;
}

namespace {

bool parse_whole(const std::string& text, size_t& value) {
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  return failed == std::errc() && end == text.data() + text.size() && value > 0;
}

// The numbers behind a word where the cells are the first line of word2vec's and fastText's text
// files; else 0.
size_t width_told(const std::vector<std::string>& cells) {
  size_t count = 0, width = 0;
  const bool told =
      cells.size() == 2 && parse_whole(cells[0], count) && parse_whole(cells[1], width);
  return told ? width : 0;
}

}  // namespace

NearWords read_vectors(const std::filesystem::path& path, int64_t most) {
  std::ifstream file(path);
  int64_t line = 0;
  auto refuse = [&](const std::string& what) {
    throw Error(ErrorKind::data, what, str(path.string(), ":", line),
                "GloVe's text files have a word and its numbers a line");
  };
  std::vector<std::string> words;
  std::vector<float> numbers;
  std::set<std::string> seen;
  size_t width = 0;
  for (std::string text; line < most && std::getline(file, text);) {
    if (++line == 1) {
      if (const std::string_view encoding = wide_encoding(text); !encoding.empty())
        refuse(str("the vectors are ", encoding));
      text = without_mark(text);
    }
    if (invalid_utf8(text) != std::string_view::npos) refuse("not valid UTF-8");
    const std::vector<std::string> cells = split(trim(text), ' ');
    if (cells.size() < 2) refuse("no numbers behind the word");
    if (line == 1 && (width = width_told(cells)) > 0) continue;
    if (width == 0) width = cells.size() - 1;
    if (width > widest) refuse(str(width, " numbers behind a word"));
    if (cells.size() - 1 > width) continue;  // several words with one vector, as in glove.840B
    if (cells.size() - 1 < width)
      refuse(str(cells.size() - 1, " numbers, but the first line has ", width));
    const bool again = !seen.insert(cells[0]).second;
    for (size_t i = 1; i < cells.size(); ++i) {
      float value = 0;
      if (!parse(cells[i], value)) refuse("'" + cells[i].substr(0, 40) + "' is no finite number");
      if (!again) numbers.push_back(value);
    }
    if (!again) words.push_back(cells[0]);
  }
  if (words.empty()) refuse("no vectors in the file");
  const auto rows = static_cast<int64_t>(words.size());
  return {std::move(words), torch::tensor(numbers).view({rows, static_cast<int64_t>(width)})};
}

}  // namespace compress::pipeline
